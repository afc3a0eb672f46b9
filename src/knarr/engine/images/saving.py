"""Save: one tar that is docker's archive and an OCI layout at once, with the blobs and manifests as they are kept."""

import sqlite3
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple

from knarr.engine.images import indexes, rows
from knarr.engine.images.config import dump_json
from knarr.engine.images.errors import NoSuchImage, PlatformNotProvided, WrongPlatform
from knarr.engine.images.manifest import dump_index, is_index, media_type, parse_index, parse_manifest
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.settled import settled
from knarr.loop.blocking import blocking
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, NotFound
from knarr.model.image import Image
from knarr.model.platform import Platform
from knarr.model.reference import Reference

_CHUNK = 1 << 20
_BLOCK = 512
_END = bytes(20 * _BLOCK)
_NAME = "io.containerd.image.name"
_TAG = "org.opencontainers.image.ref.name"


class Chosen(NamedTuple):
    """An image to save under some names, perhaps none. `top` is the manifest or index that the names lead to, `manifest` the
    image's own."""

    image: Image
    names: tuple[Reference, ...]
    top: Digest
    manifest: Digest


class Saved(NamedTuple):
    """A chosen image with its documents: `blobs` are all that must be in the archive, `config` and `layers` the image's."""

    chosen: Chosen
    top: Descriptor
    config: Digest
    layers: tuple[Digest, ...]
    blobs: frozenset[Digest]


async def save(rooms: Rooms, names: Sequence[str], platforms: Sequence[Platform]) -> AsyncIterator[bytes]:
    """The use case: what is wrong is raised here, the tar comes from the iterator."""
    chosen = await rooms.db.read(lambda tx: _choose(tx, names, platforms))
    return _stream(rooms, chosen)


def _choose(tx: sqlite3.Connection, names: Sequence[str], platforms: Sequence[Platform]) -> list[Chosen]:
    """Each document once, with all the names that were asked for; a bare repository means all its tags."""
    found: dict[Digest, Chosen] = {}
    for name in names:
        for asked, refs in _named(tx, name):
            for one in _members(tx, asked, platforms):
                before = found[one.top].names if one.top in found else ()
                found[one.top] = one._replace(names=tuple(dict.fromkeys((*before, *refs))))
    return list(found.values())


def _members(tx: sqlite3.Connection, name: str, platforms: Sequence[Platform]) -> list[Chosen]:
    if not platforms:
        manifest, image = indexes.chosen(tx, name, None)
        _, via = indexes.led(tx, name)
        return [Chosen(image, (), via or manifest, manifest)]
    found = []
    for platform in platforms:
        try:
            manifest, image = indexes.chosen(tx, name, platform)
        except (WrongPlatform, PlatformNotProvided):
            raise NotFound(f"no suitable export target found for platform {platform}") from None
        found.append(Chosen(image, (), manifest, manifest))
    return found


def _named(tx: sqlite3.Connection, name: str) -> list[tuple[str, tuple[Reference, ...]]]:
    """By what each image is found, with the names that it gets in the archive."""
    try:
        ref = Reference.parse(name)
    except Invalid:
        return [(name, ())]
    if ref.tag is None and ref.digest is None:
        pairs: list[tuple[str, tuple[Reference, ...]]] = [
            (str(tag), (tag,)) for tag, _ in rows.repository(tx, ref)
        ]
        if pairs:
            return pairs
    try:
        image = rows.find(tx, name)
    except NoSuchImage:
        if ref.tag:
            raise NotFound("reference does not exist") from None
        raise NoSuchImage(name) from None
    tagged = ref.tagged()
    return [(name, (tagged,) if not ref.digest and rows.named(tx, tagged) == str(image.id) else ())]


async def _stream(rooms: Rooms, chosen: Sequence[Chosen]) -> AsyncIterator[bytes]:
    with rooms.leases.create(brief=True) as lease:
        saved = []
        for one in chosen:
            saved.append(await _documents(rooms, one, lease.add))
        members: dict[str, bytes | Digest | None] = {"blobs/": None, "blobs/sha256/": None}
        digests = {digest for one in saved for digest in one.blobs}
        members.update({_path(digest): digest for digest in sorted(digests)})
        members["index.json"] = _index(saved)
        members["manifest.json"] = _manifest(saved)
        members["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
        members["repositories"] = _repositories(saved)
        async for data in archive(rooms, members):
            yield data
        events = [rows.event(one.image, str(one.image.id), "save", str(one.image.id)) for one in chosen]
        await rooms.commit(lambda tx: (None, events))


async def archive(rooms: Rooms, members: "Mapping[str, bytes | Digest | None]") -> AsyncIterator[bytes]:
    """A tar of directories (None), contents, and blobs that the caller holds."""
    for name, content in members.items():
        async for data in _member(rooms, name, content):
            yield data
    yield _END


async def _documents(rooms: Rooms, chosen: Chosen, hold: Callable[..., None]) -> Saved:
    """What is here of the document and what it names."""
    blobs: set[Digest] = set()
    hold(rows.blob(chosen.top), rows.blob(chosen.manifest))
    data = await blocking(rooms.blobs.read, chosen.top)
    kind = media_type(data)
    inside = [entry.digest for entry in parse_index(data)] if is_index(kind) else [chosen.top]
    for digest in inside:
        if await blocking(rooms.blobs.has, digest):
            manifest = parse_manifest(await blocking(rooms.blobs.read, digest))
            blobs |= {digest, manifest.config.digest, *(layer.digest for layer in manifest.layers)}
    hold(*map(rows.blob, blobs))
    own = parse_manifest(await blocking(rooms.blobs.read, chosen.manifest))
    platform = None if is_index(kind) else chosen.image.platform
    return Saved(
        chosen,
        Descriptor(kind, chosen.top, len(data), platform),
        own.config.digest,
        tuple(layer.digest for layer in own.layers),
        frozenset({chosen.top, *blobs}),
    )


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _index(saved: Sequence[Saved]) -> bytes:
    entries = []
    for one in saved:
        for ref in one.chosen.names:
            entries.append(one.top._replace(annotations={_NAME: str(ref), _TAG: ref.tag or ""}))
        if not one.chosen.names:
            entries.append(one.top)
    return dump_index(entries)


def _manifest(saved: Sequence[Saved]) -> bytes:
    return dump_json(
        [
            {
                "Config": _path(one.config),
                "RepoTags": [ref.familiar for ref in one.chosen.names] or None,
                "Layers": [_path(layer) for layer in one.layers],
            }
            for one in saved
        ]
    )


def _repositories(saved: Sequence[Saved]) -> bytes:
    """The oldest form: which layer is on top of each name."""
    value: dict[str, dict[str, str]] = {}
    for one in saved:
        for ref in one.chosen.names:
            top = one.layers[-1].hex if one.layers else one.config.hex
            value.setdefault(ref.familiar_name, {})[ref.tag or ""] = top
    return dump_json(value)


async def _member(rooms: Rooms, name: str, content: "bytes | Digest | None") -> AsyncIterator[bytes]:
    if content is None:
        yield _header(name, 0, directory=True)
    elif isinstance(content, bytes):
        yield _header(name, len(content)) + content + bytes(-len(content) % _BLOCK)
    else:
        with await settled(rooms.blobs.open, content) as file:
            size = await blocking(rooms.blobs.size, content)
            yield _header(name, size)
            while data := await settled(file.read, _CHUNK):
                yield data
            yield bytes(-size % _BLOCK)


def _header(name: str, size: int, *, directory: bool = False) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o755 if directory else 0o644
    member.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
    return member.tobuf(tarfile.GNU_FORMAT)
