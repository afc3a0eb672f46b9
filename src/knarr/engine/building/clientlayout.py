"""A client's OCI layout as a registry to be read from: what is verified of a registry's answers is verified of its, too."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from knarr.build.port import Contents
from knarr.engine.images.errors import BadImage
from knarr.engine.images.manifest import MAX_SIZE, media_type
from knarr.engine.images.port import Auth
from knarr.engine.images.settled import closing
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import NotFound, Unsupported
from knarr.model.reference import Reference


class ClientLayout:
    """See images.port.Registry."""

    def __init__(self, contents: Contents):
        self._contents = contents

    async def resolve(self, ref: Reference, auth: Auth | None = None) -> Descriptor:
        """By its digest only."""
        if ref.digest is None:
            raise NotFound(f"{ref}: an OCI layout is asked by digest")
        data = await self.fetch_manifest(ref, ref.digest, auth)
        return Descriptor(media_type(data), ref.digest, len(data))

    async def fetch_manifest(self, ref: Reference, digest: Digest, auth: Auth | None = None) -> bytes:
        """Verified by who keeps it."""
        if await self._contents.size(digest) > MAX_SIZE:
            raise BadImage(f"the manifest {digest} is too large")
        async with closing(self._contents.read(digest)) as pieces:
            return b"".join([piece async for piece in pieces])

    def open_blob(
        self, ref: Reference, descriptor: Descriptor, offset: int = 0, auth: Auth | None = None
    ) -> AsyncIterator[bytes]:
        """Its bytes from `offset`."""
        return self._contents.read(descriptor.digest, offset)

    async def has_blob(self, ref: Reference, descriptor: Descriptor, auth: Auth | None = None) -> bool:
        """Whether it is there."""
        try:
            await self._contents.size(descriptor.digest)
        except NotFound:
            return False
        return True

    async def tags(self, ref: Reference, auth: Auth | None = None) -> list[str]:
        """There are none."""
        return []

    async def push_blob(
        self,
        ref: Reference,
        descriptor: Descriptor,
        path: Path,
        auth: Auth | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> bool:
        """Never."""
        raise Unsupported("a client's layout is only read from")

    async def mount_blob(
        self, ref: Reference, descriptor: Descriptor, source: Reference, auth: Auth | None = None
    ) -> bool:
        """Never."""
        return False

    async def push_manifest(
        self, ref: Reference, media_type: str, data: bytes, auth: Auth | None = None
    ) -> Digest:
        """Never."""
        raise Unsupported("a client's layout is only read from")
