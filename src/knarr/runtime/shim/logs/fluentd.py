"""The fluentd driver: records by the forward protocol, at once or (async) when the receiver is there.

Without async a receiver that is away holds the container up, as with Docker; what was asked to be acknowledged is sent again
until it is.
"""

import os
from collections.abc import Mapping
from typing import Any

from knarr.runtime.shim.logs.messages import Messages
from knarr.runtime.shim.logs.remote import Remote
from knarr.runtime.shim.logs.sender import Sender
from knarr.runtime.shim.loop import Loop
from knarr.wire.forward import answered, message
from knarr.wire.locallog import Piece

_CHUNK = 32


class Fluentd(Remote):
    """One container's."""

    __slots__ = ("_record",)

    def __init__(self, loop: Loop, wish: Mapping[str, Any], cache: Messages | None):
        later: bool = wish["async"]
        kind, host, port = wish["address"]
        sender = Sender(
            loop,
            kind,
            host,
            port,
            tls={} if kind == "tls" else None,
            room=wish["limit"] if later else wish["room"],
            holds=not later and not wish["room"],
            again=wish["reconnect"] or wish["wait"],
            retries=wish["retries"],
            reply=_settled if wish["ack"] else None,
        )
        super().__init__(wish, cache, sender)
        self.insist = not later
        container_id, name, _ = wish["container"]
        self._record: dict[str, str] = {"container_id": container_id, "container_name": f"/{name}"}
        if later:
            sender.begin_later()
        else:
            sender.begin()

    def encode(self, stream: str, at: int, line: bytes, piece: Piece | None) -> bytes:
        """One record."""
        record: dict[str, str | bytes] = {**self._record, "source": stream, "log": line, **self.wish["attrs"]}
        if piece is not None:
            record |= {
                "partial_message": "true",
                "partial_id": piece.id,
                "partial_ordinal": str(piece.ordinal),
                "partial_last": str(piece.last).lower(),
            }
        chunk = os.urandom(_CHUNK // 2).hex() if self.wish["ack"] else ""
        return message(self.wish["tag"], at, record, precise=self.wish["precise"], chunk=chunk)


def _settled(data: bytes, sent: bytes) -> bool | None:
    """A message ends with the id of its chunk."""
    return answered(data, sent[-_CHUNK:].decode())
