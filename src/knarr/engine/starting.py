"""Begins a life: address, namespace, files and shim, then one byte opens the gate. What fails half-way leaves nothing.

The row says `starting` (see `chronicle`) before the kernel is touched; files and that transaction are made side by side, then the wiring and
the shim. The gate opens when the network is wired; the shim's first word is that the command runs.
"""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from knarr.engine import attaching, bundle, cdi, links, logdrivers, preparing, userns
from knarr.engine.birth import Birth
from knarr.engine.chronicle import Chronicle
from knarr.engine.live import Live, Roster
from knarr.engine.moves import Move, moved
from knarr.engine.nets import Place
from knarr.engine.places import Places
from knarr.engine.shims import Shim
from knarr.engine.userns import NO_IDS, Ids
from knarr.engine.volumemounts import VolumeMounts
from knarr.engine.world import World
from knarr.engine.zygote_jobs import Netns
from knarr.kernel import journal
from knarr.loop.blocking import hop
from knarr.model.container import ContainerSpec
from knarr.model.errors import Conflict, KnarrError
from knarr.model.system import Step
from knarr.model.undo import Undo
from knarr.network.plan import EndpointPlan


@dataclass(slots=True)
class _Life:
    """One life on its way."""

    live: Live
    spec: ContainerSpec
    undo: Undo
    explain: bool = False
    endpoints: Sequence[tuple[Place, EndpointPlan]] = ()
    joined: dict[str, str] = field(default_factory=dict)
    shm_source: str = ""
    borrowed: str = ""
    neighbours: tuple[str, ...] = ()
    ids: Ids = NO_IDS
    steps: list[Step] = field(default_factory=list)

    def wish(self) -> preparing.Wish:
        """What it needs on disk."""
        return preparing.Wish(
            live=self.live,
            spec=self.spec,
            borrowed=self.borrowed,
            addresses=tuple(address for _, plan in self.endpoints for address in plan.addresses),
            neighbours=self.neighbours,
            served=any(place.net.own for place, _ in self.endpoints),
        )


