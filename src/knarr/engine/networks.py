"""Networks as users see them: made, listed, removed, and containers connected to them, running or not.

A network's row comes before its bridge and goes after it, so recovery can set up or take away what was half-made.
"""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace

from knarr.engine import configurations, filters, network_plan, rows
from knarr.engine.endpoint_plan import check_endpoint
from knarr.engine.errors import (
    AlreadyConnected,
    NetworkInUse,
    NetworkNameTaken,
    NoSuchNetwork,
    NotConnected,
    Predefined,
)
from knarr.engine.joining import Joining
from knarr.engine.live import Live, Roster
from knarr.engine.names import new_id
from knarr.engine.nets import Net
from knarr.engine.places import Places
from knarr.engine.record import NetworkValue
from knarr.engine.telling import network_event, prune_event
from knarr.engine.values import NetworkSpec, Pruned
from knarr.engine.world import World, now
from knarr.model.container import EndpointSpec
from knarr.model.errors import Denied, Invalid, KnarrError, NotFound, Unavailable
from knarr.model.system import NetworkEndpoint, NetworkView
from knarr.network import pools
from knarr.network.addresses import Addresses
from knarr.network.config import NetworkConfig
from knarr.network.plan import EndpointPlan
from knarr.state.errors import Taken

_FILTERS = frozenset(("driver", "id", "label", "name", "scope", "type", "dangling"))
_PRUNE_FILTERS = frozenset(("label", "label!", "until"))


