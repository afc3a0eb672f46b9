"""Networks as users see them: "bridge", "host" and "none" are predefined, and there are no others yet."""

from collections.abc import Mapping, Sequence

from knarr.engine import filters
from knarr.engine.errors import NoSuchNetwork
from knarr.engine.live import Roster
from knarr.engine.values import Pruned
from knarr.engine.world import World
from knarr.model.system import NetworkEndpoint, NetworkView
from knarr.network.plan import EndpointPlan

_FILTERS = frozenset(("driver", "id", "label", "name", "scope", "type", "dangling"))
_PRUNE_FILTERS = frozenset(("label", "label!", "until"))


class Networks:
    """All networks of one engine."""

    def __init__(self, world: World, roster: Roster, created: int) -> None:
        self._world = world
        self._roster = roster
        self._created = created

    async def list(self, wanted: Mapping[str, Sequence[str]] | None = None) -> list[NetworkView]:
        """Without endpoints; filters driver, id, label, name, scope, type, dangling."""
        wanted = wanted or {}
        filters.check(wanted, _FILTERS)
        return [
            network
            for network in self._all()
            if filters.one_of(wanted, "driver", (network.driver,))
            and filters.prefixes(wanted, network.id)
            and filters.names(wanted, (network.name,))
            and filters.labels(wanted, network.labels)
            and filters.one_of(wanted, "scope", (network.scope,))
            and filters.one_of(wanted, "type", ("builtin",))
            and not filters.boolean(wanted, "dangling")
        ]

    async def inspect(self, name: str) -> NetworkView:
        """With its endpoints. Raises NoSuchNetwork."""
        for network in self._all(endpoints=True):
            if name in (network.name, network.id):
                return network
        found = [network for network in self._all(endpoints=True) if name and network.id.startswith(name)]
        if len(found) != 1:
            raise NoSuchNetwork(name)
        return found[0]

    async def prune(self, wanted: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Removes unused user-defined networks: there are none."""
        filters.check(wanted or {}, _PRUNE_FILTERS)
        return Pruned(())

    def _all(self, *, endpoints: bool = False) -> Sequence[NetworkView]:
        ids, config = self._world.network_ids, self._world.network
        networks = [
            NetworkView(id=ids["host"], name="host", driver="host", created=self._created),
            NetworkView(id=ids["none"], name="none", driver="null", created=self._created),
        ]
        if config is not None:
            networks.insert(
                0,
                NetworkView(
                    id=ids["bridge"],
                    name="bridge",
                    driver="bridge",
                    created=self._created,
                    subnets=((config.subnet, config.gateway),),
                    options={
                        "com.docker.network.bridge.default_bridge": "true",
                        "com.docker.network.bridge.enable_icc": str(config.icc).lower(),
                        "com.docker.network.bridge.enable_ip_masquerade": str(config.masquerade).lower(),
                        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
                        "com.docker.network.bridge.name": config.bridge,
                        "com.docker.network.driver.mtu": str(config.mtu),
                    },
                    endpoints=self._endpoints() if endpoints else (),
                ),
            )
        return networks

    def _endpoints(self) -> tuple[NetworkEndpoint, ...]:
        found = []
        for live in self._roster:
            for value in live.extra.endpoints if live.runs else ():
                planned = EndpointPlan.from_dict(value)
                found.append(
                    NetworkEndpoint(
                        container_id=live.id,
                        name=live.name,
                        endpoint_id=planned.endpoint_id,
                        mac=planned.mac,
                        ipv4=f"{planned.address}/{planned.network.prefix}",
                    )
                )
        return tuple(found)