class Starter:
    """Begins lives; `Lifecycle` ends them."""

    def __init__(
        self, world: World, roster: Roster, places: Places, mounts: VolumeMounts, chronicle: Chronicle
    ) -> None:
        self._world = world
        self._roster = roster
        self._places = places
        self._mounts = mounts
        self._chronicle = chronicle

    async def start(self, live: Live, *, explain: bool = False) -> tuple[Shim, tuple[Step, ...]]:
        """The caller holds the lock. The container runs when this returns; on an error it is as it was, with the reason."""
        before = live.row
        status = moved(live.name, live.status, Move.START)
        live.row = replace(live.row, state=replace(live.state, status=status))
        try:
            async with Undo() as undo:
                life = _Life(live, live.spec, undo, explain, ids=live.extra.ids)
                shim = await self._make(life)
                undo.keep()
        except BaseException as error:
            await asyncio.shield(self._chronicle.failed(live, before, error))
            raise
        return shim, tuple(life.steps) if explain else ()

    async def _make(self, life: _Life) -> Shim:
        live, world = life.live, self._world
        self._join(life)
        life.spec = self._identity(life)
        if links.legacy(life.spec):
            self._link(life)
        begun = time.time_ns()
        life.endpoints = await self._places.plan(live, life.spec, life.undo)
        intent = self._chronicle.starting(live, [plan for _, plan in life.endpoints])
        netns = None if "network" in life.joined else await self._namespace(life)
        files = hop(preparing.prepare, world, life.wish())
        side: list[asyncio.Future[Any]] = [intent, files]
        try:
            await intent
            if live.extra.mounts:
                await self._mount(life)
            _note(life, "engine", "starting", "the intent is on record before the kernel is touched", begun)
            begun = time.time_ns()
            wiring = asyncio.create_task(self._attach(life, netns), name=f"wire {live.name}")
            side.append(wiring)
            shim, opened = await self._launch(life, self._order(life, await files), wiring)
        finally:
            await _settled(side)
        await self._mounts.settled(live.id)
        life.steps += shim.steps
        _note(
            life,
            "engine",
            "launch",
            "the zygote forks a shim, the shim its init: it becomes the command",
            begun,
        )
        self._chronicle.running(live, shim, opened)
        live.netns = -1 if netns is None else netns.keep()
        return shim

    async def _mount(self, life: _Life) -> None:
        """Volumes that are file systems of their own."""
        life.undo.push(self._mounts.drop, life.live.id)
        await self._mounts.take(life.live.id, life.live.extra.mounts)

    async def _launch(
        self, life: _Life, order: Mapping[str, Any], wiring: "asyncio.Task[None]"
    ) -> tuple[Shim, int]:
        """The shim and its init beside the wiring; cable and clients are there when the gate opens."""
        live = life.live
        birth = await self._world.zygote.begin(order)
        life.undo.push(_abandon, birth)
        await wiring
        clients, live.pending = live.pending, []
        try:
            if clients and live.spec.tty:
                shim = await birth.shim()
                for client in clients:
                    await attaching.hand_over(shim, client, tty=True)
                opened = time.time_ns()
                await shim.start()
            else:
                for client in clients:
                    attaching.announce(birth, client)
                opened = time.time_ns()
                birth.start()
                shim = await birth.shim()
        except BaseException:
            live.pending[:0] = clients
            raise
        for client in clients:
            client.sock.close()
        return shim, opened

    def _join(self, life: _Life) -> None:
        """Which namespaces are not its own. Raises Conflict for a container that does not run."""
        spec, joined = life.spec, life.joined
        mode = spec.network_mode
        if mode == "host":
            joined["network"] = ""
        elif mode.startswith("container:"):
            other = self._other(mode, "network")
            joined["network"] = f"/proc/{other.state.pid}/ns/net"
            life.borrowed = other.id
        for kind, value in (("pid", spec.pid_mode), ("ipc", spec.ipc_mode)):
            if value == "host":
                joined[kind] = ""
            elif value.startswith("container:"):
                pid = self._other(value, kind.upper()).state.pid
                joined[kind] = f"/proc/{pid}/ns/{kind}"
                if kind == "ipc":
                    life.shm_source = f"pid:{pid}/dev/shm"
        if life.ids.uids:
            self._join_user(life)
        if spec.uts_mode == "host":
            joined["uts"] = ""
        if spec.cgroupns_mode == "host":
            joined["cgroup"] = ""

    def _join_user(self, life: _Life) -> None:
        """Who shares a namespace of another container shares its user namespace, which owns that one. Raises Conflict."""
        modes = (life.spec.network_mode, life.spec.pid_mode, life.spec.ipc_mode)
        others = {self._other(mode, "user").id for mode in modes if mode.startswith("container:")}
        if not others:
            return
        pids = [self._roster.find(each).state.pid for each in sorted(others)]
        life.ids = userns.read_map(pids[0])
        owners = {os.stat(f"/proc/{pid}/ns/user").st_ino for pid in pids}
        if not life.ids.uids or len(owners) > 1:
            raise Conflict(
                f"cannot share namespaces of container {', '.join(sorted(others))}: they belong to no one user namespace "
                "that a container could be in"
            )
        life.joined["user"] = f"/proc/{pids[0]}/ns/user"

    def _other(self, mode: str, kind: str) -> Live:
        other = self._roster.find(mode.partition(":")[2])
        if not other.runs:
            raise Conflict(
                f"cannot join {kind if kind != 'network' else 'network namespace'} of a non running container: {other.id}"
            )
        return other

    def _identity(self, life: _Life) -> ContainerSpec:
        """A container in another's network has its name too."""
        if not life.borrowed:
            return life.spec
        return replace(life.spec, hostname=self._roster.find(life.borrowed).spec.hostname)

    def _link(self, life: _Life) -> None:
        """What it shall know of those that it is linked to. Raises CannotLink."""
        found = links.addressed(life.live, self._roster)
        told = [word for each in found for word in links.environment(life.live, *each)]
        life.spec = replace(life.spec, environment=(*told, *life.spec.environment))
        life.neighbours = tuple(links.hosts(*each) for each in found)

    async def _namespace(self, life: _Life) -> Netns:
        """Held until the life is over, or until the init of a failed one is gone: it finds the namespace here."""
        begun = time.time_ns()
        if life.ids.uids:
            netns = await self._world.zygote.owned_netns(life.ids, life.joined.get("user", ""))
        else:
            netns = await self._world.namespaces.take()
        life.undo.push(_drop, netns)
        life.joined = {**netns.paths, **life.joined}
        _note(
            life,
            "engine",
            "netns",
            "a network namespace that exists before any process; it was ready",
            begun,
            path=life.joined["network"],
            inode=str(netns.inode),
        )
        return netns

    async def _attach(self, life: _Life, netns: Netns | None) -> None:
        if netns is None:
            return
        for place, plan in life.endpoints:
            life.steps += await self._places.attach(life.live, plan, place, netns, life.undo)
        if any(place.net.own for place, _ in life.endpoints):
            life.undo.push(self._hush, life.live)
            await self._places.serve_names(life.live, f"/proc/self/fd/{netns.fd}")

    async def _hush(self, live: Live) -> None:
        self._places.silence(live)

    def _order(self, life: _Life, prepared: preparing.Prepared) -> dict[str, Any]:
        live, world = life.live, self._world
        facts = bundle.Facts(
            capabilities=world.capabilities,
            cgroup=live.extra.cgroup,
            joined=life.joined,
            mounts=live.extra.mounts,
            files=prepared.files,
            nodes=prepared.nodes,
            numbers=prepared.numbers,
            shm_source=life.shm_source,
            init=prepared.init,
            no_new_privileges=world.settings.no_new_privileges,
            ids=life.ids,
            seccomp=prepared.seccomp_loading,
        )
        mapped = ("idmap",) if life.ids.uids else ()
        made = bundle.make_bundle(life.spec, live.extra.path, live.extra.args, facts)
        if prepared.edits:
            cdi.apply(made, prepared.edits)
        return {
            "id": live.id,
            "bundle": made,
            "rootfs": {
                "mounts": [[each.type, each.source, [*each.options, *mapped]] for each in prepared.rootfs]
            },
            "run_dir": world.paths.run(live.id),
            "log": self._log_order(live),
            "stdin": live.spec.open_stdin,
            "stdin_once": live.spec.stdin_once,
            "cgroup": live.extra.cgroup,
            "seccomp": prepared.seccomp,
            "explain": life.explain,
        }

    def _log_order(self, live: Live) -> dict[str, Any]:
        spec, paths = live.spec, self._world.paths
        subject = logdrivers.Subject(
            id=live.id,
            name=live.name,
            image=spec.image,
            image_id=str(live.row.image),
            command=(live.extra.path, *live.extra.args),
            labels=spec.labels,
            environment=spec.environment,
            hostname=self._world.host.hostname,
        )
        places = {
            "json": paths.log(live.id),
            "local": paths.local_log(live.id),
            "cache": paths.cached_log(live.id),
        }
        readable = spec.log.driver == "journald" and journal.available()
        return logdrivers.order(spec.log, places, subject, journal=readable)


async def _drop(netns: Netns) -> None:
    netns.close()


async def _abandon(birth: Birth) -> None:
    """A container that was not to be; one that could not be born has left nothing."""
    try:
        shim = await birth.shim()
    except (KnarrError, OSError):
        return
    if shim.started and not shim.exited.done():
        await shim.signal_all(9)
        await asyncio.wait([shim.exited])
    await shim.release()


async def _settled(side: Sequence["asyncio.Future[Any]"]) -> None:
    """What was begun beside the start is over, well or not, and what it made is on the undo stack."""
    waiting = [each for each in side if not each.done()]
    if waiting:
        await asyncio.wait(waiting)
    for each in side:
        if not each.cancelled():
            each.exception()


def _note(life: _Life, room: str, name: str, reason: str, begun: int, **objects: str) -> None:
    life.steps.append(
        Step(room=room, name=name, reason=reason, at=begun, duration=time.time_ns() - begun, objects=objects)
    )