class Networks:
    """All networks of one engine."""

    def __init__(self, world: World, roster: Roster, places: Places) -> None:
        self._world = world
        self._roster = roster
        self._places = places
        self._joining = Joining(world, places)
        self._turn = asyncio.Lock()

    async def load(self) -> None:
        """At start: every network of the state, set up in the kernel."""
        for key, name, created, value in await self._world.db.read(rows.load_networks):
            net = self._net(key, name, created, value)
            self._world.nets.add(net)
            await self._ensure(net.config)

    def _net(self, key: str, name: str, created: int, value: NetworkValue) -> Net:
        if value.config_only:
            return Net(key, name, value.driver, created, value)
        config = network_plan.config(key, name, value)
        net = Net(key, name, value.driver, created, value, config)
        taken = (*addresses(self._roster, net), *network_plan.reserved(value))
        net.pool = Addresses.of(config, taken, network_plan.parts(value))
        return net

    async def _ensure(self, config: NetworkConfig | None) -> None:
        if self._world.bridge is None:
            raise Unavailable("this daemon cannot make networks: libnftables is missing")
        if config is not None:
            await self._world.bridge.ensure(config)

    async def create(self, spec: NetworkSpec) -> str:
        """The new network's id. Raises NetworkNameTaken, SubnetTaken, Invalid, Denied."""
        defaults = self._world.settings.default_network_opts.get(spec.driver or "bridge", {})
        if not spec.config_from:
            spec = replace(spec, options={**defaults, **spec.options})
        spec = network_plan.check(spec)
        return await self._world.whole(self._create(spec))

    async def _create(self, spec: NetworkSpec) -> str:
        world, bridge = self._world, self._world.bridge
        if bridge is None:
            raise Unavailable("this daemon cannot make networks: libnftables is missing")
        async with self._turn:
            if world.nets.named(spec.name) is not None:
                raise NetworkNameTaken(spec.name)
            configurations.check(spec)
            spec = self._configured(spec)
            network_plan.check_options(spec)
            key = new_id()
            used = [each.subnet for net in world.nets if net.config for each in net.config.subnets]
            default = pools.with_six(world.settings.default_address_pools, world.daemon_id)
            if spec.config_only:
                value = configurations.keep(spec)
            else:
                value = network_plan.choose(spec, key, default, used, await bridge.host_subnets())
                value = replace(await self._parented(value), config_from=spec.config_from)
            net = self._net(key, spec.name, now(), value)
            try:
                event = network_event(net, "create")
                await world.commit(
                    lambda tx: rows.insert_network(tx, key, net.name, net.created, value), event
                )
            except Taken as error:
                raise NetworkNameTaken(spec.name) from error
            try:
                await self._ensure(net.config)
            except BaseException:
                await self._destroy(net)
                raise
            world.nets.add(net)
            return key

    def _configured(self, spec: NetworkSpec) -> NetworkSpec:
        if not spec.config_from:
            return spec
        found = self._world.nets.named(spec.config_from)
        if found is None or found.value is None or not found.value.config_only:
            raise NotFound(f'configuration network "{spec.config_from}" does not exist')
        return configurations.apply(spec, found.value)

    async def _parented(self, value: NetworkValue) -> NetworkValue:
        """Whether its link is there already, and not for networks' sake. Raises SharedParent."""
        bridge = self._world.bridge
        if bridge is None:
            return value
        others = {
            net.id: net.config for net in self._world.nets if net.config and net.config.bridge == value.bridge
        }
        config = network_plan.config("", "", value)
        network_plan.check_parent(config, others)
        ours = any(not each.kept for each in others.values())
        return replace(value, kept=not ours and await bridge.has_link(value.bridge))

    async def _destroy(self, net: Net) -> None:
        if self._world.bridge is not None and net.config is not None:
            await self._world.bridge.teardown(net.config)
        await self._world.commit(lambda tx: rows.delete_network(tx, net.id), network_event(net, "destroy"))

    async def remove(self, name: str) -> None:
        """Raises NoSuchNetwork, Predefined, NetworkInUse."""
        net = self._world.nets.find(name)
        if not net.own:
            raise Predefined(f"{net.name} is a pre-defined network and cannot be removed")
        await self._world.whole(self._remove(net))

    async def _remove(self, net: Net) -> None:
        async with self._turn:
            users = [f'name:"{live.name}" id:"{plan.endpoint_id[:12]}"' for live, plan in self._inside(net)]
            users += [f'name:"{name}"' for name in net.guests]
            if users:
                raise NetworkInUse(net.name, ", ".join(users))
            if any(other.value and other.value.config_from == net.name for other in self._world.nets):
                raise Denied(f'error while removing network: configuration network "{net.name}" is in use')
            self._world.nets.discard(net)
            try:
                await self._destroy(net)
            except BaseException:
                self._world.nets.add(net)
                raise

    def _inside(self, net: Net) -> list[tuple[Live, EndpointPlan]]:
        """The containers that have a place there now."""
        return [
            (live, plan)
            for live in self._roster
            for plan in map(EndpointPlan.from_dict, live.extra.endpoints)
            if plan.network.id == net.id
        ]

    async def connect(self, name: str, container: str, asked: EndpointSpec) -> None:
        """Raises NoSuchNetwork, NoSuchContainer, AlreadyConnected, Denied, Invalid."""
        live = self._roster.find(container)
        net = self._world.nets.find(name)
        mode = live.spec.network_mode
        if net.name == "host":
            raise Invalid(
                "cannot connect container to host network - container must be created in host network mode"
            )
        if mode == "host":
            raise Invalid("container cannot be disconnected from host network or connected to host network")
        if mode == "none" or net.name == "none":
            raise Invalid(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode"
            )
        if mode.startswith("container:"):
            raise Invalid(
                "container sharing network namespace with another container or host cannot be connected to any other network"
            )
        if net.value is not None and net.value.config_only:
            raise Denied(configurations.UNUSABLE)
        asked = replace(asked, network=net.name)
        check_endpoint(asked, net.value)
        await self._world.whole(self._connect(net, live, asked))

    async def _connect(self, net: Net, live: Live, asked: EndpointSpec) -> None:
        """The network is not removed meanwhile: until it is over nobody sees who joins."""
        async with live.lock, self._turn:
            if self._world.nets.get(net.id) is None:
                raise NoSuchNetwork(net.name)
            if net in self._nets_of(live):
                raise AlreadyConnected(live.name, net.name)
            spec = replace(live.spec, endpoints=(*live.spec.endpoints, asked))
            if live.runs:
                await self._joining.join(live, net, asked, spec)
            else:
                live.row = replace(live.row, spec=spec)
                await self._world.commit(lambda tx: rows.save_spec(tx, live.row))

    def _nets_of(self, live: Live) -> list[Net | None]:
        return [self._named(asked) for asked in live.spec.endpoints]

    def _named(self, asked: EndpointSpec) -> Net | None:
        return self._world.nets.named(asked.network) or self._world.nets.get(asked.network)

    async def disconnect(self, name: str, container: str, *, force: bool = False) -> None:
        """Raises NoSuchNetwork, NoSuchContainer, NotConnected, Denied."""
        live = self._roster.find(container)
        net = self._world.nets.find(name)
        if net.name == "host" and live.spec.network_mode == "host":
            raise Denied("container cannot be disconnected from host network or connected to host network")
        await self._world.whole(self._disconnect(net, live))

    async def _disconnect(self, net: Net, live: Live) -> None:
        async with live.lock:
            if net not in self._nets_of(live):
                raise NotConnected(live.id, net.name, runs=live.runs)
            rest = tuple(each for each in live.spec.endpoints if self._named(each) is not net)
            spec = replace(live.spec, endpoints=rest)
            if live.runs:
                await self._joining.leave(live, net, spec)
            else:
                live.row = replace(live.row, spec=spec)
                await self._world.commit(lambda tx: rows.save_spec(tx, live.row))

    async def list(self, wanted: Mapping[str, Sequence[str]] | None = None) -> list[NetworkView]:
        """Without endpoints; filters driver, id, label, name, scope, type, dangling."""
        wanted = wanted or {}
        filters.check(wanted, _FILTERS)
        _check_values(wanted)
        busy = {plan["network"].get("id") for live in self._roster for plan in live.extra.endpoints}
        return [
            self._view(net)
            for net in self._world.nets
            if filters.one_of(wanted, "driver", (net.driver,))
            and filters.prefixes(wanted, net.id)
            and filters.names(wanted, (net.name,))
            and filters.labels(wanted, net.value.labels if net.value else {})
            and filters.one_of(wanted, "scope", ("local",))
            and filters.one_of(wanted, "type", ("custom",) if net.own else ("builtin",))
            and (
                "dangling" not in wanted
                or filters.boolean(wanted, "dangling") == (net.own and net.id not in busy)
            )
        ]

    async def inspect(self, name: str) -> NetworkView:
        """With its endpoints. Raises NoSuchNetwork, AmbiguousNetwork."""
        net = self._world.nets.find(name)
        endpoints = tuple(
            NetworkEndpoint(
                container_id=live.id,
                name=live.name,
                endpoint_id=plan.endpoint_id,
                mac=plan.mac,
                ipv4=f"{plan.address}/{plan.home.prefix}" if plan.address else "",
                ipv6=f"{plan.address6}/{plan.home6.prefix}" if plan.address6 else "",
            )
            for live, plan in self._inside(net)
            if live.runs
        )
        return replace(self._view(net), endpoints=endpoints)

    async def prune(self, wanted: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Removes users' networks that no container is in, running or not. Filters: label, label!, until."""
        wanted = wanted or {}
        filters.check(wanted, _PRUNE_FILTERS)
        until = filters.until(wanted, now())
        used = {asked.network for live in self._roster for asked in live.spec.endpoints}
        removed = []
        for net in self._world.nets:
            labels = net.value.labels if net.value else {}
            if (
                net.own
                and net.config is not None
                and not used & {net.id, net.name}
                and all(net.created < moment for moment in until)
                and filters.labels(wanted, labels)
                and filters.not_labels(wanted, labels)
            ):
                try:
                    await self._world.whole(self._remove(net))
                except (KnarrError, sqlite3.Error):
                    continue
                removed.append(net.name)
        self._world.tell(prune_event("network", 0))
        return Pruned(tuple(removed))

    def _view(self, net: Net) -> NetworkView:
        if net.value is not None:
            return NetworkView(
                id=net.id,
                name=net.name,
                driver=net.driver,
                created=net.created,
                internal=net.value.internal,
                attachable=net.value.attachable,
                ipv4=net.value.ipv4,
                ipv6=net.value.ipv6,
                config_only=net.value.config_only,
                config_from=net.value.config_from,
                ranges=tuple(
                    (each.subnet, each.gateway if each.gateway_asked else "", each.within, each.reserved)
                    for each in net.value.ranges
                ),
                labels=net.value.labels,
                options=net.value.options,
                ipam_options=net.value.ipam_options,
            )
        config = net.config
        if config is None:
            return NetworkView(id=net.id, name=net.name, driver=net.driver, created=net.created)
        return NetworkView(
            id=net.id,
            name=net.name,
            driver=net.driver,
            created=net.created,
            ipv6=bool(config.subnet6),
            ranges=tuple((each.subnet, each.gateway, "", {}) for each in config.subnets),
            options={
                "com.docker.network.bridge.default_bridge": "true",
                "com.docker.network.bridge.enable_icc": str(config.icc).lower(),
                "com.docker.network.bridge.enable_ip_masquerade": str(config.masquerade).lower(),
                "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
                "com.docker.network.bridge.name": config.bridge,
                "com.docker.network.driver.mtu": str(config.mtu),
            },
        )


def _check_values(wanted: Mapping[str, Sequence[str]]) -> None:
    """Raises Invalid in the words that dockerd has for networks."""
    if len(wanted.get("dangling", ())) > 1:
        raise Invalid('got more than one value for filter key "dangling"')
    for value in wanted.get("dangling", ()):
        if value not in ("true", "1", "false", "0"):
            raise Invalid(
                'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")'
            )
    for value in wanted.get("type", ()):
        if value not in ("builtin", "custom"):
            raise Invalid(f"invalid filter: 'type'='{value}'")


def addresses(roster: Roster, net: Net) -> list[str]:
    """Those that containers have in a network, by the rows."""
    return [
        address
        for live in roster
        for plan in live.extra.endpoints
        if plan["network"].get("id") == net.id
        for address in (plan["address"], plan.get("address6", ""))
        if address
    ]
