"""Named and anonymous volumes: directories below the data root that outlive containers.

A volume's row comes before its directory (`making_for` names the container that it is being made for), so that recovery
knows what was half-made; it goes before the directory does, which is `leaving` until it is in the trash.
"""

import os
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from knarr.engine import filters, localdriver, rows
from knarr.engine.checks import check_volume_name
from knarr.engine.errors import NoSuchVolume, VolumeInUse
from knarr.engine.live import Roster
from knarr.engine.names import new_id
from knarr.engine.paths import VOLUME_DATA
from knarr.engine.record import VolumeValue
from knarr.engine.telling import prune_event
from knarr.engine.values import Pruned
from knarr.engine.volumemounts import VolumeMounts, unmount
from knarr.engine.world import World, now
from knarr.loop.blocking import blocking
from knarr.model.errors import Invalid, NotFound
from knarr.model.system import Event, VolumeView
from knarr.snapshots.tree import discard_tree
from knarr.state.errors import Taken

ANONYMOUS = {"com.docker.volume.anonymous": ""}
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_FILTERS = frozenset(("dangling", "driver", "label", "name"))
_PRUNE_FILTERS = frozenset(("all", "label", "label!"))


class Volumes:
    """All volumes of one engine."""

    def __init__(self, world: World, roster: Roster) -> None:
        self._world = world
        self._roster = roster
        self.mounts = VolumeMounts(world, self)
        self._volumes: dict[str, tuple[int, VolumeValue]] = {}
        self._uses: dict[str, set[str]] = {}

    async def load(self) -> None:
        """Reads the state; takes half-made volumes away, and anonymous ones that went with their container."""
        found = await self._world.db.read(rows.load_volumes)
        self._volumes = {name: (created, value) for name, created, value in found}
        for live in self._roster:
            self.use(live.id, (mount.name for mount in live.extra.mounts if mount.name))
        for name, _, value in found:
            if value.making_for and name not in self._uses:
                await self._delete([name])
        leaving = await self._world.db.read(rows.load_leaving)
        if leaving:
            await self._let_go([name for name in leaving if name not in self._volumes], leaving)
        for name in await blocking(os.listdir, self._world.paths.volumes):
            if name not in self._volumes and _ANONYMOUS.fullmatch(name):
                await self.trash([name])

    def use(self, container_id: str, names: Iterable[str]) -> None:
        """The container holds these volumes."""
        for name in names:
            self._uses.setdefault(name, set()).add(container_id)

    def unuse(self, container_id: str, names: Iterable[str]) -> None:
        """The container is gone."""
        for name in names:
            users = self._uses.get(name)
            if users is not None:
                users.discard(container_id)
                if not users:
                    del self._uses[name]

    def __contains__(self, name: str) -> bool:
        return name in self._volumes

    def options(self, name: str) -> Mapping[str, str] | None:
        """Its driver's options; None without any."""
        return self._volumes[name][1].options if name in self._volumes else None

    def users(self, name: str) -> frozenset[str]:
        """The ids of containers that hold the volume."""
        return frozenset(self._uses.get(name, ()))

    def is_anonymous(self, name: str) -> bool:
        """Whether nobody named it."""
        return name in self._volumes and self._volumes[name][1].anonymous

    async def create(
        self,
        name: str,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> VolumeView:
        """An empty name makes an anonymous one; an existing one is returned as it is."""
        value = VolumeValue(
            driver=driver or "local",
            labels={**(labels or {}), **({} if name else ANONYMOUS)},
            options=options if options is None else dict(options),
            anonymous=not name,
        )
        name = name or new_id()
        if name not in self._volumes:
            await self.begin([(name, value)], making_for=name)
            await self._world.commit(
                lambda tx: self.finish(tx, [name]), event("create", name, value.driver or "local")
            )
            self.finished([name])
        else:
            check_driver(name, value.driver)
        return await self.inspect(name)

    async def begin(self, wanted: Sequence[tuple[str, VolumeValue]], *, making_for: str) -> None:
        """Makes rows, marked as half-made, and directories. Raises Invalid, NotFound."""
        for name, value in wanted:
            check_driver(name, value.driver)
            check_volume_name(name)
            _check_options(name, value)
        made = {name: (now(), replace(value, making_for=making_for)) for name, value in wanted}
        self._volumes.update(made)
        try:
            await self._world.db.write(lambda tx: rows.put_volumes(tx, made))
            await blocking(_make, [self._world.paths.volume(name) for name in made])
        except BaseException:
            await self._delete(list(made))
            raise

    def finish(self, tx: sqlite3.Connection, names: Iterable[str]) -> None:
        """In the transaction of what they were made for: the volumes are whole."""
        for name in names:
            created, value = self._volumes[name]
            rows.put_volume(tx, name, created, replace(value, making_for=""))

    def finished(self, names: Iterable[str]) -> None:
        """After that transaction."""
        for name in names:
            created, value = self._volumes[name]
            self._volumes[name] = (created, replace(value, making_for=""))

    async def undo(self, names: Sequence[str]) -> None:
        """What they were made for failed."""
        await self._delete(names)

    async def list(self, wanted: Mapping[str, Sequence[str]] | None = None) -> list[VolumeView]:
        """By name; filters dangling, driver, label, name."""
        wanted = wanted or {}
        filters.check(wanted, _FILTERS)
        dangling = filters.boolean(wanted, "dangling")
        return [
            self._view(name)
            for name in sorted(self._volumes)
            if (dangling is None or dangling != bool(self._uses.get(name)))
            and filters.one_of(wanted, "driver", ("local",))
            and filters.labels(wanted, self._volumes[name][1].labels)
            and filters.names(wanted, (name,))
        ]

    async def inspect(self, name: str) -> VolumeView:
        """Raises NoSuchVolume."""
        if name not in self._volumes:
            raise NoSuchVolume(name)
        return self._view(name)

    def _view(self, name: str) -> VolumeView:
        created, value = self._volumes[name]
        return VolumeView(
            name=name,
            driver="local",
            mountpoint=self._world.paths.volume(name),
            created=created,
            labels=value.labels,
            options=value.options,
            anonymous=value.anonymous,
            references=len(self._uses.get(name, ())),
        )

    async def remove(self, name: str, force: bool = False) -> None:
        """Raises NoSuchVolume (unless `force`), VolumeInUse."""
        if name not in self._volumes:
            if force:
                return
            raise NoSuchVolume(name)
        users = self._uses.get(name)
        if users or self.mounts.lent(name):
            raise VolumeInUse(name, ", ".join(sorted(users or ())))
        try:
            await self._delete([name], event("destroy", name, "local"))
        except Taken as error:
            raise VolumeInUse(name, "") from error

    async def prune(self, wanted: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Removes unused volumes: the anonymous ones, or with filter all=true each."""
        wanted = wanted or {}
        filters.check(wanted, _PRUNE_FILTERS)
        everything = _everything(wanted)
        names = [
            name
            for name, (_, value) in self._volumes.items()
            if name not in self._uses
            and not self.mounts.lent(name)
            and not value.making_for
            and (everything or value.anonymous)
            and filters.labels(wanted, value.labels)
            and filters.not_labels(wanted, value.labels)
        ]
        space = 0
        for name in names:
            space += await blocking(_size, self._world.paths.volume(name))
            await self._delete([name], event("destroy", name, "local"))
        self._world.tell(prune_event("volume", space))
        return Pruned(tuple(names), space)

    async def usage(self) -> "Sequence[VolumeView]":
        """Every volume that is a directory of the data root, with its size: what lies elsewhere is not counted here."""
        views = [self._view(name) for name in sorted(self._volumes) if not self._volumes[name][1].options]
        return [replace(view, size=await blocking(_size, view.mountpoint)) for view in views]

    def forget(self, names: Sequence[str]) -> None:
        """Their rows are gone."""
        for name in names:
            self._volumes.pop(name, None)

    async def trash(self, names: Sequence[str]) -> None:
        """Their rows are gone, now their files go."""
        paths = self._world.paths
        for name in names:
            await self.mounts.free(name)
        await blocking(_trash, [os.path.dirname(paths.volume(name)) for name in names], paths.trash)

    async def _delete(self, names: Sequence[str], *events: Event) -> None:
        def write(tx: sqlite3.Connection) -> None:
            rows.delete_volumes(tx, names)
            rows.mark_leaving(tx, names)

        await self._world.commit(write, *events)
        self.forget(names)
        await self._let_go(names, names)

    async def _let_go(self, names: Sequence[str], marked: Sequence[str]) -> None:
        await self.trash(names)
        await self._world.db.write(lambda tx: rows.unmark_leaving(tx, marked))


def event(action: str, name: str, driver: str, **attributes: str) -> Event:
    """An event of a volume, with Docker's attributes."""
    return Event(type="volume", action=action, id=name, at=now(), attributes={"driver": driver, **attributes})


def _everything(wanted: Mapping[str, Sequence[str]]) -> bool | None:
    try:
        return filters.boolean(wanted, "all")
    except Invalid:
        text = wanted["all"][0]
        raise Invalid(
            f"invalid filter 'all': strconv.ParseBool: parsing \"{text}\": invalid syntax"
        ) from None


def check_driver(name: str, driver: str) -> None:
    """Raises NotFound."""
    if driver not in ("", "local"):
        raise NotFound(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')


def _check_options(name: str, value: VolumeValue) -> None:
    try:
        localdriver.check(value.options or {})
    except Invalid as error:
        raise Invalid(f"create {name}: {error}") from None


def _make(directories: Sequence[str]) -> None:
    for path in directories:
        os.makedirs(os.path.dirname(path), 0o701, exist_ok=True)
        os.makedirs(path, 0o755, exist_ok=True)


def _trash(directories: Sequence[str], trash: str) -> None:
    for path in directories:
        unmount(f"{path}/{VOLUME_DATA}")  # whatever is mounted there is not the volume's own
        gone = f"{trash}/{new_id()}"
        try:
            os.rename(path, gone)
        except FileNotFoundError:
            continue
        discard_tree(gone)


def is_empty(path: str) -> bool:
    """Whether a volume has nothing yet."""
    with os.scandir(path) as entries:
        return next(entries, None) is None


def _size(path: str) -> int:
    """Bytes of its files, each once however many names it has."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for directory, _, files in os.walk(path):
        for name in files:
            try:
                found = os.lstat(f"{directory}/{name}")
            except FileNotFoundError:
                continue
            key = found.st_dev, found.st_ino
            if found.st_nlink == 1 or key not in seen:
                total += found.st_size
            seen.add(key)
    return total
