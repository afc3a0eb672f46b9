"""What is asked of images: one, all, history."""

import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from knarr.engine import filters as docker_filters
from knarr.engine.images import indexes, rows
from knarr.engine.images.config import parse_history
from knarr.engine.images.errors import WrongPlatform
from knarr.engine.images.manifest import ABOUT, media_type, parse_index, parse_manifest
from knarr.engine.images.rooms import Rooms
from knarr.loop.blocking import blocking
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.image import History, Image, ImageView, ManifestView
from knarr.model.platform import Platform
from knarr.model.reference import Reference

_FILTERS = frozenset({"before", "dangling", "label", "reference", "since", "until"})


def chain(image: Image) -> tuple[Digest, ...]:
    """The chain ids of its layers, lowest first."""
    return rows.chain(image)


async def get(
    rooms: Rooms, name: str, platform: Platform | None = None, *, manifests: bool = False
) -> ImageView:
    """One image by any of its names. Raises WrongPlatform."""

    def read(tx: sqlite3.Connection) -> ImageView:
        image = indexes.chosen(tx, name, platform).image
        lead = indexes.led(tx, name).image
        tagged = tx.execute("SELECT tagged FROM images WHERE id = ?", (str(image.id),)).fetchone()[0]
        return _view(tx, image, tagged, rows.layer_sizes(tx), rows.names(tx, lead.id))

    view = await rooms.db.read(read)
    return (await with_manifests(rooms, [view]))[0] if manifests else view


def require(image: Image, name: str, platform: Platform | None) -> None:
    """Raises WrongPlatform."""
    if platform is not None and not image.platform.matches(platform):
        raise WrongPlatform(name, image.platform, platform)


async def with_manifests(rooms: Rooms, views: Sequence[ImageView]) -> list[ImageView]:
    """With what is told of their manifests."""
    known = await rooms.db.read(lambda tx: [_known(tx, view.image) for view in views])
    return [await blocking(_with, rooms, view, each) for view, each in zip(views, known, strict=True)]


class _Known(NamedTuple):
    """What the rows tell of an image's manifests."""

    via: Digest | None
    inside: tuple[indexes.Member, ...]
    users: Mapping[Digest, tuple[str, ...]]
    sizes: Mapping[Digest, int]


def _known(tx: sqlite3.Connection, image: Image) -> _Known:
    via = indexes.of(tx, image.id)
    inside = () if via is None else indexes.members(tx, via)
    images = {each.image.id: each.image for each in inside} or {image.id: image}
    sizes = rows.layer_sizes(tx)
    return _Known(
        via,
        inside,
        {key: tuple(user.id for user in rows.own_users(tx, key)) for key in images},
        {
            key: sum(sizes.get(str(chain_id), 0) for chain_id in rows.chain(one))
            for key, one in images.items()
        },
    )


def _with(rooms: Rooms, view: ImageView, known: _Known) -> ImageView:
    image = view.image
    if known.via is None:
        users, size = known.users[image.id], known.sizes[image.id]
        return replace(
            view, manifest=image.manifest and _told(rooms, image.manifest, image.platform, users, size)
        )
    data = rooms.blobs.read(known.via)
    found = []
    images = {each.manifest: each.image for each in known.inside}
    for entry in parse_index(data):
        about = entry.annotations.get(ABOUT)
        one = images.get(entry.digest)
        if one is not None:
            users, size = known.users[one.id], known.sizes[one.id]
            told = _told(rooms, entry.digest, entry.platform or one.platform, users, size)
            found.append(told._replace(descriptor=entry))
        elif about and rooms.blobs.has(entry.digest):
            told = _told(rooms, entry.digest, entry.platform, (), 0)
            found.append(told._replace(descriptor=entry, about=Digest.parse(about)))
    top = Descriptor(media_type(data), known.via, len(data))
    total = len(data) + sum(each.content for each in found)
    return replace(view, manifest=ManifestView(top, total), members=tuple(found))


def _told(
    rooms: Rooms, digest: Digest, platform: Platform | None, users: tuple[str, ...], size: int
) -> ManifestView:
    data = rooms.blobs.read(digest)
    manifest = parse_manifest(data)
    blobs = {blob.digest: blob.size for blob in (manifest.config, *manifest.layers)}
    descriptor = Descriptor(manifest.media_type, digest, len(data), platform)
    return ManifestView(descriptor, len(data) + sum(blobs.values()), users, size)


async def find(rooms: Rooms, name: str, platform: Platform | None = None) -> Image:
    """One image by any of its names, without what must be counted. With `platform`, raises WrongPlatform."""
    if platform is not None:
        return (await rooms.db.read(lambda tx: indexes.chosen(tx, name, platform))).image
    return await rooms.look_up(name, lambda tx: rows.find(tx, name))


async def raw_config(rooms: Rooms, image: Image) -> bytes:
    """The configuration's bytes."""
    return await blocking(rooms.blobs.read, image.id)


