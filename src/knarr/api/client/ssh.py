"""ssh://: a daemon behind the ssh program, whose standard streams `system dial-stdio` on the other side connects to its socket.

So everything above sees a plain socket. Imported only when needed.
"""

import shlex
import socket
import subprocess

# One a connection, as long as this program lives: each ends with its socket.
_RUNNING: list["subprocess.Popen[bytes]"] = []


def arguments(host: str) -> list[str]:
    """ssh's words for ssh://[user@]name[:port][/path of the socket]. Raises ValueError."""
    place, slash, path = host.removeprefix("ssh://").partition("/")
    user, _, address = place.rpartition("@")
    name, colon, port = address.rpartition(":") if not address.endswith("]") else (address, "", "")
    if not colon:
        name = address
    if not name:
        raise ValueError("no host specified")
    if ":" in user:
        raise ValueError("plain-text password is not supported")
    words = ["ssh", "-o", "ConnectTimeout=30", "-T"]
    words += ["-l", user] if user else []
    words += ["-p", port] if port else []
    at = f" --host unix:///{path}" if slash and path else ""
    dial = f"{at} system dial-stdio"
    script = f"if command -v knarr >/dev/null; then exec knarr{dial}; else exec docker{dial}; fi"
    return [*words, "--", name.strip("[]"), f"sh -c {shlex.quote(script)}"]


def connect(host: str) -> socket.socket:
    """A socket whose other end is that ssh. Raises OSError, ValueError."""
    ours, theirs = socket.socketpair()
    with theirs:
        # In its own session: an interrupt typed here is for us to pass on, not for the connection.
        fd = theirs.fileno()
        process = subprocess.Popen(arguments(host), stdin=fd, stdout=fd, start_new_session=True)
        _RUNNING.append(process)
    return ours
