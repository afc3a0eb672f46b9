"""The syslog driver: RFC 3164 as Go's syslog writes it, or RFC 5424, to the host's own socket or to an address.

Over TLS RFC 5424 is framed by octet counting (RFC 5425); elsewhere a message ends with a newline.
"""

import os
import time
from collections.abc import Mapping
from typing import Any

from knarr.runtime.shim.logs.messages import Messages
from knarr.runtime.shim.logs.remote import Remote
from knarr.runtime.shim.logs.sender import Down, Sender
from knarr.runtime.shim.loop import Loop
from knarr.wire.locallog import Piece

_OWN = ("/dev/log", "/var/run/syslog", "/var/run/log")
_ERROR, _INFO = 3, 6


class Syslog(Remote):
    """One container's."""

    __slots__ = ("_format", "_framed", "_middle")

    def __init__(self, loop: Loop, wish: Mapping[str, Any], cache: Messages | None):
        super().__init__(wish, cache, _connected(loop, wish))
        self._format: str = wish["format"]
        self._framed = wish["address"][0] == "tls" and self._format.startswith("rfc5424")
        tag, pid, host = wish["tag"], os.getpid(), wish["hostname"]
        self._middle = {
            "": f" {tag}[{pid}]: ",
            "rfc3164": f" {host} {tag}[{pid}]: ",
        }.get(self._format, f" {host} {tag} {pid} {tag} - ")

    def encode(self, stream: str, at: int, line: bytes, piece: Piece | None) -> bytes:
        """Empty lines are not sent, as with Docker."""
        if not line:
            return b""
        priority = self.wish["facility"] << 3 | (_ERROR if stream == "stderr" else _INFO)
        message = f"<{priority}>{self._moment(at)}{self._middle}".encode("utf-8", "replace") + line + b"\n"
        return str(len(message)).encode() + b" " + message if self._framed else message

    def _moment(self, at: int) -> str:
        second, fraction = divmod(at, 1_000_000_000)
        local = time.localtime(second)
        if not self._format.startswith("rfc5424"):
            return f"{time.strftime('%b', local)} {local.tm_mday:2d} {time.strftime('%H:%M:%S', local)}"
        micro = f".{fraction // 1000:06d}" if self._format == "rfc5424micro" else ""
        zone = time.strftime("%z", local)
        zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
        return f"1 {time.strftime('%Y-%m-%dT%H:%M:%S', local)}{micro}{zone}"


def _connected(loop: Loop, wish: Mapping[str, Any]) -> Sender:
    kind, host, port = wish["address"]
    if kind:
        sender = Sender(loop, kind, host, port, tls=wish.get("tls"), room=wish["room"])
        sender.begin()
        return sender
    for each in ("unixgram", "unix"):
        for path in _OWN:
            sender = Sender(loop, each, path, 0, room=wish["room"])
            try:
                sender.begin()
            except Down:
                continue
            return sender
    raise Down(111, "Unix syslog delivery error")
