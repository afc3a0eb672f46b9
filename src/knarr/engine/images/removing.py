"""Removal and collection: rows first, then the files that no row needs and no lease holds.

`plan` decides what a removal does, from facts, with docker's rules and words; `remove` does it in the transaction that read
the facts. Whoever deletes files holds `rooms.collecting`, and a lease taken meanwhile keeps its files.
"""

import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from knarr.content.leases import Resource
from knarr.engine import filters as docker_filters
from knarr.engine.images import indexes, rows
from knarr.engine.images.errors import ImageInUse
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.rows import User
from knarr.engine.images.settled import settled
from knarr.engine.images.values import PrunedImages
from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.image import Image, Removed
from knarr.model.reference import Reference
from knarr.model.system import Event

_PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})
_ABANDONED = 24 * 3600 * 1_000_000_000


class Plan(NamedTuple):
    """The names that go, and whether the image goes."""

    names: tuple[Reference, ...]
    delete: bool


def plan(
    asked: str, image: Digest, names: Sequence[Reference], users: Sequence[User], *, force: bool
) -> Plan:
    """What `rmi` does. Raises ImageInUse in docker's words."""
    if _is_id(asked, image, names):
        going = tuple(names) if _one_repository(names) else ()
        _check(image, users, names if not going else (), force=force)
        return Plan(going, delete=True)
    if not force and _one_repository(names) and users:
        raise ImageInUse(
            f'conflict: unable to remove repository reference "{asked}" (must force) - container'
            f" {users[0].id[:12]} is using its referenced image {image.short}"
        )
    going = _with_digests(_named(asked, names), names)
    if set(names) - set(going):
        return Plan(going, delete=False)
    return Plan(going, delete=not _used(users, force=force))


def _is_id(asked: str, image: Digest, names: Sequence[Reference]) -> bool:
    """A name that looks like the beginning of the id is a name."""
    try:
        if Reference.parse(asked).tagged() in names:
            return False
    except Invalid:
        return True
    return str(image).startswith(asked) or image.hex.startswith(asked)


def _one_repository(names: Sequence[Reference]) -> bool:
    """At most one tag, and every digest in its repository."""
    tags = [name for name in names if not name.digest]
    return len(tags) <= 1 and len({name.name for name in names}) <= 1


def _named(asked: str, names: Sequence[Reference]) -> Reference:
    ref = Reference.parse(asked).tagged()
    return ref if ref in names else ref._replace(tag=None)


def _with_digests(ref: Reference, names: Sequence[Reference]) -> tuple[Reference, ...]:
    """With the last tag of a repository its digests go too."""
    others = [name for name in names if name != ref and name.name == ref.name]
    if ref.digest or any(not name.digest for name in others):
        return (ref,)
    return (ref, *others)


def _used(users: Sequence[User], *, force: bool) -> bool:
    """Containers keep an image that lost its last name: a running one always, a stopped one unless forced."""
    return any(user.runs or not force for user in users)


def _check(image: Digest, users: Sequence[User], names: Sequence[Reference], *, force: bool) -> None:
    running = next((user for user in users if user.runs), None)
    if running is not None:
        reason, can = f"image is being used by running container {running.id[:12]}", "cannot be forced"
    elif force:
        return
    elif names:
        reason, can = "image is referenced in multiple repositories", "must be forced"
    elif users:
        reason, can = f"image is being used by stopped container {users[0].id[:12]}", "must be forced"
    else:
        return
    raise ImageInUse(f"conflict: unable to delete {image.short} ({can}) - {reason}")


async def remove(rooms: Rooms, name: str, *, force: bool, prune: bool) -> tuple[Removed, ...]:
    """The use case. `prune` is docker's word for removing untagged parents, which this store has none of."""

    def write(tx: sqlite3.Connection) -> tuple["_Gone", list[Event]]:
        image = rows.find(tx, name)
        names = rows.names(tx, image.id)
        return _carry_out(tx, image, plan(name, image.id, names, rows.users(tx, image.id), force=force))

    removed, _ = await _committed(rooms, write)
    return removed


class _Gone(NamedTuple):
    """What a transaction removed: records for the user, resources that were an image's own, the bytes of its layers."""

    removed: tuple[Removed, ...]
    resources: tuple[Resource, ...]
    size: int = 0


def _carry_out(tx: sqlite3.Connection, image: Image, decided: Plan) -> tuple[_Gone, list[Event]]:
    identity = str(image.id)
    events = []
    removed = []
    for ref in decided.names:
        rows.unname(tx, ref)
        removed.append(Removed(untagged=ref.familiar))
        events.append(rows.event(image, identity, "untag", identity))
    if decided.delete and indexes.is_part(tx, image.id):
        if not removed:
            raise ImageInUse(
                f"conflict: unable to delete {image.id.short} (cannot be forced) - image is one of several"
                f" platforms of {', '.join(name.familiar for name in indexes.needed_by(tx, image.id))}"
            )
        return _Gone(tuple(removed), ()), events
    if not decided.delete:
        return _Gone(tuple(removed), ()), events
    removed.extend(Removed(untagged=ref.familiar) for ref in rows.names(tx, image.id))
    chains: list[str] = []
    blobs: list[str] = []
    for each in (identity, *indexes.follow(tx, image.id)):
        own, needed = rows.delete(tx, each)
        chains += own
        blobs += needed
    free, size = rows.free(tx, [*map(rows.layer, chains), *map(rows.blob, blobs)])
    removed.append(Removed(deleted=identity))
    removed.extend(Removed(deleted=found.name) for found in free if found.kind == "layer")
    events.append(rows.event(None, identity, "delete", identity))
    return _Gone(tuple(removed), tuple(free), size), events


