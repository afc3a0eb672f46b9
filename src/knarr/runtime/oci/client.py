"""Having a warm zygote do it: argv, directory, environment and descriptors go over, the exit code comes back.

As a library: `ask("/run/knarr-oci.sock", ["run", "-b", BUNDLE, NAME])`. Loads little: it is on the way of every start.
"""

import json
import os
import select
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from knarr.runtime.oci.arguments import Call

_GONE = 255


def ask(
    zygote: str,
    arguments: "Sequence[str]",
    *,
    cwd: "str | None" = None,
    environment: "Mapping[str, str] | None" = None,
    descriptors: "Sequence[int]" = (0, 1, 2),
    program: str = "knarr-oci",
    signals: bool = False,
) -> int:
    """Does `arguments` as the command line would; its exit code. Raises OSError where no zygote listens, or it dies.

    `descriptors` become the command's, from 0 on. With `signals` those of this process are passed on meanwhile.
    """
    request = {
        "argv": [program, *arguments],
        "cwd": cwd or os.getcwd(),
        "env": dict(os.environ if environment is None else environment),
        "pid": os.getpid(),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        line.connect(zygote)
        socket.send_fds(line, [json.dumps(request).encode()], list(descriptors))
        if signals:
            _pass_on(line)
        data = line.recv(4096)
    if not data:
        raise ConnectionResetError(104, "the zygote did not answer", zygote)
    return int(json.loads(data)["exit"])


def _pass_on(line: socket.socket) -> None:
    """The interpreter writes each signal's number into the line (signal.set_wakeup_fd); waits until there is an answer."""
    import signal

    line.setblocking(False)
    signal.set_wakeup_fd(line.fileno(), warn_on_full_buffer=False)
    kept = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGURG, signal.SIGPIPE)
    for number in signal.valid_signals():
        if number not in (*kept, signal.SIGTTIN, signal.SIGTTOU, signal.SIGSEGV, signal.SIGABRT):
            signal.signal(number, lambda number, frame: None)
    poll = select.poll()
    poll.register(line.fileno(), select.POLLIN)
    poll.poll()


def carry_out(call: "Call", argv: "list[str]") -> int:
    """`knarr-oci --zygote SOCKET …`"""
    preserved = call.number("preserve-fds")
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        preserved += int(os.environ.get("LISTEN_FDS") or 0)
    try:
        return ask(
            call.option("zygote"),
            argv[1:],
            descriptors=range(3 + preserved),
            program=argv[0],
            signals=True,
        )
    except OSError as error:
        from knarr.runtime.oci.log import Log

        Log().error(f"zygote {call.option('zygote')}: {(error.strerror or str(error)).lower()}")
        return _GONE