async def count(rooms: Rooms) -> int:
    """How many images."""

    def read(tx: sqlite3.Connection) -> int:
        total: int = tx.execute("SELECT count(*) FROM images").fetchone()[0]
        return total - len(indexes.hidden(tx))

    return await rooms.db.read(read)


def _view(
    tx: sqlite3.Connection,
    image: Image,
    tagged: int,
    sizes: Mapping[str, int],
    names: Sequence[Reference] | None = None,
) -> ImageView:
    """`names`: where they are those of the image that stands for it."""
    names = rows.names(tx, image.id) if names is None else names
    return ImageView(
        image=image,
        tags=tuple(name.familiar for name in names if not name.digest),
        digests=tuple(name.familiar for name in names if name.digest),
        size=sum(sizes.get(str(chain_id), 0) for chain_id in rows.chain(image)),
        last_tagged=tagged,
    )


async def list_images(
    rooms: Rooms,
    filters: Mapping[str, Sequence[str]],
    *,
    shared_size: bool,
    manifests: bool = False,
) -> list[ImageView]:
    """Newest first."""
    docker_filters.check(filters, _FILTERS)

    def read(tx: sqlite3.Connection) -> list[ImageView]:
        sizes, users, counts = rows.layer_sizes(tx), rows.layer_users(tx), rows.user_counts(tx)
        keep = _kept(tx, filters)
        views = []
        hidden = indexes.hidden(tx)
        for image, tagged in rows.read_all(tx):
            if str(image.id) in hidden:
                continue
            view = _narrowed(_view(tx, image, tagged, sizes), filters)
            if view is None or not keep(image):
                continue
            if shared_size:
                view = replace(view, shared_size=_shared(image, sizes, users))
            views.append(replace(view, containers=counts.get(str(image.id), 0) if shared_size else -1))
        return views

    found = await rooms.db.read(read)
    return await with_manifests(rooms, found) if manifests else found


def _shared(image: Image, sizes: Mapping[str, int], users: Mapping[str, int]) -> int:
    return sum(
        sizes.get(str(chain_id), 0) for chain_id in rows.chain(image) if users.get(str(chain_id), 0) > 1
    )


def _kept(tx: sqlite3.Connection, filters: Mapping[str, Sequence[str]]) -> Callable[[Image], bool]:
    """The filters that look at the image alone."""
    now = time.time_ns()
    after = [rows.find(tx, name).created for name in filters.get("since", ())]
    before = [rows.find(tx, name).created for name in filters.get("before", ())]
    before_or_at = [docker_filters.moment(text, now) for text in filters.get("until", ())]

    def keep(image: Image) -> bool:
        return (
            all(image.created > moment for moment in after)
            and all(image.created < moment for moment in before)
            and all(image.created <= moment for moment in before_or_at)
            and docker_filters.labels(filters, image.config.labels or {})
        )

    return keep


def _narrowed(view: ImageView, filters: Mapping[str, Sequence[str]]) -> ImageView | None:
    """With the names that the `reference` filter leaves; None if it or `dangling` excludes the image."""
    dangling = docker_filters.boolean(filters, "dangling")
    if dangling is not None and dangling == bool(view.tags):
        return None
    patterns = filters.get("reference", ())
    if not patterns:
        return view
    tags = tuple(tag for tag in view.tags if any(matches(pattern, tag) for pattern in patterns))
    digests = tuple(name for name in view.digests if any(matches(pattern, name) for pattern in patterns))
    return replace(view, tags=tags, digests=digests) if tags or digests else None


def matches(pattern: str, familiar: str) -> bool:
    """Docker's `reference` filter: a glob over the whole name or over the name without its tag (Go's path.Match)."""
    ref = Reference.parse(familiar)
    return any(glob(pattern).match(text) for text in (familiar, ref.familiar_name))


def glob(pattern: str) -> re.Pattern[str]:
    """`*` and `?` do not cross a slash; `[…]` is a class, `\\\\` escapes. A malformed pattern matches itself."""
    out, position = "", 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif character == "[" and (end := pattern.find("]", position + 1)) > 0:
            out += "[" + pattern[position:end].replace("\\", "\\\\") + "]"
            position = end + 1
        else:
            if character == "\\" and position < len(pattern):
                character = pattern[position]
                position += 1
            out += re.escape(character)
    try:
        return re.compile(out + r"\Z")
    except re.error:
        return re.compile(re.escape(pattern) + r"\Z")


async def history(rooms: Rooms, name: str, platform: Platform | None = None) -> tuple[History, ...]:
    """Newest first; the newest has the image's id and tags, the others are docker's `<missing>`."""
    view = await get(rooms, name, platform)
    steps = parse_history(await raw_config(rooms, view.image))
    sizes = await rooms.db.read(rows.layer_sizes)
    layers = [sizes.get(str(chain_id), 0) for chain_id in rows.chain(view.image)]
    found = []
    for step in steps or tuple(History() for _ in layers):
        found.append(replace(step, size=0 if step.empty_layer or not layers else layers.pop(0)))
    found.reverse()
    if found:
        found[0] = replace(found[0], id=str(view.image.id), tags=view.tags)
    return tuple(found)
