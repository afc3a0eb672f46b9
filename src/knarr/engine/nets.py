"""The networks of one engine in memory: rows are the truth; found by id, name or unique prefix of an id.

`bridge`, `host` and `none` are always there (`bridge` unless the daemon has no default bridge). Pure but for the pools that it
keeps: what is wired is `places`' and `networks`' to do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from knarr.engine.errors import AmbiguousNetwork, NoSuchNetwork
from knarr.engine.record import NetworkValue
from knarr.model.container import ContainerSpec, EndpointSpec
from knarr.network.dns.zone import Zone
from knarr.network.plan import AddressPool, NetworkConfig

PREDEFINED = ("bridge", "host", "none")


@dataclass(slots=True, eq=False)
class Net:
    """One network. `config` and `pool` are None for "host" and "none", `value` for the predefined ones."""

    id: str
    name: str
    driver: str
    created: int
    value: NetworkValue | None = None
    config: NetworkConfig | None = None
    pool: AddressPool | None = None
    zone: Zone = field(default_factory=Zone)

    @property
    def own(self) -> bool:
        """Whether a user made it: its containers know each other by name."""
        return self.value is not None


@dataclass(frozen=True, slots=True)
class Place:
    """A container's place in a network, as it was asked for."""

    net: Net
    asked: EndpointSpec


class Nets:
    """The table."""

    def __init__(self) -> None:
        self._by_id: dict[str, Net] = {}
        self._by_name: dict[str, Net] = {}

    def __iter__(self) -> Iterator[Net]:
        return iter(list(self._by_id.values()))

    @property
    def bridge(self) -> Net | None:
        """The default bridge."""
        return self._by_name.get("bridge")

    def add(self, net: Net) -> None:
        """A network that is in the state."""
        self._by_id[net.id] = net
        self._by_name[net.name] = net

    def discard(self, net: Net) -> None:
        """It is out of the state."""
        self._by_id.pop(net.id, None)
        if self._by_name.get(net.name) is net:
            del self._by_name[net.name]

    def get(self, network_id: str) -> Net | None:
        """By its whole id."""
        return self._by_id.get(network_id)

    def named(self, name: str) -> Net | None:
        """By its name."""
        return self._by_name.get(name)

    def find(self, name: str) -> Net:
        """By id, name or unique prefix of an id. Raises NoSuchNetwork, AmbiguousNetwork."""
        found = self._by_id.get(name) or self._by_name.get("bridge" if name == "default" else name)
        if found is not None:
            return found
        matching = [net for net in self if name and net.id.startswith(name)]
        if len(matching) > 1:
            raise AmbiguousNetwork(name, len(matching))
        if not matching:
            raise NoSuchNetwork(name)
        return matching[0]


def shares(spec: ContainerSpec) -> bool:
    """Whether its network namespace is not its own, or shall have no network."""
    mode = spec.network_mode
    return mode in ("host", "none") or mode.startswith("container:")


def asked_for(spec: ContainerSpec) -> tuple[EndpointSpec, ...]:
    """The networks that a new container shall be in: those that were named, and its main one, first."""
    if shares(spec):
        return ()
    mode = spec.network_mode
    asked = {each.network: each for each in spec.endpoints}
    main = asked.pop(mode, None) or EndpointSpec(network=mode)
    return (main, *asked.values())


def gateway(places: Sequence[Place]) -> Place | None:
    """The place whose network leads to the rest of the world: by priority, then by name (libnetwork's order)."""
    outward = [place for place in places if place.net.config and not place.net.config.internal]
    return min(outward, key=lambda place: (-place.asked.priority, place.net.name), default=None)


def dns_names(place: Place, name: str, container_id: str, hostname: str) -> tuple[str, ...]:
    """What a container is called in one network."""
    if not place.net.own:
        return ()
    names = (name, *place.asked.aliases, container_id[:12], hostname)
    return tuple(dict.fromkeys(each for each in names if each))
