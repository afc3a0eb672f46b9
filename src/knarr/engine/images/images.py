"""The facade of images: each method is one use case, in a file of its own.

`name` is a reference, an id or a unique prefix of an id. A method that gives `Progress` raises what is wrong when it is
iterated: before the first line if nothing was begun. Closing the iterator stops the work; what was fetched stays for the
next attempt, and nothing half-made is left. What moves archives is loaded when it is first used: most of a day nothing does.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from knarr.engine.images import listing, remote, removing, tagging, usage
from knarr.engine.images.committing import Draft, commit_image
from knarr.engine.images.layers import Layers
from knarr.engine.images.port import Auth
from knarr.engine.images.progress import streamed
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.values import PrunedImages, SearchResult
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.image import History, Image, ImageView, Progress, Removed
from knarr.model.platform import Platform
from knarr.model.reference import Reference


class Images:
    """All images of one engine. `rooms` are the collaborators; nothing is opened or closed here."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.layers = Layers(rooms)

    def limit(self, downloads: int, uploads: int) -> None:
        """How many layers are pulled and pushed at a time; 0 for the default."""
        self.layers.limit(downloads)
        self.rooms.uploads = uploads

    async def recover(self) -> None:
        """At start: lets old leases go and deletes what no image, container or lease holds."""
        await removing.recover(self.rooms)

    async def collect(self) -> None:
        """Deletes blobs and layers that nothing refers to: after a container whose image is gone was removed."""
        await removing.collect(self.rooms)

    def pull(
        self,
        ref: Reference,
        *,
        platform: Platform | None = None,
        auth: Auth | None = None,
        all_tags: bool = False,
    ) -> AsyncIterator[Progress]:
        """Raises NotFound, Denied, NoMatchingPlatform, CorruptBlob, Unavailable. `all_tags` of the repository, whatever the
        reference's own."""
        from knarr.engine.images import pulling

        work = pulling.pull_all if all_tags else pulling.pull
        return streamed(lambda report: work(self.rooms, self.layers, ref, platform, auth, report))

    async def distribution(
        self, ref: Reference, *, auth: Auth | None = None
    ) -> tuple[Descriptor, tuple[Platform, ...]]:
        """What a registry has under a name, and the platforms that it serves. Raises NotFound, Denied, Unavailable."""
        return await remote.distribution(self.rooms, ref, auth)

    def push(
        self, ref: Reference, *, platform: Platform | None = None, auth: Auth | None = None
    ) -> AsyncIterator[Progress]:
        """Without a tag in `ref`: every tag of the repository."""
        from knarr.engine.images import pushing

        return streamed(lambda report: pushing.push(self.rooms, ref, platform, auth, report))

    def push_document(
        self, ref: Reference, top: Digest, known: Digest | None, auth: Auth | None
    ) -> AsyncIterator[Progress]:
        """Pushes what a manifest or an index names, which lies here, under the tag of `ref`, or as `known` its digest alone."""
        from knarr.engine.images import pushing

        return streamed(lambda report: pushing.push_document(self.rooms, ref, top, known, auth, report))

    async def get(self, name: str, *, platform: Platform | None = None, manifests: bool = False) -> ImageView:
        """Raises NoSuchImage, AmbiguousImage, WrongPlatform."""
        return await listing.get(self.rooms, name, platform, manifests=manifests)

    async def find(self, name: str, platform: Platform | None = None) -> Image:
        """As `get`, the image alone."""
        return await listing.find(self.rooms, name, platform)

    def chain(self, image: Image) -> tuple[Digest, ...]:
        """The chain ids of its layers, lowest first: what a snapshot is prepared on."""
        return listing.chain(image)

    async def raw_config(self, image: Image) -> bytes:
        """The configuration's JSON as it was pulled or made; its digest is the image's id."""
        return await listing.raw_config(self.rooms, image)

    async def count(self) -> int:
        """How many images there are."""
        return await listing.count(self.rooms)

    async def usage(self) -> tuple[list[ImageView], int]:
        """Every image with all that it takes on disk, and the bytes of everything, each once."""
        return await usage.usage(self.rooms)

    async def list(
        self,
        filters: Mapping[str, Sequence[str]] | None = None,
        *,
        all: bool = False,
        shared_size: bool = False,
        manifests: bool = False,
    ) -> list[ImageView]:
        """Newest first. Filters: before, dangling, label, reference, since, until. Raises Invalid.

        `all` would add untagged parents, which this store has none of.
        """
        return await listing.list_images(
            self.rooms, filters or {}, shared_size=shared_size, manifests=manifests
        )

    async def history(self, name: str, *, platform: Platform | None = None) -> tuple[History, ...]:
        """Newest step first. Raises WrongPlatform."""
        return await listing.history(self.rooms, name, platform)

    async def search(
        self,
        term: str,
        *,
        limit: int = 0,
        filters: Mapping[str, Sequence[str]] | None = None,
        auth: Auth | None = None,
    ) -> Sequence[SearchResult]:
        """What an index has under a term. Filters: is-automated, is-official, stars. Raises Invalid, Unavailable."""
        from knarr.engine.images import searching

        return await searching.search(term, limit, filters or {}, auth)

    async def tag(self, name: str, ref: Reference) -> None:
        """A further name; an image that had it loses it."""
        await tagging.tag(self.rooms, name, ref)

    async def remove(
        self,
        name: str,
        *,
        force: bool = False,
        prune: bool = True,
        platforms: Sequence[Platform] = (),
    ) -> tuple[Removed, ...]:
        """Names go first, the image with its last. Raises NoSuchImage, ImageInUse, WrongPlatform."""
        for platform in platforms:
            await self.find(name, platform)
        return await removing.remove(self.rooms, name, force=force, prune=prune)

    async def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> PrunedImages:
        """Images without names, or with filter dangling=false every unused one. Filters: dangling, label, label!, until."""
        return await removing.prune(self.rooms, filters or {})

    def import_(
        self,
        stream: AsyncIterator[bytes] | None,
        ref: Reference | None,
        *,
        changes: Sequence[str] = (),
        message: str = "",
        source: str = "-",
        platform: Platform | None = None,
    ) -> AsyncIterator[Progress]:
        """A root file system as a tar (plain or compressed) becomes an image; its id is the last line's status. Without
        `stream` it is fetched from the URL `source`."""
        from knarr.engine.images.importing import import_image

        return streamed(
            lambda report: import_image(self.rooms, stream, ref, changes, message, source, platform, report)
        )

    async def commit(self, draft: Draft, stream: AsyncIterator[bytes], ref: Reference | None) -> Image:
        """A container's changes, as a tar with whiteouts, become an image. Raises NoSuchImage if its base is gone."""
        return await commit_image(self.rooms, draft, stream, ref)

    def load(
        self, stream: AsyncIterator[bytes], *, platform: Platform | None = None, quiet: bool = False
    ) -> AsyncIterator[Progress]:
        """Docker's archive or an OCI layout, as a tar (plain or compressed)."""
        from knarr.engine.images import loading

        return streamed(lambda report: loading.load(self.rooms, stream, platform, report, quiet=quiet))

    async def save(self, names: Sequence[str], *, platforms: Sequence[Platform] = ()) -> AsyncIterator[bytes]:
        """A tar that is both Docker's archive and an OCI layout; names are looked up before it returns."""
        from knarr.engine.images import saving

        return await saving.save(self.rooms, names, platforms)
