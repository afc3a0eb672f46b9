"""argv → command → exit code. Each command's code is loaded when it is asked for.

Errors of a command are 1 (exec: 255, for its own code is the program's), as runc's are.
"""

from knarr.model.errors import KnarrError
from knarr.runtime.oci import interpreter
from knarr.runtime.oci.arguments import Call, parse
from knarr.runtime.oci.commands import COMMANDS, OPTIONS
from knarr.runtime.oci.errors import Usage, words
from knarr.runtime.oci.log import Log
from knarr.runtime.oci.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FAILED, _EXEC_FAILED, _NO_TOPIC = 1, 255, 3


def answer(
    argv: "list[str]",
    environment: "Mapping[str, str]",
    *,
    pid: int,
    orders: int = -1,
    forerunner: "object | None" = None,
) -> int:
    """One command line. With `orders` a warm process does it for a caller, `pid`, whose signals come there."""
    try:
        call = parse(argv, OPTIONS, COMMANDS)
    except Usage as error:
        return _misused(argv, error)
    if call.help or call.options.get("version"):
        from knarr.runtime.oci import manual

        return manual.show(call)
    if call.options.get("zygote") and orders < 0:
        from knarr.runtime.oci import client

        return client.carry_out(call, argv)
    if call.command in interpreter.MEET_CONTAINERS and orders < 0:
        interpreter.get_out_of_reach(argv)
    session = Session(call, environment, pid, orders)
    session.forerunner = forerunner
    return carry_out(session)


def carry_out(session: Session) -> int:
    """Does what was asked. Every failure is said once, and is an exit code."""
    call = session.call
    try:
        session.prepare()
        verb = __import__(f"knarr.runtime.oci.verbs.{call.command}", fromlist=["run"])
        code = int(verb.run(session))
    except Usage as error:
        return _misused([call.program], error)
    except (KnarrError, OSError, ValueError) as error:
        session.log.error(words(error))
        code = _EXEC_FAILED if call.command == "exec" else _FAILED
    return code


def _misused(argv: "list[str]", error: Usage) -> int:
    from knarr.runtime.oci import manual

    topic = str(error).startswith("No help topic")
    if not topic:
        print("Incorrect Usage.\n")
        manual.show(Call(argv[0].rpartition("/")[2] or "knarr-oci"))
    Log().error(str(error))
    return _NO_TOPIC if topic else _FAILED
