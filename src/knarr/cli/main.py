"""The entry of `knarr`: finds the verb, parses its flags, turns errors into exit codes. Verbs are imported when called."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from knarr.api.client.http import ApiError, CannotConnect, Http
from knarr.cli.common import Failed
from knarr.cli.flags import Flag, Options, UsageError, Verb, help_text, parse
from knarr.model.errors import KnarrError

# word → (module, name of its Verb, name of its function)
VERBS = {
    "attach": ("attach", "ATTACH", "attach"),
    "bootstrap": ("bootstrap", "BOOTSTRAP", "bootstrap"),
    "commit": ("containers", "COMMIT", "commit"),
    "completion": ("completion", "COMPLETION", "completion"),
    "container prune": ("containers", "PRUNE", "prune"),
    "cp": ("copy", "CP", "copy"),
    "create": ("run", "CREATE", "create"),
    "diff": ("containers", "DIFF", "diff"),
    "events": ("logs", "EVENTS", "events"),
    "exec": ("attach", "EXEC", "execute"),
    "export": ("copy", "EXPORT", "export"),
    "history": ("images", "HISTORY", "history"),
    "image prune": ("images", "PRUNE", "prune"),
    "images": ("images", "IMAGES", "images"),
    "import": ("images", "IMPORT", "import_"),
    "info": ("system", "INFO", "info"),
    "inspect": ("system", "INSPECT", "inspect"),
    "kill": ("containers", "KILL", "kill"),
    "load": ("images", "LOAD", "load"),
    "logs": ("logs", "LOGS", "logs"),
    "network connect": ("networks", "CONNECT", "connect"),
    "network create": ("networks", "CREATE", "create"),
    "network disconnect": ("networks", "DISCONNECT", "disconnect"),
    "network inspect": ("networks", "INSPECT", "inspect"),
    "network ls": ("networks", "LS", "ls"),
    "network prune": ("networks", "PRUNE", "prune"),
    "network rm": ("networks", "RM", "remove"),
    "pause": ("containers", "PAUSE", "pause"),
    "port": ("containers", "PORT", "port"),
    "ps": ("ps", "PS", "ps"),
    "pull": ("images", "PULL", "pull"),
    "push": ("images", "PUSH", "push"),
    "rename": ("containers", "RENAME", "rename"),
    "restart": ("containers", "RESTART", "restart"),
    "rm": ("containers", "RM", "remove"),
    "rmi": ("images", "RMI", "remove"),
    "run": ("run", "RUN", "run"),
    "save": ("images", "SAVE", "save"),
    "start": ("containers", "START", "start"),
    "stats": ("stats", "STATS", "stats"),
    "stop": ("containers", "STOP", "stop"),
    "system df": ("system", "DF", "disk_usage"),
    "tag": ("images", "TAG", "tag"),
    "top": ("containers", "TOP", "top"),
    "unpause": ("containers", "UNPAUSE", "unpause"),
    "version": ("system", "VERSION_VERB", "version"),
    "volume create": ("system", "VOLUME_CREATE", "volume_create"),
    "volume inspect": ("system", "VOLUME_INSPECT", "volume"),
    "volume ls": ("system", "VOLUME_LS", "volume_ls"),
    "volume prune": ("system", "VOLUME_PRUNE", "volume_prune"),
    "volume rm": ("system", "VOLUME_RM", "volume_rm"),
    "wait": ("containers", "WAIT", "wait"),
}
_CONTAINER = "attach commit cp create diff exec export inspect kill logs pause port rename restart rm run start stats stop top unpause wait"
_IMAGE = {
    "ls": "images",
    "rm": "rmi",
    **{word: word for word in ["history", "import", "inspect", "load", "pull", "push", "save", "tag"]},
}
ALIASES = {
    **{f"container {word}": word for word in _CONTAINER.split()},
    "container ls": "ps",
    "container ps": "ps",
    "container list": "ps",
    **{f"image {word}": name for word, name in _IMAGE.items()},
    "system info": "info",
    "system events": "events",
    "volume list": "volume ls",
    "volume remove": "volume rm",
    "network list": "network ls",
    "network remove": "network rm",
}
GLOBAL = Verb(
    "",
    "A container engine behind Docker's own API",
    "[OPTIONS] COMMAND",
    (
        Flag("host", "H", "list", "Daemon socket to connect to"),
        Flag("version", "v", "bool", "Print version information and quit"),
        Flag("help", "h", "bool", "Print this text"),
    ),
    interspersed=False,
)
_HELP = Flag("help", "", "bool", "Print this text")


def main() -> None:
    """The console script. It ends without the interpreter's own tidying, which takes 3 ms of the 30 that `ps` has."""
    code = run(sys.argv[1:])
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BrokenPipeError:
        code = 141
    os._exit(code)


