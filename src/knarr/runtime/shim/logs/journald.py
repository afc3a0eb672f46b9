"""The journald driver: systemd's native protocol, a datagram of fields an entry (systemd.journal-fields(7))."""

import os
import time
from collections.abc import Mapping
from typing import Any

from knarr.model.errors import KnarrError
from knarr.runtime.shim.logs.messages import Messages
from knarr.runtime.shim.logs.remote import Remote
from knarr.runtime.shim.logs.sender import Sender
from knarr.runtime.shim.loop import Loop
from knarr.wire.locallog import Piece

SOCKET = "/run/systemd/journal/socket"
_FAILED = "failed to create task for container: failed to initialize logging driver: "


class Journald(Remote):
    """One container's. What journald does not take at once waits."""

    __slots__ = ("_fields", "_ordinal")

    def __init__(self, loop: Loop, wish: Mapping[str, Any], cache: Messages | None):
        path = wish.get("socket") or SOCKET
        if not os.path.exists(path):
            raise KnarrError(f"{_FAILED}journald is not enabled on this host")
        sender = Sender(loop, "unixgram", path, 0, room=wish["room"])
        sender.begin()
        super().__init__(wish, cache, sender)
        container_id, name, image = wish["container"]
        self._ordinal = 0
        fields = {
            "CONTAINER_ID": container_id[:12],
            "CONTAINER_ID_FULL": container_id,
            "CONTAINER_NAME": name,
            "CONTAINER_TAG": wish["tag"],
            "IMAGE_NAME": image,
            "SYSLOG_IDENTIFIER": wish["tag"],
            "CONTAINER_LOG_EPOCH": os.urandom(32).hex(),
            **{sanitized(key): value for key, value in wish["attrs"].items() if sanitized(key)},
        }
        self._fields = b"".join(field(key, value.encode()) for key, value in fields.items())

    def encode(self, stream: str, at: int, line: bytes, piece: Piece | None) -> bytes:
        """One entry."""
        self._ordinal += 1
        more = {"SYSLOG_TIMESTAMP": _moment(at), "CONTAINER_LOG_ORDINAL": str(self._ordinal)}
        if piece is not None:
            more |= {
                "CONTAINER_PARTIAL_ID": piece.id,
                "CONTAINER_PARTIAL_ORDINAL": str(piece.ordinal),
                "CONTAINER_PARTIAL_LAST": str(piece.last).lower(),
                **({} if piece.last else {"CONTAINER_PARTIAL_MESSAGE": "true"}),
            }
        priority = b"3" if stream == "stderr" else b"6"
        own = b"".join(field(key, value.encode()) for key, value in more.items())
        return field("PRIORITY", priority) + field("MESSAGE", line) + self._fields + own


def _moment(at: int) -> str:
    """RFC 3339 as Go prints it, without datetime, which is large."""
    second, rest = divmod(at, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}{fraction}Z"


def field(name: str, value: bytes) -> bytes:
    """A field; one with a newline in it says its length (systemd: JOURNAL_NATIVE_PROTOCOL)."""
    if b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def sanitized(name: str) -> str:
    """A label's or variable's name as a field's: capitals, digits and underscores, none of which is the first."""
    letters = "".join(each if each.isascii() and each.isalnum() else "_" for each in name)
    return letters.upper().lstrip("_")
