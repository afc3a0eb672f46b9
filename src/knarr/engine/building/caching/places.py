"""Where caches are: a repository of a registry, a store that the client lends, this engine's own images.

A document is verified by its digest when it is read; a layer, when it is fetched.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from knarr.build.caching.config import BadCache
from knarr.build.port import Contents
from knarr.engine.images import pulling
from knarr.engine.images.layers import OpenBlob
from knarr.engine.images.port import Auth
from knarr.engine.images.rooms import Rooms
from knarr.loop.blocking import blocking
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.reference import Reference

LARGEST = 4 << 20


class Place(Protocol):
    """Somewhere with blobs."""

    async def manifest(self, digest: Digest) -> bytes:
        """A manifest or an index. Raises NotFound, BadCache."""
        ...

    def opener(self, blob: Descriptor) -> OpenBlob:
        """How a blob is read."""
        ...


class RegistryPlace:
    """A repository."""

    def __init__(self, rooms: Rooms, ref: Reference, auth: Auth | None):
        self._rooms = rooms
        self._ref = ref
        self._auth = auth

    async def manifest(self, digest: Digest) -> bytes:
        return await self._rooms.registry.fetch_manifest(self._ref, digest, self._auth)

    def opener(self, blob: Descriptor) -> OpenBlob:
        return pulling.opener(self._rooms, self._ref, blob, self._auth)


class ClientPlace:
    """A content store of the client's."""

    def __init__(self, contents: Contents):
        self._contents = contents

    async def manifest(self, digest: Digest) -> bytes:
        size = await self._contents.size(digest)
        return await document(self, Descriptor("", digest, size))

    def opener(self, blob: Descriptor) -> OpenBlob:
        def opened(offset: int) -> AsyncIterator[bytes]:
            return self._contents.read(blob.digest, offset)

        return opened


class OwnPlace:
    """This engine's blobs."""

    def __init__(self, rooms: Rooms):
        self._rooms = rooms

    async def manifest(self, digest: Digest) -> bytes:
        return await blocking(self._rooms.blobs.read, digest)

    def opener(self, blob: Descriptor) -> OpenBlob:
        async def opened(offset: int) -> AsyncIterator[bytes]:
            with await blocking(self._rooms.blobs.open, blob.digest) as file:
                file.seek(offset)
                while data := await blocking(file.read, 1 << 20):
                    yield data

        return opened


async def document(place: Place, descriptor: Descriptor) -> bytes:
    """A small blob, verified. Raises NotFound, BadCache."""
    if descriptor.size > LARGEST:
        raise BadCache(f"blob {descriptor.digest} is too large ({descriptor.size} > {LARGEST})")
    data = bytearray()
    async for piece in place.opener(descriptor)(0):
        data += piece
        if len(data) > descriptor.size:
            break
    if len(data) != descriptor.size:
        raise BadCache(
            f"blob {descriptor.digest} has not the {descriptor.size} bytes that it is said to have"
        )
    if descriptor.digest.algorithm != "sha256" or Digest.of(bytes(data)) != descriptor.digest:
        raise BadCache(f"blob {descriptor.digest} arrived as {Digest.of(bytes(data))}")
    return bytes(data)
