"""A container's places in networks: planned, wired, known by name, and taken away again.

A place costs an address, host ports for the one that leads outward, a cable, and on a network of users' own a name. The
name server of a container (127.0.0.11 in its namespace) is opened with its first place in such a network.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from knarr.engine import configurations, hostfiles
from knarr.engine.errors import NoSuchNetwork
from knarr.engine.live import Live
from knarr.engine.names import new_id
from knarr.engine.nets import Net, Place, Wish, dns_names, interfaces, ways_out
from knarr.engine.network_options import check_name, sysctls
from knarr.engine.plan import bindings
from knarr.engine.world import World
from knarr.engine.zygote_jobs import Netns
from knarr.kernel.files import read_text
from knarr.loop.blocking import alone, blocking
from knarr.model.container import ContainerSpec
from knarr.model.errors import Denied, Invalid, KnarrError, NotFound, Unsupported
from knarr.model.system import Step
from knarr.model.undo import Undo
from knarr.network.dns.zone import Sight
from knarr.network.errors import AddressTaken, ParentMissing
from knarr.network.plan import EndpointPlan, plan_endpoint
from knarr.runtime import netns as namespace

if TYPE_CHECKING:
    from knarr.network.dns.resolver import Resolver

DNS = ("127.0.0.11", 53)


@dataclass(slots=True)
class _Server:
    """The name server of one container."""

    resolver: "Resolver"
    sight: Sight


class Places:
    """The places of all containers of one engine."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._servers: dict[str, _Server] = {}

    def of(self, spec: ContainerSpec) -> list[Place]:
        """Where a container shall be. Raises NotFound in Docker's words, Unsupported without a default bridge."""
        found = []
        for asked in spec.endpoints:
            try:
                net = self._world.nets.find(asked.network)
                _check_joinable(net)
                if net.own or net.name != "none":
                    found.append(Place(net, asked))
            except NoSuchNetwork as error:
                if asked.network != "bridge":
                    raise NotFound(f"failed to set up container networking: {error}") from None
                if spec.port_bindings:
                    raise Unsupported("this daemon has no default bridge (--bridge none)") from None
            if found and found[-1].net.value is not None and found[-1].net.value.config_only:
                raise Denied(f"failed to set up container networking: {configurations.UNUSABLE}")
        return found

    async def plan(self, live: Live, spec: ContainerSpec, undo: Undo) -> list[tuple[Place, EndpointPlan]]:
        """Takes addresses and host ports for a life. Who writes into the row what this returns, before it awaits anything, finds
        every network still there."""
        places = self.of(spec)
        for place in places:
            place.net.guests.append(live.name)
        try:
            return await self._plan(live, spec, places, undo)
        finally:
            for place in places:
                place.net.guests.remove(live.name)

    async def _plan(
        self, live: Live, spec: ContainerSpec, places: Sequence[Place], undo: Undo
    ) -> list[tuple[Place, EndpointPlan]]:
        ways, names = ways_out(places), interfaces(places)
        plans = []
        for number, place in enumerate(places):
            mac = spec.mac_address if number == 0 else ""
            wishes = bindings(spec) if ways.carries(place) else ()
            wiring = Wish(names[number], ways.leads(place), wishes, mac)
            try:
                plans.append((place, await self.plan_one(live, place, undo, wiring)))
            except AddressTaken as error:
                raise cannot_set_up(error) from None
        return plans

    async def plan_one(self, live: Live, place: Place, undo: Undo, wish: Wish) -> EndpointPlan:
        """One place; the outward ones have the default routes, one of them the host ports."""
        bridge, config, pool = self._world.bridge, place.net.config, place.net.pool
        assert bridge is not None
        assert config is not None
        assert pool is not None
        endpoint_id = new_id()
        check_name(wish.interface, endpoint_id)
        four, six = pool.allocate(place.asked.ipv4, place.asked.ipv6)
        undo.push(_give_back, place.net, (four, six))
        published = await bridge.reserve(
            endpoint_id, wish.bindings, endpoint=live.name, config=config, four=bool(four), six=bool(six)
        )
        undo.push(bridge.release, endpoint_id)
        return plan_endpoint(
            config,
            endpoint_id=endpoint_id,
            address=four,
            address6=six,
            mac=place.asked.mac or wish.mac,
            interface=wish.interface,
            default_route=wish.leads[0],
            default_route6=wish.leads[1],
            published=published,
            link_local=place.asked.link_local,
            sysctls=sysctls(place.asked.driver_options, wish.interface),
        )

    async def attach(
        self, live: Live, plan: EndpointPlan, place: Place, netns: Netns, undo: Undo
    ) -> tuple[Step, ...]:
        """Wires one place, and makes the container known there."""
        assert self._world.bridge is not None
        undo.push(self._world.bridge.detach, plan)
        try:
            attached = await self._world.bridge.attach(plan, netns.fd, netns.route)
        except (Invalid, ParentMissing) as error:
            raise cannot_set_up(error) from None
        undo.push(self._forget, plan)
        self._introduce(live, plan, place)
        return attached.steps

    def introduce(self, live: Live) -> None:
        """Its names in all its networks: what others find it by."""
        plans = {value["network"].get("id"): EndpointPlan.from_dict(value) for value in live.extra.endpoints}
        for place in self.of(live.spec):
            if place.net.id in plans:
                self._introduce(live, plans[place.net.id], place)

    def _introduce(self, live: Live, plan: EndpointPlan, place: Place) -> None:
        names = dns_names(place, live.name, live.id, live.spec.hostname)
        if names:
            place.net.zone.add(plan.endpoint_id, plan.addresses, names)

    async def _forget(self, plan: EndpointPlan) -> None:
        net = self._world.nets.get(plan.network.id)
        if net is not None:
            net.zone.remove(plan.endpoint_id)

    async def leave(self, plan: EndpointPlan, netns: int = -1) -> None:
        """Takes a place away: name, cable, host ports, addresses. `netns` is its namespace, if that is there."""
        await self._forget(plan)
        if self._world.bridge is not None:
            if plan.network.bridged or netns < 0:
                await self._world.bridge.detach(plan)
            else:
                await self._unplug(plan, netns)
        net = self._world.nets.get(plan.network.id)
        if net is not None:
            await _give_back(net, plan.addresses)

    async def _unplug(self, plan: EndpointPlan, netns: int) -> None:
        """A link that is the container's own is deleted from inside."""
        assert self._world.bridge is not None
        fd, route = await alone(namespace.enter, f"/proc/self/fd/{netns}")
        try:
            await self._world.bridge.detach(plan, route)
        finally:
            route.close()
            os.close(fd)

    async def serve_names(self, live: Live, path: str) -> None:
        """Opens the container's name server in the network namespace at `path`, or tells it of changed networks."""
        plans = [EndpointPlan.from_dict(value) for value in live.extra.endpoints]
        nets = [
            net for plan in plans if (net := self._world.nets.get(plan.network.id)) is not None and net.own
        ]
        zones = {net.name: net.zone for net in nets}
        outward = any(not plan.network.internal for plan in plans)
        upstreams = await blocking(self._upstreams, live.spec) if outward and zones else ()
        links = dict(
            map(_link, (*live.spec.links, *(each for asked in live.spec.endpoints for each in asked.links)))
        )
        known = self._servers.get(live.id)
        if known is not None:
            known.sight.change(zones, links)
            known.resolver.upstreams = upstreams
        elif zones:
            # Here, because most daemons have no networks of users' own, and dnslib is large.
            from knarr.network.dns.resolver import Resolver

            sight = Sight(zones, links)
            server = self._servers[live.id] = _Server(Resolver(sight, upstreams), sight)
            await server.resolver.serve(*await alone(namespace.listen, path, *DNS))

    def _upstreams(self, spec: ContainerSpec) -> Sequence[tuple[str, int]]:
        """Blocking."""
        asked = spec.dns or self._world.settings.dns or hostfiles.parse(_host_file()).servers
        return [(server, DNS[1]) for server in asked]

    def silence(self, live: Live) -> None:
        """Closes the container's name server, if it has one."""
        server = self._servers.pop(live.id, None)
        if server is not None:
            server.resolver.close()

    def close(self) -> None:
        """Closes every name server; they are opened again by whoever takes the containers up."""
        while self._servers:
            self._servers.popitem()[1].resolver.close()


def cannot_set_up(error: KnarrError) -> KnarrError:
    """The error as Docker tells it of a container that starts."""
    error.args = (f"failed to set up container networking: {error}",)
    return error


async def _give_back(net: Net, addresses: Sequence[str]) -> None:
    if net.pool is not None:
        net.pool.release(*addresses)


def _link(text: str) -> tuple[str, str]:
    """--link NAME[:ALIAS] as (alias, name)."""
    name, _, alias = text.partition(":")
    return (alias or name).removeprefix("/"), name.removeprefix("/")


def _host_file() -> str:
    try:
        return read_text("/etc/resolv.conf")
    except FileNotFoundError:
        return ""


def _check_joinable(net: Net) -> None:
    """Raises Invalid for the host's, which only a container of that mode has."""
    if net.name == "host" and not net.own:
        raise Invalid(
            "failed to set up container networking: cannot connect container to host network - container must be created in "
            "host network mode"
        )
