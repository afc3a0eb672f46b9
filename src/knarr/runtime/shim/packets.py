"""JSON objects as packets, in the processes that are forked. Larger ones come in a memfd, the last descriptor (wire.zygote)."""

import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from knarr.kernel.memfd import contents, sealed
from knarr.kernel.sockets import send_packet
from knarr.wire.zygote import INLINE, MEMFD

LIMIT = 96 << 10
"""Of a packet: more than wire.zygote's INLINE, and little enough for the allocator to take it from what it has."""


def pack(message: Mapping[str, Any]) -> bytes:
    """One object."""
    return json.dumps(message, separators=(",", ":")).encode()


def send(sock: socket.socket, message: Mapping[str, Any], fds: tuple[int, ...] | list[int] = ()) -> None:
    """One object, whatever its size."""
    packet = pack(message)
    if len(packet) <= INLINE:
        send_packet(sock, packet, fds)
        return
    large = sealed("packet", packet)
    try:
        send_packet(sock, MEMFD, (*fds, large))
    finally:
        os.close(large)


def unpack(packet: bytes, fds: list[int]) -> dict[str, Any]:
    """One object; the memfd is taken out of `fds` and closed. Raises ValueError, IndexError."""
    message: dict[str, Any] = json.loads(packet)
    if message.get("memfd"):
        fd = fds.pop()
        try:
            message = json.loads(contents(fd))
        finally:
            os.close(fd)
    return message
