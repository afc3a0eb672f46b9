"""The registry as images need it: what `registry.client` gives and tests stand in for."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.reference import Reference
from knarr.registry.client.transport import Auth as Auth


class Registry(Protocol):
    """Every method takes the reference of a repository and the caller's credentials (None: anonymous)."""

    async def resolve(self, ref: Reference, auth: Auth | None = None) -> Descriptor:
        """What the tag or digest is. Raises NotFound, Denied, Unavailable, in Docker's words."""

    async def fetch_manifest(self, ref: Reference, digest: Digest, auth: Auth | None = None) -> bytes:
        """A manifest or an index, verified."""

    def open_blob(
        self, ref: Reference, descriptor: Descriptor, offset: int = 0, auth: Auth | None = None
    ) -> AsyncIterator[bytes]:
        """Its bytes from `offset`; connections that break are taken up again inside."""

    async def tags(self, ref: Reference, auth: Auth | None = None) -> list[str]:
        """Every tag of the repository."""

    async def has_blob(self, ref: Reference, descriptor: Descriptor, auth: Auth | None = None) -> bool:
        """Whether the repository has it."""

    async def push_blob(
        self,
        ref: Reference,
        descriptor: Descriptor,
        path: Path,
        auth: Auth | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> bool:
        """False if the registry had it."""

    async def mount_blob(
        self, ref: Reference, descriptor: Descriptor, source: Reference, auth: Auth | None = None
    ) -> bool:
        """Takes it over from another repository of the same registry; False if that cannot be."""

    async def push_manifest(
        self, ref: Reference, media_type: str, data: bytes, auth: Auth | None = None
    ) -> Digest:
        """Under the reference's tag, or its digest."""
