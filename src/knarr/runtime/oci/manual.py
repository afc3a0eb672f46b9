"""What --help and --version print, laid out as runc's is."""

from knarr.runtime.oci.arguments import LIST, SWITCH, Call, Command, Flag
from knarr.runtime.oci.commands import COMMANDS, OCI_VERSION, OPTIONS
from knarr.runtime.oci.log import say

VERSION = "0.1.0"
_ABOUT = """Open Container Initiative runtime

   {program} runs containers that are packaged according to the Open Container Initiative (OCI)
   format: a bundle is a directory with a configuration named "config.json" and a root file system.
   It leaves no process of its own behind: a container is a child of whoever started it.

   To start a new instance of a container:

       # {program} run [ -b bundle ] <container-id>"""
_ARGUMENTS = {
    "exec": "<container-id> <command> [command options]  || -p process.json <container-id>",
    "kill": "<container-id> [signal]",
    "ps": "<container-id> [ps options]",
    "list": "",
    "spec": "",
    "features": "",
    "zygote": "",
}


def show(call: Call) -> int:
    """Prints what was asked for; the exit code."""
    if call.options.get("version") and not call.command:
        say(f"{call.program} version {VERSION}\ncommit: \nspec: {OCI_VERSION}\n")
    elif call.command:
        say(_command(call.program, next(each for each in COMMANDS if each.name == call.command)))
    else:
        say(_program(call.program))
    return 0


def _program(program: str) -> str:
    listed = "".join(f"   {each.name:12}{each.usage}\n" for each in COMMANDS)
    return (
        f"NAME:\n   {program} - {_ABOUT.format(program=program)}\n\n"
        f"USAGE:\n   {program} [global options] command [command options] [arguments...]\n\n"
        f"VERSION:\n   {VERSION}\n\nCOMMANDS:\n{listed}\nGLOBAL OPTIONS:\n{_flags(OPTIONS)}"
    )


def _command(program: str, command: Command) -> str:
    arguments = _ARGUMENTS.get(command.name, "<container-id>")
    head = f"NAME:\n   {program} {command.name} - {command.usage}\n\n"
    usage = f"USAGE:\n   {program} {command.name} [command options] {arguments}".rstrip()
    return f"{head}{usage}\n\nOPTIONS:\n{_flags(command.flags)}"


def _flags(flags: tuple[Flag, ...]) -> str:
    rows = [(_form(flag), flag.usage) for flag in flags if not flag.hidden]
    rows.append(("--help, -h", "show help"))
    width = max(len(form) for form, _ in rows) + 2
    return "".join(f"   {form:{width}}{usage}\n" for form, usage in rows)


def _form(flag: Flag) -> str:
    value = "" if flag.kind == SWITCH else " value"
    names = [f"--{flag.name}{value}", *([f"-{flag.other}{value}"] if flag.other else [])]
    return ", ".join(names) + (" [ " + names[0] + " ]" if flag.kind == LIST else "")
