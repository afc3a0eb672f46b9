"""Published ports of a container that exists: more or fewer of them, while it runs or not (`update --publish-add/--publish-rm`).

The new ones are held before anything else changes, so that a conflict leaves all as it was. The caller holds the container's lock
and records the specification; this records what a life has.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from knarr.engine import rows
from knarr.engine.live import Live
from knarr.engine.nets import shares, ways_out
from knarr.engine.places import Places
from knarr.engine.record import Row
from knarr.engine.values import PortChange
from knarr.engine.world import World
from knarr.model.container import ContainerSpec
from knarr.model.errors import Conflict, Invalid
from knarr.model.ports import Port, PortBinding, Published
from knarr.model.undo import Undo
from knarr.network.plan import EndpointPlan

_ANY = ("", "0.0.0.0", "::")


def changed(spec: ContainerSpec, change: PortChange) -> ContainerSpec:
    """The specification after the change: what the next life publishes, too. Raises Invalid for a port that is not published."""
    bound = {binding.port for binding in spec.port_bindings}
    implied = [port for port in spec.exposed_ports if port not in bound] if spec.publish_all else []
    every = [*spec.port_bindings, *(PortBinding(port) for port in implied)]
    gone = []
    for wanted in change.remove:
        found = [each for each in every if _matches(wanted, each.port, each.host_ip, each.first)]
        if not found:
            raise Invalid(f"port {_told(wanted)} is not published")
        gone += found
    kept = [each for each in every if each not in gone]
    added = [each for each in change.add if each not in kept]
    explicit = bool(gone) and any(each.port in implied for each in gone)
    ports = dict.fromkeys([*spec.exposed_ports, *(each.port for each in change.add)])
    return replace(
        spec,
        port_bindings=(*(each for each in kept if explicit or each.port not in implied), *added),
        publish_all=spec.publish_all and not explicit,
        exposed_ports=tuple(ports),
    )


def _told(wanted: PortBinding) -> str:
    return f"{wanted.first}:{wanted.port}" if wanted.first else str(wanted.port)


def _matches(wanted: PortBinding, port: Port, host_ip: str, host_port: int) -> bool:
    """A wish to remove names a port, and may name where it is published."""
    return (
        port == wanted.port
        and wanted.first in (0, host_port)
        and (not wanted.host_ip or host_ip == wanted.host_ip)
    )


def check(spec: ContainerSpec) -> None:
    """Raises Invalid, Conflict where a container has no ports of its own."""
    if spec.network_mode.startswith("container:"):
        raise Conflict("conflicting options: port publishing and the container type network mode")
    if shares(spec):
        raise Invalid(f"cannot publish ports: the container has the {spec.network_mode} network")


async def apply(world: World, places: Places, live: Live, spec: ContainerSpec, change: PortChange) -> None:
    """Gives a container that runs its ports. Raises PortTaken; then nothing has changed."""
    plans = [EndpointPlan.from_dict(value) for value in live.extra.endpoints]
    carrier = _carrier(places, spec, plans)
    if carrier is None or world.bridge is None:
        return
    gone = tuple(each for each in carrier.published if any(_fits(wanted, each) for wanted in change.remove))
    clash = tuple(each for each in gone if any(_same_place(wanted, each) for wanted in change.add))
    async with Undo() as undo:
        if clash:
            await world.bridge.withdraw(carrier.endpoint_id, clash)
            undo.push(world.bridge.hold, carrier, clash)
        fresh = await world.bridge.reserve(
            carrier.endpoint_id,
            change.add,
            endpoint=live.name,
            config=carrier.network,
            four=bool(carrier.address),
            six=bool(carrier.address6),
        )
        undo.push(world.bridge.withdraw, carrier.endpoint_id, fresh)
        after = replace(
            carrier, published=(*(each for each in carrier.published if each not in gone), *fresh)
        )
        endpoints = tuple((after if plan is carrier else plan).to_dict() for plan in plans)
        before, live.row = live.row, replace(live.row, extra=replace(live.extra, endpoints=endpoints))
        undo.push(_restore, live, before)

        def write(tx: sqlite3.Connection) -> None:
            rows.save_state(tx, live.row)
            rows.release_ports(tx, live.id, gone)
            rows.claim_ports(tx, live.id, fresh)

        await world.commit(write)
        undo.push(_take_back, world, before, gone, fresh)
        await world.bridge.change(carrier, after)
        undo.keep()


def _carrier(places: Places, spec: ContainerSpec, plans: Sequence[EndpointPlan]) -> EndpointPlan | None:
    """The place that has the ports, or that would have the first."""
    found = places.of(spec)
    ways = ways_out(found)
    mine = next((place.net.id for place in found if ways.carries(place)), "")
    holding = next((plan for plan in plans if plan.published), None)
    return holding or next((plan for plan in plans if plan.network.id == mine and plan.network.bridged), None)


def _fits(wanted: PortBinding, fact: Published) -> bool:
    return _matches(wanted, fact.port, fact.host_ip, fact.host_port)


def _same_place(wanted: PortBinding, fact: Published) -> bool:
    ips = wanted.host_ip in (fact.host_ip, *_ANY) or fact.host_ip in _ANY
    same = wanted.port.protocol == fact.port.protocol
    return ips and same and wanted.first <= fact.host_port <= max(wanted.first, wanted.last)


async def _restore(live: Live, before: Row) -> None:
    live.row = before


async def _take_back(
    world: World, before: Row, gone: Sequence[Published], fresh: Sequence[Published]
) -> None:
    def write(tx: sqlite3.Connection) -> None:
        rows.save_state(tx, before)
        rows.release_ports(tx, before.id, fresh)
        rows.claim_ports(tx, before.id, gone)

    await world.commit(write)
