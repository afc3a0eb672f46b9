"""The build cache as something that takes room: what it has, and how it is let go.

Layers are counted with their compressed form, each once; those that images have too are shared and free nothing. A client's
files go only while nothing is built: a build under way holds contents that no index names yet.
"""

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from knarr.build.context.store import Files
from knarr.build.pruning import Pruning, Record, chosen, matching, policy
from knarr.content.leases import Resource
from knarr.engine.building import records, steps
from knarr.engine.building.cachemounts import CacheMounts
from knarr.engine.building.recall import Recall
from knarr.engine.images import removing, rows
from knarr.engine.images.rooms import Rooms
from knarr.engine.settings import BuilderSettings
from knarr.engine.world import now
from knarr.loop.blocking import blocking
from knarr.model.digest import Digest

_PAUSE = 60 * 10**9
_REST = 60.0
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Uploading:
    """As long as this object lives, a client's files are held."""

    __slots__ = ("__weakref__",)


class _Local(NamedTuple):
    """A record outside the database, and how it is removed; None if sweeping does it."""

    record: Record
    remove: Callable[[], Awaitable[object]] | None = None


class Hoard:
    """That of one engine, whose builds' directory is `root`."""

    def __init__(self, rooms: Rooms, root: str, settings: BuilderSettings):
        self._rooms = rooms
        self._settings = settings
        self._root = root
        self.files = Files(root)
        self.mounts = CacheMounts(f"{root}/cachemounts")
        self.recall = Recall()
        self._builds = 0
        self._uploads: weakref.WeakSet[Uploading] = weakref.WeakSet()
        self._gate = asyncio.Lock()
        self._tended = 0
        self._resting: asyncio.TimerHandle | None = None
        self._tending: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def building(self) -> AsyncIterator[None]:
        """Inside, clients' files are held; at the end the cache is made small again, if it is time for that."""
        async with self._gate:
            self._builds += 1
        try:
            yield
        finally:
            self._builds -= 1
            self._tend()
            self._rest()

    async def uploading(self) -> Uploading:
        """Holds clients' files until the object is forgotten, or given back to `uploaded`."""
        async with self._gate:
            held = Uploading()
            self._uploads.add(held)
            return held

    def uploaded(self, held: Uploading) -> None:
        """Lets clients' files go."""
        self._uploads.discard(held)
        self._rest()

    def _rest(self) -> None:
        """A while after the last build: the next one comes soon, or not for long."""
        if self._resting is not None:
            self._resting.cancel()
        self._resting = asyncio.get_running_loop().call_later(_REST, self._rested)

    def _rested(self) -> None:
        if not self._builds and not self._uploads:
            self.files.rest()

    def _tend(self) -> None:
        if self._tending is None and now() - self._tended > _PAUSE:
            self._tended = now()
            self._tending = asyncio.create_task(self._collect(), name="build cache")

    async def _collect(self) -> None:
        try:
            await self._rooms.db.write(steps.trim)
            for rule in await blocking(self.rules):
                await self.prune(rule)
        finally:
            self._tending = None

    def rules(self) -> tuple[Pruning, ...]:
        """By which it is kept small, in turn; its directory is there. Blocking."""
        if not self._settings.collect:
            return ()
        if self._settings.rules is not None:
            return tuple(Pruning(**rule._asdict()) for rule in self._settings.rules)
        facts, default = os.statvfs(self._root), self._settings.default
        return policy(
            facts.f_blocks * facts.f_frsize,
            reserved=default.reserved,
            max_used=default.max_used,
            min_free=default.min_free,
        )

    async def close(self) -> None:
        """Nothing is collected any more."""
        if self._resting is not None:
            self._resting.cancel()
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])

    async def usage(self, filters: Iterable[str] = (), unused: int = 0) -> list[Record]:
        """What there is. Raises Invalid for a filter that cannot be read."""
        held = self._rooms.leases.held()
        layers = await self._rooms.db.read(lambda tx: [each for each, _ in _layers(tx, held)])
        local = await blocking(self._local)
        found = matching([*layers, *(each.record for each in local)], list(filters))
        moment = now()
        return [each for each in found if not unused or moment - each.used >= unused]

    async def prune(self, wish: Pruning) -> list[Record]:
        """What is gone. Raises Invalid for a filter that cannot be read."""
        async with self._gate:
            local = await blocking(self._local)
            facts = await blocking(os.statvfs, self._root if os.path.isdir(self._root) else "/")
            held = self._rooms.leases.held()

            def forget(tx: sqlite3.Connection) -> tuple[list[Record], list[Resource]]:
                layers = _layers(tx, held)
                keys = {each.id: names for each, names in layers}
                every = [*(each for each, _ in layers), *(each.record for each in local)]
                gone = chosen(every, wish, now=now(), free=facts.f_bavail * facts.f_frsize)
                names = {name for each in gone for name in keys.get(each.id, ())}
                return gone, records.forget_all(tx, names)

            gone, resources = await self._rooms.db.write(forget)
            self.recall.clear()
            chosen_ids = {each.id for each in gone}
            for each in local:
                if each.remove is not None and each.record.id in chosen_ids:
                    await each.remove()
            if any(each.kind == "source.local" for each in gone):
                await blocking(self.files.sweep, ())
        if resources:
            await removing.discard(self._rooms, resources)
        return gone

    def _local(self) -> list[_Local]:
        """Blocking. Clients' files, and cache mounts."""
        if not os.path.isdir(self._root):
            return []
        return [*self._contexts(), *self._mounts()]

    def _contexts(self) -> list[_Local]:
        """One a context, with the contents that no earlier one has; and what no context names."""
        sizes = self.files.sizes()
        busy = bool(self._builds or self._uploads)
        found = []
        for path, digests in self.files.contexts():
            facts = os.stat(path)
            record = Record(
                id=_name(os.path.basename(path)),
                kind="source.local",
                description="local source for context",
                created=facts.st_mtime_ns,
                used=facts.st_mtime_ns,
                uses=1,
                size=_blocks(facts) + sum(sizes.pop(digest, 0) for digest in digests),
                mutable=True,
                in_use=busy,
            )
            found.append(_Local(record, partial(blocking, os.unlink, path)))
        if sizes:
            rest = Record(
                id=_name("contents"),
                kind="source.local",
                description="contents of contexts that are not remembered",
                size=sum(sizes.values()),
                mutable=True,
                in_use=busy,
                uses=1,
            )
            found.append(_Local(rest))
        return found

    def _mounts(self) -> list[_Local]:
        found = []
        for each, known, in_use in self.mounts.every():
            facts = each.stat()
            record = Record(
                id=_name(f"mount {each.name}"),
                kind="exec.cachemount",
                description=f"cached mount {known}",
                created=min(facts.st_ctime_ns, facts.st_mtime_ns),
                used=facts.st_atime_ns,
                uses=1,
                size=_weight(each.path),
                mutable=True,
                in_use=in_use,
            )
            found.append(_Local(record, partial(self.mounts.remove, each.name)))
        return found


