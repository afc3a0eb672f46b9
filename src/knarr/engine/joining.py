"""Networks of a container that runs: a place more, or one less, while it goes on. The caller holds the container's lock."""

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from knarr.engine import rows
from knarr.engine.live import Live
from knarr.engine.nets import Net, Ways, Wish, interfaces, ways_out
from knarr.engine.places import Places
from knarr.engine.plan import bindings
from knarr.engine.preparing import resolv_conf
from knarr.engine.record import Row
from knarr.engine.telling import network_event
from knarr.engine.world import World
from knarr.engine.zygote_jobs import Netns
from knarr.loop.blocking import alone, blocking
from knarr.model.container import ContainerSpec, EndpointSpec
from knarr.model.ports import Published
from knarr.model.undo import Undo
from knarr.network.plan import EndpointPlan
from knarr.runtime import netns as namespace


class Joining:
    """Changes of places."""

    def __init__(self, world: World, places: Places) -> None:
        self._world = world
        self._places = places

    async def join(self, live: Live, net: Net, asked: EndpointSpec, spec: ContainerSpec) -> None:
        """`spec` has the new network already. If it leads outward now, default routes and host ports move to it."""
        places, plans = self._places.of(spec), _plans(live)
        place = next(each for each in places if each.net is net)
        leads = ways_out(places).leads(place)
        (name,) = interfaces([place], (plan.interface for plan in plans))
        carrier = next((plan for plan in plans if plan.published), None)
        takes_ports = ways_out(places).carries(place)
        wishes = bindings(spec) if takes_ports and carrier is None else ()
        async with Undo() as undo:
            plan = await self._places.plan_one(live, place, undo, Wish(name, leads, wishes))
            moving = carrier if takes_ports and net.config is not None and net.config.bridged else None
            heir = replace(plan, published=moving.published) if moving is not None else plan
            others = [_without(each, leads, each is moving) for each in plans]
            before, after = live.row, _row(live, spec, [*others, heir])
            await self._world.commit(
                lambda tx: _save(tx, after, claimed=plan), network_event(net, "connect", container=live.id)
            )
            undo.push(self._restore, live, before, net, plan.published)
            netns = await alone(_open, live.namespace)
            try:
                # There may be ways out already: they are replaced.
                plain = replace(plan, default_route=False, default_route6=False)
                await self._places.attach(live, plain, place, netns, undo)
                await self._lead(heir, netns)
            finally:
                netns.close()
            live.row = after
            await self._places.serve_names(live, live.namespace)
            await blocking(self._write_files, live, plan, first=not any(map(self._own, plans)))
            if moving is not None:
                await self._move(moving, heir)
            undo.keep()

    async def leave(self, live: Live, net: Net, spec: ContainerSpec) -> None:
        """`spec` is without the network already. Default routes and host ports move to what leads outward then."""
        plans = _plans(live)
        gone = next(plan for plan in plans if plan.network.id == net.id)
        ways = ways_out(self._places.of(spec))
        rest = [self._inheriting(each, gone, ways) for each in plans if each is not gone]
        heir = next((each for each in rest if gone.published and each.published), None)
        lost = () if heir is not None else gone.published
        after = _row(live, spec, rest)
        await self._world.commit(
            lambda tx: _save(tx, after, released=net.id, ports=lost),
            network_event(net, "disconnect", container=live.id),
        )
        live.row = after
        if heir is not None:
            await self._move(gone, heir)
        await self._places.leave(gone, live.netns)
        netns = await alone(_open, live.namespace)
        try:
            for each in rest:
                led = next(plan for plan in plans if plan.endpoint_id == each.endpoint_id)
                if (each.default_route, each.default_route6) != (led.default_route, led.default_route6):
                    await self._lead(each, netns)
        finally:
            netns.close()
        await self._places.serve_names(live, live.namespace)
        lines = [(address, spec.hostname) for address in gone.addresses]
        await blocking(_change_hosts, self._hosts(live), (), lines)
        if self._world.bridge is not None:
            await self._world.bridge.settle()

    def _inheriting(self, plan: EndpointPlan, gone: EndpointPlan, ways: Ways) -> EndpointPlan:
        """A place that stays, with what it has from the one that goes."""
        place = next(
            (each for each in (ways.four, ways.six) if each and each.net.id == plan.network.id), None
        )
        if place is None:
            return plan
        four, six = ways.leads(place)
        takes = ways.carries(place) and plan.network.bridged and not plan.published
        return replace(
            plan,
            default_route=four or plan.default_route,
            default_route6=six or plan.default_route6,
            published=gone.published if takes else plan.published,
        )

    async def _move(self, before: EndpointPlan, heir: EndpointPlan) -> None:
        if self._world.bridge is not None:
            await self._world.bridge.move(before, replace(before, published=()), heir)

    async def _lead(self, plan: EndpointPlan, netns: Netns) -> None:
        if self._world.bridge is not None and plan.leads:
            await self._world.bridge.lead(plan, netns.route)

    async def _restore(self, live: Live, before: Row, net: Net, ports: Sequence[Published]) -> None:
        live.row = before
        event = network_event(net, "disconnect", container=live.id)
        await self._world.commit(lambda tx: _save(tx, before, released=net.id, ports=ports), event)

    def _own(self, plan: EndpointPlan) -> bool:
        net = self._world.nets.get(plan.network.id)
        return net is not None and net.own

    def _write_files(self, live: Live, plan: EndpointPlan, *, first: bool) -> None:
        """/etc/hosts, and with the first network of users' own /etc/resolv.conf: now there is a name server. Blocking."""
        lines = [(address, live.spec.hostname) for address in plan.addresses]
        _change_hosts(self._hosts(live), lines, ())
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


def _without(plan: EndpointPlan, leads: tuple[bool, bool], moving: bool) -> EndpointPlan:
    """A place that was there, without what the new one has from now on."""
    four, six = leads
    return replace(
        plan,
        default_route=plan.default_route and not four,
        default_route6=plan.default_route6 and not six,
        published=() if moving else plan.published,
    )


def _save(
    tx: sqlite3.Connection,
    row: Row,
    *,
    claimed: EndpointPlan | None = None,
    released: str = "",
    ports: Sequence[Published] = (),
) -> None:
    rows.save_spec(tx, row)
    rows.save_state(tx, row)
    if claimed is not None:
        where = (claimed.address, claimed.address6)
        rows.claim_endpoint(tx, row.id, claimed.network.id, where, claimed.published)
    if released:
        rows.release_endpoint(tx, row.id, released)
        rows.release_ports(tx, row.id, ports)


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
