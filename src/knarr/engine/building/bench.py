"""The bench of one build: images, cached results, and acts on trees; see build.bench.

Everything that is made or fetched is leased until the build is over; after that rows keep it: an image's, or the cache's.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from knarr.build.bench import Facts, Given, Hit
from knarr.build.context.entries import Index
from knarr.build.context.store import Files
from knarr.build.errors import BuildFailed
from knarr.build.explain import Earlier, Parts
from knarr.build.graph import Resources
from knarr.build.operations import Act, Exec, Source
from knarr.build.port import Sessions
from knarr.build.progress import Step
from knarr.build.tree import Layer, Tree
from knarr.engine.building import records, steps
from knarr.engine.building.acting import Actor
from knarr.engine.building.caching import mounts
from knarr.engine.building.caching.imports import Imports
from knarr.engine.building.caching.supply import Supply
from knarr.engine.building.layering import layer_of
from knarr.engine.building.listing import first_file, list_tree, plain_part
from knarr.engine.building.origins import Origins
from knarr.engine.building.recall import Recall
from knarr.engine.building.remotes import Remotes
from knarr.engine.building.running import Runner
from knarr.engine.building.views import Views, held
from knarr.engine.images.holding import Hold
from knarr.engine.images.rooms import Rooms
from knarr.engine.world import now
from knarr.engine.zygote_jobs import RootView
from knarr.loop.blocking import blocking
from knarr.model.errors import KnarrError, NotFound
from knarr.model.platform import Platform
from knarr.snapshots.errors import NoSuchPath
from knarr.snapshots.maketar import TarOptions

_SECOND = 10**9


class Workbench:
    """See build.bench.Bench."""

    def __init__(
        self,
        rooms: Rooms,
        views: Views,
        files: Files,
        origins: Origins,
        remotes: Remotes,
        runner: Runner,
        hold: Hold,
        session: str,
        imports: Imports,
        supply: Supply,
        recall: Recall,
        allowed: frozenset[str] | None = None,
    ):
        self._rooms = rooms
        self._views = views
        self._files = files
        self._origins = origins
        self._remotes = remotes
        self._runner = runner
        self._hold = hold
        self.session = session
        self._imports = imports
        self.supply = supply
        self._recall = recall
        self._allowed = allowed
        self._used: list[str] = []
        self._later: dict[str, tuple[Tree, Facts]] = {}
        self.epoch: int | None = None

    async def image(self, source: Source, platform: Platform | None, step: Step) -> Tree:
        supply = self.supply if self._imports else None
        tree = await self._origins.tree(source, platform, step, self._hold, supply)
        held(tree, self._hold)
        return tree

    async def remote(self, source: Source, step: Step) -> Index:
        if source.scheme == "git":
            return await self._remotes.git(source, step)
        return await self._remotes.http(source, step)

    async def cached(self, key: str, base: Tree) -> Hit | None:
        known = self._recall.find(key)
        if known is not None and (self._allowed is None or known.tree.identity in self._allowed):
            held(known.tree, self._hold)
            self._used.append(key)
            return known
        moment, since = now(), self._recall.cleared
        found = await self._rooms.db.write(lambda tx: records.read(tx, key, base, moment))
        if found is None or not (self._allowed is None or found.tree.identity in self._allowed):
            return None
        if not found.tree.whole:
            return found
        held(found.tree, self._hold)
        if not await blocking(self._has_blobs, found.tree):
            await self._rooms.db.write(lambda tx: records.forget(tx, key))
            self._recall.clear()
            return None
        self._recall.learn(key, found, since)
        return found

    async def imported(self, key: str, base: Tree, facts: Facts) -> Hit | None:
        found = self._imports.find(key)
        if found is None:
            return None
        tree = records.named(base, found.diff)
        if found.blob is not None and found.opened is not None:
            tree = Tree((*base.layers, Layer(found.diff, found.blob, 0)))
            self.supply.offer(found.blob.digest, found.opened, cached=True)
        self._later[key] = tree, replace(facts, exact="" if found.exact == key else found.exact)
        return Hit(tree, found.exact)

    async def keep(self, key: str, tree: Tree, facts: Facts) -> None:
        if any(tree is imported for imported, _ in self._later.values()):
            self._later[key] = tree, facts
            return
        held(tree, self._hold)  # it may be another build's work
        moment, since = now(), self._recall.cleared

        def write(tx: sqlite3.Connection) -> None:
            records.write(tx, key, tree, facts, moment)
            if facts.parts is not None:
                steps.write(tx, key, facts.parts, moment)

        await self._rooms.db.write(write)
        self._recall.learn(key, Hit(tree, facts.exact), since)

    async def settle(self) -> None:
        """What came from caches elsewhere and is here now, whole, is this engine's own from now on; of the rest the names are."""
        used, self._used = self._used, []
        if used:
            moment = now()
            await self._rooms.db.write(lambda tx: records.use(tx, used, moment))
        if not self._later:
            return
        here = await blocking(lambda: {key for key, (tree, _) in self._later.items() if self._is_here(tree)})
        moment = now()

        def write(tx: sqlite3.Connection) -> None:
            for key, (tree, facts) in self._later.items():
                if key in here:
                    records.write(tx, key, self.supply.sized(tree), facts, moment)
                else:
                    records.name(tx, key, tree, facts)

        await self._rooms.db.write(write)

    def _has_blobs(self, tree: Tree) -> bool:
        return all(self._rooms.blobs.has(layer.blob.digest, layer.blob.size) for layer in tree.layers)

    def _is_here(self, tree: Tree) -> bool:
        return (
            tree.whole and self._has_blobs(tree) and all(map(self._rooms.snapshots.layer_exists, tree.chain))
        )

    async def earlier(self, key: str, parts: Parts) -> Earlier:
        return await self._rooms.db.read(lambda tx: steps.earlier(tx, key, parts))

    async def listing(self, tree: Tree, path: str) -> Index:
        top = plain_part(path)
        async with self.snapshot(tree) as view:
            try:
                options = TarOptions(name=".", follow=True)
                job = await self._rooms.zygote.archive_get(view, f"/{top}", options)
                try:
                    entries = await blocking(list_tree, job.drain, top)
                    await job.result()
                finally:
                    job.close()
            except NoSuchPath as error:
                raise NotFound(str(error)) from error
        return entries

    async def read(self, tree: Tree, path: str) -> bytes | None:
        """A small file of the tree; None if it is not there."""
        async with self.snapshot(tree) as view:
            try:
                options = TarOptions(name="file", follow=True)
                job = await self._rooms.zygote.archive_get(view, f"/{path}", options)
                try:
                    found = await blocking(first_file, job.drain)
                    await job.result()
                finally:
                    job.close()
            except NoSuchPath:
                return None
        return found

    async def act(self, base: Tree, acts: Sequence[tuple[Act, Given | None]]) -> Tree:
        async with self._views.writable(base, self._hold, self.supply) as (key, view):
            actor = Actor(self._rooms.zygote, self._files, view, self.snapshot)
            for act, given in acts:
                await actor.do(act, given)
            return await self.layer(key, self.supply.sized(base))

    async def run(
        self,
        command: Exec,
        inputs: Sequence[Given],
        resources: Resources | None,
        step: Step,
        sessions: Sessions,
    ) -> Tree:
        root = command.mounts[0]
        base = Tree() if root.input < 0 else inputs[root.input]
        if not isinstance(base, Tree):
            raise BuildFailed("a client's files are not a root")
        base = await self._views.ensure(base, self._hold, self.supply)
        return await self._runner.run(self, base, command, inputs, resources, step, sessions)

    def snapshot(self, tree: Tree) -> AbstractAsyncContextManager[RootView]:
        """The tree to be read."""
        return self._views.snapshot(tree, self._hold, self.supply)

    async def here(self, tree: Tree) -> Tree:
        """The tree, fetched and unpacked. Raises Lost."""
        return await self._views.ensure(tree, self._hold, self.supply)

    def writable(self, tree: Tree) -> AbstractAsyncContextManager[tuple[str, RootView]]:
        """A snapshot on the tree: its key, and how a job sees it."""
        return self._views.writable(tree, self._hold, self.supply)

    async def restored(self, known: str, directory: str) -> bool:
        """Whether a cache elsewhere filled the directory with a cache mount of that id."""
        parcel = self._imports.mount(known)
        if parcel is None:
            return False
        with contextlib.suppress(KnarrError), self.supply.progress.begin("importing cache mount") as step:
            await mounts.restore(self._rooms, parcel, directory, step)
            return True
        return False

    async def layer(self, key: str, base: Tree, *, mounted: Sequence[str] | None = None) -> Tree:
        """What snapshot `key` has beyond `base`, as one more layer. `mounted`: a container ran on it, with mounts there."""
        latest = None if self.epoch is None else self.epoch * _SECOND
        return await layer_of(self._rooms, self._hold, key, base, latest, mounted)
