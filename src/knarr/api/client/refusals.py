"""What a daemon refuses, as the errors of model/errors.py: the inverse of the server's table, for our daemon and for dockerd.

A status does not tell everything: dockerd has 500 for ports that are taken and 400 for commands that are not there.
"""

import json

from knarr.model.errors import (
    CannotExecute,
    Conflict,
    Denied,
    Invalid,
    KnarrError,
    NoSuchCommand,
    NotFound,
    Unauthorized,
    Unavailable,
    Unchanged,
    Unsupported,
)


class DaemonFailed(KnarrError):
    """The daemon itself failed (500): the message has its words."""


_KINDS: dict[int, type[KnarrError]] = {
    304: Unchanged,
    400: Invalid,
    401: Unauthorized,
    403: Denied,
    404: NotFound,
    409: Conflict,
    501: Unsupported,
    503: Unavailable,
}
_COMMANDS: tuple[tuple[str, type[KnarrError]], ...] = (
    ("executable file not found", NoSuchCommand),
    ("no such file or directory", NoSuchCommand),
    ("permission denied", CannotExecute),
    ("exec format error", CannotExecute),
    ("is a directory", CannotExecute),
)
_STARTING = ("failed to create task", "failed to create shim", "OCI runtime", "unable to start container")
_TAKEN = ("port is already allocated", "address already in use")


def refusal(status: int, message: str, *, starting: bool = False) -> KnarrError:
    """The error; `starting` where a container's command may be what is wrong."""
    if starting and status in (400, 404, 500) and any(word in message for word in _STARTING):
        for words, kind in _COMMANDS:
            if words in message:
                return kind(message)
    if status == 500 and any(words in message for words in _TAKEN):
        return Conflict(message)
    return _KINDS.get(status, Invalid if 400 <= status < 500 else DaemonFailed)(message)


def message(data: bytes, status: int) -> str:
    """What the daemon says."""
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace").strip() or f"status {status}"