def run(words: Sequence[str]) -> int:
    """The exit status of a command line."""
    try:
        return _run(words)
    except BrokenPipeError:
        # The reader has gone: what is left in the buffer must not fail again at exit.
        sys.stdout = None
        return 141
    except KeyboardInterrupt:
        return 130


def _run(words: Sequence[str]) -> int:
    try:
        options = parse(GLOBAL, words)
    except UsageError as error:
        return _usage(str(error), "knarr", 125)
    if options.version:
        from knarr.cli.about import version

        print(f"knarr version {version()}")
        return 0
    if options.help or not options.args:
        print(overview(), end="")
        return 0
    name, rest = resolve(options.args)
    if name is None:
        return _usage(
            f"knarr: '{' '.join(options.args[:2] if _is_group(options.args[0]) else options.args[:1])}' is not a knarr command.",
            "knarr",
            1,
        )
    return _call(name, rest, options.host[-1] if options.host else "")


def resolve(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The verb's name in VERBS and the words behind it."""
    for count in (2, 1):
        spoken = " ".join(words[:count])
        name = ALIASES.get(spoken, spoken)
        if name in VERBS and len(words) >= count:
            return name, words[count:]
    return None, words


def _is_group(word: str) -> bool:
    return any(name.startswith(f"{word} ") for name in (*VERBS, *ALIASES))


def load(name: str) -> tuple[Verb, Callable[[Http, Options], int]]:
    """A verb's table and function, imported now."""
    module_name, verb_name, function_name = VERBS[name]
    module = import_module(f"knarr.cli.{module_name}")
    verb: Verb = getattr(module, verb_name)
    return verb._replace(flags=(*verb.flags, _HELP)), getattr(module, function_name)


def all_verbs() -> dict[str, Verb]:
    """Every verb's table, aliases included."""
    found = {name: load(name)[0] for name in VERBS}
    return {**found, **{alias: found[name] for alias, name in ALIASES.items()}}


def _call(name: str, words: Sequence[str], host: str) -> int:
    verb, function = load(name)
    try:
        options = parse(verb, words)
        if options.help:
            print(help_text(verb), end="")
            return 0
        return function(Http(host), options)
    except UsageError as error:
        return _usage(str(error), f"knarr {name}", verb.usage_code)
    except Failed as error:
        if str(error):
            print(f"knarr: {error}", file=sys.stderr)
        return error.code
    except ApiError as error:
        print(f"Error response from daemon: {error}", file=sys.stderr)
    except (CannotConnect, KnarrError, ConnectionError) as error:
        print(f"knarr: {error}", file=sys.stderr)
    return verb.usage_code


def _usage(message: str, command: str, code: int) -> int:
    print(f"{message}\n\nRun '{command} --help' for more information", file=sys.stderr)
    return code


def overview() -> str:
    """What `knarr --help` prints."""
    names = [name for name in VERBS if " " not in name]
    rows = [(name, load(name)[0].summary) for name in names]
    groups = sorted({name.split()[0] for name in VERBS if " " in name} | {"container", "image", "system"})
    width = max(len(name) for name in names)
    lines = ["Usage:  knarr [OPTIONS] COMMAND", "", GLOBAL.summary, "", "Commands:"]
    lines += [f"  {name:<{width}}  {summary}" for name, summary in rows]
    lines += ["", "Groups: " + ", ".join(groups), "", "Options:"]
    lines += [f"  -{flag.short}, --{flag.name:<10} {flag.help}" for flag in GLOBAL.flags]
    return "\n".join([*lines, "", "Run 'knarr COMMAND --help' for more information on a command.", ""])


if __name__ == "__main__":
    main()