def _layers(tx: sqlite3.Connection, held: frozenset[Resource]) -> list[tuple[Record, tuple[str, ...]]]:
    """A record a layer, with the keys of the results that it is the top of."""
    images, blobs = _of_images(tx)
    sizes = rows.layer_sizes(tx)
    counted: set[str] = set()
    found: dict[str, tuple[Record, tuple[str, ...]]] = {}
    for row in records.every(tx):
        below = ""
        chains = row.chains or (row.key,)
        for position, chain in enumerate(chains):
            top = position == len(chains) - 1
            record, names = found.get(chain, (None, ()))
            if record is None:
                size = 0
                if row.chains:
                    blob = row.layers[position].blob
                    size = sizes.get(chain, row.layers[position].size)
                    if str(blob.digest) not in counted | blobs:
                        counted.add(str(blob.digest))
                        size += blob.size
                record = Record(
                    id=_name(chain),
                    description="pulled from an image",
                    parents=(_name(below),) if below else (),
                    created=row.created,
                    used=row.used,
                    size=size,
                    in_use=bool(row.chains) and rows.layer(Digest.parse(chain)) in held,
                    shared=chain in images,
                )
            record = replace(
                record, used=max(record.used, row.used), created=min(record.created, row.created)
            )
            if top:
                names = (*names, row.key)
                record = replace(
                    record, kind=row.kind, description=row.description, uses=max(record.uses, row.uses)
                )
            found[chain] = record, names
            below = chain
    return list(found.values())


def _of_images(tx: sqlite3.Connection) -> tuple[set[str], set[str]]:
    """Layers and blobs that go on without the cache."""
    blobs = tx.execute("SELECT digest FROM image_blobs")
    return rows.kept_chains(tx), {row[0] for row in blobs}


def _name(text: str) -> str:
    """25 letters and digits, as BuildKit's ids."""
    value = int.from_bytes(hashlib.sha256(text.encode()).digest())
    out = ""
    while len(out) < 25:
        value, digit = divmod(value, 36)
        out += _LETTERS[digit]
    return out


def _blocks(facts: os.stat_result) -> int:
    return facts.st_blocks * 512


def _weight(path: str) -> int:
    """As du(1) counts."""
    seen: dict[tuple[int, int], int] = {}
    for where, _, names in os.walk(path):
        for each in (where, *(f"{where}/{name}" for name in names)):
            with contextlib.suppress(FileNotFoundError):
                facts = os.lstat(each)
                seen[facts.st_dev, facts.st_ino] = _blocks(facts)
    return sum(seen.values())
