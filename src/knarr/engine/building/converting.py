"""Layers compressed otherwise: the same files and DiffID, another blob. The same layer and wish give the same bytes."""

from collections.abc import Callable, Sequence
from typing import Protocol

from knarr.build.tree import Layer
from knarr.engine.building.choices import Compression
from knarr.engine.images.compression import Inflater
from knarr.engine.images.holding import Hold
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.unpacking import Keeper
from knarr.loop.blocking import blocking
from knarr.model.descriptor import (
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    Descriptor,
)

_PIECE = 1 << 20
_KINDS = {
    DOCKER_LAYER: "uncompressed",
    OCI_LAYER: "uncompressed",
    DOCKER_LAYER_GZIP: "gzip",
    OCI_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
}
_TYPES = {"uncompressed": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes:
        """What is ready so far."""

    def flush(self) -> bytes:
        """The rest."""


class _None:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


async def converted(
    rooms: Rooms, layers: Sequence[Layer], base: int, wish: Compression, hold: Hold
) -> tuple[Descriptor, ...]:
    """The blobs of `layers` as they are wished for; the first `base` are the base image's, which stay unless that is forced."""
    found = []
    for number, layer in enumerate(layers):
        kind = _KINDS.get(layer.blob.media_type, "")
        again = wish.force and wish.level is not None
        if not kind or (kind == wish.kind and not again) or (number < base and not wish.force):
            found.append(layer.blob)
        else:
            found.append(await blocking(convert, rooms, layer.blob, wish, hold))
    return tuple(found)


def convert(rooms: Rooms, blob: Descriptor, wish: Compression, hold: Hold) -> Descriptor:
    """One layer's other blob, held. Blocking."""
    with rooms.blobs.open(blob.digest) as source, rooms.blobs.ingest(None) as ingest:
        keeper = Keeper(ingest, hold)
        feeder = _Feeder(_compressor(wish), keeper.write)
        inflater = Inflater(feeder.write)
        while data := source.read(_PIECE):
            inflater.write(data)
        inflater.finish()
        feeder.finish()
        digest = keeper.commit()
    return Descriptor(_TYPES[wish.kind], digest, keeper.size)


class _Feeder:
    """Pieces of one size into a compressor: how the input was cut does not show."""

    def __init__(self, compressor: _Compressor, sink: Callable[[bytes], None]):
        self._compressor = compressor
        self._sink = sink
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        self._waiting += data
        while len(self._waiting) >= _PIECE:
            self._sink(self._compressor.compress(bytes(self._waiting[:_PIECE])))
            del self._waiting[:_PIECE]

    def finish(self) -> None:
        self._sink(self._compressor.compress(bytes(self._waiting)))
        self._sink(self._compressor.flush())


def _compressor(wish: Compression) -> _Compressor:
    if wish.kind == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=_within(wish.level, 1, 22, 3)).compressobj()
    if wish.kind == "gzip":
        import zlib

        return zlib.compressobj(_within(wish.level, 0, 9, -1), wbits=31)
    return _None()


def _within(level: int | None, low: int, high: int, default: int) -> int:
    return default if level is None or level < 0 else min(max(level, low), high)
