"""Results as an OCI layout: in an archive, with docker's `manifest.json` where every `docker load` shall read it, or in a client's
content store. Layers come from this engine's; nothing is stored for it. The same results give the same bytes.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from knarr.build.port import Contents
from knarr.engine.building.packing import Packed
from knarr.engine.images.config import dump_json
from knarr.engine.images.manifest import dump_index
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.saving import archive
from knarr.loop.blocking import blocking
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.reference import Reference

Members = Mapping[str, "bytes | Digest | None"]
_PIECE = 1 << 20


def layout(packed: Packed, names: Sequence[Reference], *, docker: bool) -> Members:
    """The archive's members."""
    blobs: dict[Digest, bytes | Digest] = dict(packed.documents)
    blobs |= {layer.digest: layer.digest for layer in packed.layers}
    members: dict[str, bytes | Digest | None] = {"blobs/": None, "blobs/sha256/": None}
    members |= {_path(digest): blobs[digest] for digest in sorted(blobs)}
    members["index.json"] = dump_index(_named(packed.top, names))
    if docker:
        members["manifest.json"] = _manifest(packed, names)
    members["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    return members


def stream(rooms: Rooms, members: Members) -> AsyncIterator[bytes]:
    """The archive's bytes."""
    return archive(rooms, members)


async def lend(rooms: Rooms, packed: Packed, contents: Contents) -> None:
    """Puts everything but `index.json` into the client's store; the client writes that one itself. Raises BuildFailed."""
    for layer in packed.layers:
        await contents.write(layer.digest, layer.size, _blob(rooms, layer.digest))
    for digest, data in packed.documents.items():
        await contents.write(digest, len(data), _whole(data))


async def _blob(rooms: Rooms, digest: Digest) -> AsyncIterator[bytes]:
    with await blocking(rooms.blobs.open, digest) as file:
        while data := await blocking(file.read, _PIECE):
            yield data


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _named(top: Descriptor, names: Sequence[Reference]) -> list[Descriptor]:
    if not names:
        return [top]
    return [
        top._replace(
            annotations={
                **top.annotations,
                "io.containerd.image.name": str(name),
                "org.opencontainers.image.ref.name": name.tag or "",
            }
        )
        for name in names
    ]


def _manifest(packed: Packed, names: Sequence[Reference]) -> bytes:
    part = packed.images[0].part
    return dump_json(
        [
            {
                "Config": _path(Digest.of(part.config)),
                "RepoTags": [name.familiar for name in names] or None,
                "Layers": [_path(layer.digest) for layer in part.layers],
            }
        ]
    )
