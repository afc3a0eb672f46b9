"""What the drivers that send have in common: messages, encoded, into a `Sender`, and into the cache that is read back."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from knarr.runtime.shim.logs.messages import Messages
from knarr.runtime.shim.logs.sender import Sender
from knarr.wire.locallog import Piece


class Remote(Messages):
    """Drivers say how a message is encoded; b"" sends none."""

    __slots__ = ("_cache", "_sender", "insist", "wish")

    def __init__(self, wish: Mapping[str, Any], cache: Messages | None, sender: Sender):
        super().__init__()
        self.wish, self._cache, self._sender = wish, cache, sender
        self.insist = True

    @abstractmethod
    def encode(self, stream: str, at: int, line: bytes, piece: Piece | None) -> bytes:
        """A message as the receiver takes it."""

    @property
    def full(self) -> bool:
        """Whether the receiver is too slow."""
        return self._sender.full

    def heed(self, on_room: Callable[[], None]) -> None:
        """Whom to tell when it is not any more."""
        self._sender.heed(on_room)

    def put(self, stream: str, at: int, line: bytes, piece: Piece | None) -> None:
        """To the receiver and to the cache."""
        data = self.encode(stream, at, line, piece)
        if data:
            self._sender.push(data)
        if self._cache is not None:
            self._cache.put(stream, at, line, piece)

    def flush(self) -> None:
        """Sends."""
        if self._cache is not None:
            self._cache.flush()
        self._sender.flush()

    def close(self, on_gone: Callable[[], None] | None = None) -> bool:
        """The cache at once, the receiver when it has everything."""
        if self._cache is not None:
            self._cache.close()
        return self._sender.close(on_gone or _nothing, insist=self.insist)


def _nothing() -> None:
    return None
