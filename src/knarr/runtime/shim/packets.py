"""JSON objects as packets, in the processes that are forked. Larger ones come in a memfd, the last descriptor (wire.zygote)."""

import json
import os
from collections.abc import Mapping
from typing import Any

from knarr.kernel.memfd import contents

LIMIT = 96 << 10
"""Of a packet: more than wire.zygote's INLINE, and little enough for the allocator to take it from what it has."""


def pack(message: Mapping[str, Any]) -> bytes:
    """One object."""
    return json.dumps(message, separators=(",", ":")).encode()


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
