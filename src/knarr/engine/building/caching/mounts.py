"""Cache mounts inside caches: archives beside the layers, each with the mount's id. BuildKit's tools pass them over.

They go along only where a build asks for it (`mounts=true`), and come back only where this engine has none of that id.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from knarr.build.graph import Edge, walk
from knarr.build.operations import Exec, MountKind, Sharing
from knarr.build.progress import Step
from knarr.engine.archive import stream
from knarr.engine.building.cachemounts import CacheMounts
from knarr.engine.building.caching.imports import Parcel
from knarr.engine.images.compression import Deflater, Inflater
from knarr.engine.images.holding import Hold
from knarr.engine.images.layers import OpenBlob
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import closing, settled
from knarr.engine.images.unpacking import Keeper
from knarr.engine.zygote_jobs import RootView
from knarr.kernel.files import write_all
from knarr.loop.blocking import blocking
from knarr.model.descriptor import Descriptor
from knarr.model.errors import Invalid
from knarr.model.mount import Mount
from knarr.snapshots.maketar import TarOptions
from knarr.snapshots.untar import UntarOptions

MEDIA_TYPE = "application/vnd.knarr.cachemount.v1.tar+gzip"
ID = "dev.knarr.cachemount.id"


def parcels(entries: Sequence[Descriptor], opener: Callable[[Descriptor], OpenBlob]) -> list[Parcel]:
    """The mounts among a manifest's blobs."""
    return [
        Parcel(each.annotations[ID], each, opener(each))
        for each in entries
        if each.media_type == MEDIA_TYPE and each.annotations.get(ID)
    ]


def used(edges: Sequence[Edge | None]) -> list[str]:
    """The ids of the mounts that a build's steps share with other builds."""
    return list(dict.fromkeys(_used(edges)))


def _used(edges: Sequence[Edge | None]) -> Iterator[str]:
    for vertex in walk(*edges):
        for mount in vertex.operation.mounts if isinstance(vertex.operation, Exec) else ():
            if mount.kind == MountKind.CACHE and mount.cache and mount.cache.sharing != Sharing.PRIVATE:
                yield mount.cache.id


async def pack(rooms: Rooms, caches: CacheMounts, known: str, hold: Hold, step: Step) -> Descriptor | None:
    """The mount as a blob, held; None if there is none of that id."""
    async with caches.looked_at(known) as path:
        if path is None:
            return None
        view = RootView(mounts=(Mount("bind", path, ("rbind", "ro")),))
        job = await rooms.zygote.archive_get(view, "/", TarOptions(name="."))
        with await blocking(rooms.blobs.ingest, None) as ingest:
            keeper = Keeper(ingest, hold)
            deflater = Deflater(keeper.write)
            async with closing(stream(job)) as pieces:
                async for data in pieces:
                    await settled(deflater.write, data)
            await settled(deflater.finish)
            digest = await settled(keeper.commit)
    with step.task(f"packing cache mount {known}", total=keeper.size) as task:
        task.at(keeper.size)
    return Descriptor(MEDIA_TYPE, digest, keeper.size, annotations={ID: known})


async def restore(rooms: Rooms, parcel: Parcel, directory: str, step: Step) -> None:
    """Unpacks the mount in the empty `directory`, and verifies it. Raises Invalid, and what its place says."""
    unpacking = await rooms.zygote.unpack(directory, UntarOptions())
    total, size = sha256(), 0
    inflater = Inflater(lambda piece: write_all(unpacking.feed, piece))
    try:
        with step.task(f"unpacking cache mount {parcel.id}", total=parcel.blob.size) as task:
            async with closing(parcel.opened(0)) as pieces:
                async for data in pieces:
                    total.update(data)
                    size += len(data)
                    if size > parcel.blob.size:
                        break
                    await settled(inflater.write, data)
                    task.at(size)
            await settled(inflater.finish)
    except BrokenPipeError:
        pass  # the job tells why it stopped reading
    finally:
        unpacking.close_feed()
        await unpacking.result()
    if (size, total.hexdigest()) != (parcel.blob.size, parcel.blob.digest.hex):
        raise Invalid(f"blob {parcel.blob.digest} is not what it is said to be")