async def _committed(
    rooms: Rooms, write: Callable[[sqlite3.Connection], tuple[_Gone, Sequence[Event]]]
) -> tuple[tuple[Removed, ...], int]:
    """The transaction, then the files; what was freed of layers, in bytes."""
    async with _collection(rooms):
        gone = await rooms.commit(write)
        await settled(_delete, rooms, gone.resources)
    await settled(rooms.snapshots.empty_trash)
    return gone.removed, gone.size


@contextlib.asynccontextmanager
async def _collection(rooms: Rooms) -> AsyncIterator[None]:
    """Inside, everything that is under a lease at any moment counts as needed."""
    async with rooms.collecting:
        rooms.leases.begin_collection()
        try:
            yield
        finally:
            rooms.leases.end_collection()


def _delete(rooms: Rooms, resources: Sequence[Resource]) -> None:
    """Deletes what no lease holds."""

    def delete_layer(name: str) -> int:
        rooms.snapshots.remove_layer(Digest.parse(name))
        return 0

    deleters: dict[str, Callable[[str], int]] = {
        "layer": delete_layer,
        "blob": lambda name: rooms.blobs.delete(Digest.parse(name)),
    }
    for resource in resources:
        rooms.leases.delete_unless_held(resource, deleters[resource.kind])


def _abort(rooms: Rooms, resources: Sequence[Resource]) -> None:
    """Takes up the partial blobs that nobody fetches now, and removes them."""
    for resource in resources:
        if resource.kind == "blob":
            with rooms.blobs.ingest(Digest.parse(resource.name)) as ingest:
                ingest.abort()


async def discard(rooms: Rooms, resources: Collection[Resource]) -> None:
    """What a use case had brought, half-made blobs included, unless something else needs it."""
    if not resources:
        return
    left = await rooms.db.read(lambda tx: rows.unclaimed(tx, resources))
    if left:
        async with _collection(rooms):
            free, _ = await rooms.db.write(lambda tx: rows.free(tx, left))
            await settled(_delete, rooms, free)
            await settled(_abort, rooms, free)
    await settled(rooms.snapshots.empty_trash)


async def collect(rooms: Rooms) -> None:
    """Mark and sweep over everything."""
    async with _collection(rooms):
        there = await settled(_walk, rooms)
        free, _ = await rooms.db.write(lambda tx: rows.free(tx, there))
        await settled(_delete, rooms, free)
    await settled(rooms.snapshots.empty_trash)


def _walk(rooms: Rooms) -> list[Resource]:
    return [
        *(rows.layer(chain) for chain in rooms.snapshots.layers()),
        *(rows.blob(found.digest) for found in rooms.blobs.walk()),
    ]


async def recover(rooms: Rooms) -> None:
    """At start, and with every prune. What a pull had fetched when its daemon was killed is kept for a day."""
    await settled(rooms.leases.expire)
    await settled(rooms.blobs.sweep, time.time_ns() - _ABANDONED)
    await collect(rooms)


async def prune(rooms: Rooms, filters: Mapping[str, Sequence[str]]) -> PrunedImages:
    """The use case."""
    docker_filters.check(filters, _PRUNE_FILTERS)
    every = docker_filters.boolean(filters, "dangling") is False
    limit = min(docker_filters.until(filters, time.time_ns()), default=None)

    def write(tx: sqlite3.Connection) -> tuple[_Gone, list[Event]]:
        removed: list[Removed] = []
        resources: list[Resource] = []
        events: list[Event] = []
        size = 0
        hidden = indexes.hidden(tx)
        for image, _ in rows.read_all(tx):
            names = rows.names(tx, image.id)
            if (
                str(image.id) in hidden
                or not _prunable(image, names, filters, limit, every=every)
                or rows.users(tx, image.id)
            ):
                continue
            gone, told = _carry_out(tx, image, Plan(names, delete=True))
            removed.extend(gone.removed)
            resources.extend(gone.resources)
            size += gone.size
            events.extend(told)
        return _Gone(tuple(removed), tuple(resources), size), events

    removed, space = await _committed(rooms, write)
    told = Event(type="image", action="prune", id="", at=time.time_ns(), attributes={"reclaimed": str(space)})
    await rooms.commit(lambda tx: (None, [told]))
    await recover(rooms)  # what pulls left behind that nobody took up again goes too
    return PrunedImages(removed, space)


def _prunable(
    image: Image,
    names: Iterable[Reference],
    filters: Mapping[str, Sequence[str]],
    limit: int | None,
    *,
    every: bool,
) -> bool:
    labels = image.config.labels or {}
    return (
        (every or all(name.digest for name in names))
        and (limit is None or image.created <= limit)
        and docker_filters.labels(filters, labels)
        and docker_filters.not_labels(filters, labels)
    )
