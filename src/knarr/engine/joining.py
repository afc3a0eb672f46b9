"""Networks of a container that runs: a place more, or one less, while it goes on. The caller holds the container's lock."""

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from knarr.engine import rows
from knarr.engine.live import Live
from knarr.engine.nets import Net, Place, gateway
from knarr.engine.places import Places
from knarr.engine.preparing import resolv_conf
from knarr.engine.record import Row
from knarr.engine.telling import network_event
from knarr.engine.world import World
from knarr.engine.zygote import Netns
from knarr.loop.blocking import alone, blocking
from knarr.model.container import ContainerSpec, EndpointSpec
from knarr.model.undo import Undo
from knarr.network.plan import EndpointPlan
from knarr.runtime import netns as namespace


class Joining:
    """Changes of places."""

    def __init__(self, world: World, places: Places) -> None:
        self._world = world
        self._places = places

    async def join(self, live: Live, net: Net, asked: EndpointSpec, spec: ContainerSpec) -> None:
        """`spec` has the new network already."""
        place, plans = Place(net, asked), _plans(live)
        outward = gateway(self._places.of(spec))
        leads = outward is not None and outward.net is net
        async with Undo() as undo:
            plan = await self._places.plan_one(live, place, undo, number=_free(plans), outward=leads)
            others = [replace(each, default_route=False) for each in plans] if leads else plans
            before, after = live.row, _row(live, spec, [*others, plan])
            await self._world.commit(
                lambda tx: _save(tx, after, claimed=plan), network_event(net, "connect", container=live.id)
            )
            undo.push(self._restore, live, before, net)
            netns = await alone(_open, live.namespace)
            try:
                plain = replace(plan, default_route=False)  # there may be a way out already: it is replaced
                await self._places.attach(live, plain, place, netns, undo)
                if leads:
                    await self._lead(plan, netns)
            finally:
                netns.close()
            live.row = after
            await self._places.serve_names(live, live.namespace)
            await blocking(self._write_files, live, plan, first=not any(map(self._own, plans)))
            undo.keep()

    async def leave(self, live: Live, net: Net, spec: ContainerSpec) -> None:
        """`spec` is without the network already. Host ports move to the place that leads outward then."""
        plans = _plans(live)
        gone = next(plan for plan in plans if plan.network.id == net.id)
        rest = [plan for plan in plans if plan is not gone]
        outward = gateway(self._places.of(spec))
        heir = next((plan for plan in rest if outward and plan.network.id == outward.net.id), None)
        if gone.default_route and heir is not None:
            rest.remove(heir)
            heir = replace(heir, default_route=True, published=gone.published)
            rest.append(heir)
        after = _row(live, spec, rest)
        await self._world.commit(
            lambda tx: _save(tx, after, released=net.id), network_event(net, "disconnect", container=live.id)
        )
        live.row = after
        await self._places.leave(gone)
        if gone.default_route and heir is not None and self._world.bridge is not None:
            netns = await alone(_open, live.namespace)
            try:
                await self._lead(heir, netns)
            finally:
                netns.close()
            await self._world.bridge.adopt(heir)
        await self._places.serve_names(live, live.namespace)
        await blocking(_change_hosts, self._hosts(live), (), [(gone.address, spec.hostname)])
        if self._world.bridge is not None:
            await self._world.bridge.settle()

    async def _lead(self, plan: EndpointPlan, netns: Netns) -> None:
        if self._world.bridge is not None:
            await self._world.bridge.lead(plan, netns.route)

    async def _restore(self, live: Live, before: Row, net: Net) -> None:
        live.row = before
        event = network_event(net, "disconnect", container=live.id)
        await self._world.commit(lambda tx: _save(tx, before, released=net.id), event)

    def _own(self, plan: EndpointPlan) -> bool:
        net = self._world.nets.get(plan.network.id)
        return net is not None and net.own

    def _write_files(self, live: Live, plan: EndpointPlan, *, first: bool) -> None:
        """/etc/hosts, and with the first network of users' own /etc/resolv.conf: now there is a name server. Blocking."""
        _change_hosts(self._hosts(live), [(plan.address, live.spec.hostname)], ())
        if first and self._own(plan):
            text = resolv_conf(self._world, live.spec, served=True)
            _overwrite(f"{self._world.paths.container(live.id)}/resolv.conf", text)

    def _hosts(self, live: Live) -> str:
        return f"{self._world.paths.container(live.id)}/hosts"


def _plans(live: Live) -> list[EndpointPlan]:
    return [EndpointPlan.from_dict(value) for value in live.extra.endpoints]


def _row(live: Live, spec: ContainerSpec, plans: Sequence[EndpointPlan]) -> Row:
    endpoints: tuple[Mapping[str, Any], ...] = tuple(plan.to_dict() for plan in plans)
    return replace(live.row, spec=spec, extra=replace(live.extra, endpoints=endpoints))


def _save(
    tx: sqlite3.Connection, row: Row, *, claimed: EndpointPlan | None = None, released: str = ""
) -> None:
    rows.save_spec(tx, row)
    rows.save_state(tx, row)
    if claimed is not None:
        rows.claim_endpoint(tx, row.id, claimed.network.id, claimed.address, ())
    if released:
        rows.release_endpoint(tx, row.id, released)


def _free(plans: Iterable[EndpointPlan]) -> int:
    """The number of the next interface."""
    taken = {plan.interface for plan in plans}
    return next(number for number in range(len(taken) + 1) if f"eth{number}" not in taken)


def _open(path: str) -> Netns:
    fd, route = namespace.enter(path)
    return Netns(os.fstat(fd).st_ino, fd, route)


Lines = Iterable[tuple[str, str]]


def _change_hosts(path: str, more: Lines, fewer: Lines) -> None:
    """What others wrote there stays. Blocking."""
    gone = {f"{address}\t{name}\n" for address, name in fewer}
    with open(path, encoding="utf-8") as file:
        kept = [line for line in file if line not in gone]
    _overwrite(path, "".join([*kept, *(f"{address}\t{name}\n" for address, name in more)]))


def _overwrite(path: str, text: str) -> None:
    """In place, because the file is bound into the container."""
    with open(path, "r+", encoding="utf-8") as file:
        file.write(text)
        file.truncate()
