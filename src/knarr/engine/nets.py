"""The networks of one engine in memory: rows are the truth; found by id, name or unique prefix of an id.

`bridge`, `host` and `none` are always there (`bridge` unless the daemon has no default bridge). Pure but for the pools that it
keeps: what is wired is `places`' and `networks`' to do.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from knarr.engine.errors import AmbiguousNetwork, NoSuchNetwork
from knarr.engine.network_options import IFNAME
from knarr.engine.record import NetworkValue
from knarr.model.container import ContainerSpec, EndpointSpec
from knarr.model.ports import PortBinding
from knarr.network.addresses import Addresses
from knarr.network.config import NetworkConfig
from knarr.network.dns.zone import Zone

PREDEFINED = ("bridge", "host", "none")


@dataclass(slots=True, eq=False)
class Net:
    """One network. `config` and `pool` are None for "host" and "none", `value` for the predefined ones. `guests` are the
    containers on their way into it: until their rows say so, it must not go."""

    id: str
    name: str
    driver: str
    created: int
    value: NetworkValue | None = None
    config: NetworkConfig | None = None
    pool: Addresses | None = None
    zone: Zone = field(default_factory=Zone)
    guests: list[str] = field(default_factory=list)

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
        self.changes = 0
        """How often a network came or went: what was made of them is as old."""

    def __iter__(self) -> Iterator[Net]:
        return iter(list(self._by_id.values()))

    @property
    def bridge(self) -> Net | None:
        """The default bridge."""
        return self._by_name.get("bridge")

    def add(self, net: Net) -> None:
        """A network that is in the state."""
        self.changes += 1
        self._by_id[net.id] = net
        self._by_name[net.name] = net

    def discard(self, net: Net) -> None:
        """It is out of the state."""
        self.changes += 1
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
    """The networks that a new container shall be in: those that were named, its main one first; else that one alone."""
    if shares(spec):
        return ()
    mode = spec.network_mode
    if not spec.endpoints:
        return (EndpointSpec(network=mode),)
    return tuple(sorted(spec.endpoints, key=lambda each: each.network != mode))


def gateway(places: Sequence[Place], *, six: bool = False) -> Place | None:
    """The place whose network leads a family to the rest of the world: by priority, then by name (libnetwork's order)."""
    outward = [
        place
        for place in places
        if (config := place.net.config) is not None
        and not config.internal
        and (config.subnet6 if six else config.subnet)
    ]
    return min(outward, key=lambda place: (-place.asked.priority, place.net.name), default=None)


@dataclass(frozen=True, slots=True)
class Ways:
    """The places whose networks lead outward, by IPv4 and by IPv6. One of them has the host's ports."""

    four: Place | None
    six: Place | None

    def leads(self, place: Place) -> tuple[bool, bool]:
        """Which default routes go through a place."""
        return place is self.four, place is self.six

    def carries(self, place: Place) -> bool:
        """Whether a place has the container's published ports."""
        return place is (self.four or self.six)


def ways_out(places: Sequence[Place]) -> Ways:
    """As `gateway` chooses them."""
    return Ways(gateway(places), gateway(places, six=True))


@dataclass(frozen=True, slots=True)
class Wish:
    """How a place is wired: its link's name, the default routes (IPv4, IPv6) that it has, the ports that are published by it."""

    interface: str
    leads: tuple[bool, bool]
    bindings: Sequence[PortBinding] = ()
    mac: str = ""


def interfaces(places: Sequence[Place], taken: Iterable[str] = ()) -> list[str]:
    """What the links are called in the container: as asked for, or by the network's prefix and the next number."""
    asked = [place.asked.driver_options.get(IFNAME, "") for place in places]
    used = {*taken, *filter(None, asked)}
    names = []
    for place, name in zip(places, asked, strict=True):
        prefix = place.net.config.interface if place.net.config is not None else "eth"
        fresh = name or next(each for at in count() if (each := f"{prefix}{at}") not in used)
        used.add(fresh)
        names.append(fresh)
    return names


def dns_names(place: Place, name: str, container_id: str, hostname: str) -> tuple[str, ...]:
    """What a container is called in one network."""
    if not place.net.own:
        return ()
    names = (name, *place.asked.aliases, container_id[:12], hostname)
    return tuple(dict.fromkeys(each for each in names if each))
