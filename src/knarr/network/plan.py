"""Decides how a network and an endpoint are wired; does nothing.

An `EndpointPlan` is a value that state can keep (`to_dict`, `from_dict`) and from which alone the endpoint can be taken
away again. Its `actions()` are what is done, in order, each with its reason.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

from knarr.model.errors import Invalid
from knarr.model.ports import Port, Published
from knarr.network.errors import AddressOutside, AddressTaken, NoFreeAddress

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_NAME_LIMIT = 15
_HEXADECIMAL = frozenset("0123456789abcdef")
VETH_PREFIX = "kv"
_REASONS = {
    "endpoints": "the firewall knows the address",
    "published": "packets to the published port go to the container",
    "published_at": "packets to the published address and port go to the container",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """One bridge network. `subnet` is "172.17.0.0/16", `gateway` the bridge's own address in it.

    `icc` lets its containers talk to each other, `internal` cuts them off from everything else. `id` is the engine's.
    """

    name: str
    id: str = ""
    bridge: str
    subnet: str
    gateway: str
    mtu: int = 1500
    icc: bool = True
    internal: bool = False
    masquerade: bool = True

    @classmethod
    def from_bip(cls, name: str, bridge: str, bip: str, **options: Any) -> "NetworkConfig":
        """Makes one from `--bip`: the gateway with its prefix length, as "172.17.0.1/16"."""
        address, _, prefix = bip.partition("/")
        try:
            network = IPv4Network(f"{address}/{prefix or '24'}", strict=False)
        except ValueError as error:
            raise Invalid(f"invalid CIDR address: {bip}") from error
        return cls(name=name, bridge=bridge, subnet=str(network), gateway=address, **options)

    def __post_init__(self) -> None:
        good = 0 < len(self.bridge) <= _NAME_LIMIT and set(self.bridge) <= _NAME_CHARACTERS
        if not good or self.bridge in (".", "..") or self.bridge[0] == "-":
            raise Invalid(f"invalid bridge name: {self.bridge!r}")
        try:
            network = IPv4Network(self.subnet)
            gateway = IPv4Address(self.gateway)
        except ValueError as error:
            raise Invalid(f"invalid subnet or gateway: {error}") from error
        if network.prefixlen > 30:
            raise Invalid(f"subnet {self.subnet} is too small")
        if gateway not in network or gateway in (network.network_address, network.broadcast_address):
            raise AddressOutside(self.gateway, self.subnet)

    @property
    def table(self) -> str:
        """The name of this network's own nftables table."""
        return f"knarr-{self.bridge}"

    @property
    def prefix(self) -> int:
        """The subnet's prefix length."""
        return int(self.subnet.partition("/")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do: where ("host", "inside" the namespace, "firewall"), what, with what, and why."""

    where: Literal["host", "inside", "firewall"]
    name: str
    arguments: Mapping[str, Any]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPlan:
    """One container's place in one network; `published` are facts (see `Bridge.reserve`)."""

    network: NetworkConfig
    endpoint_id: str
    address: str
    mac: str
    interface: str = "eth0"
    default_route: bool = True
    published: tuple[Published, ...] = ()
    link_local: tuple[str, ...] = ()

    @property
    def veth(self) -> str:
        """The name of the host's end of the pair."""
        return veth_name(self.endpoint_id)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "network": {each.name: getattr(self.network, each.name) for each in fields(NetworkConfig)},
            "endpoint_id": self.endpoint_id,
            "address": self.address,
            "mac": self.mac,
            "interface": self.interface,
            "default_route": self.default_route,
            "published": [[str(each.port), each.host_ip, each.host_port] for each in self.published],
            "link_local": list(self.link_local),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "EndpointPlan":
        """Reads what `to_dict` wrote."""
        return cls(
            network=_network(tuple(value["network"].items())),
            endpoint_id=value["endpoint_id"],
            address=value["address"],
            mac=value["mac"],
            interface=value["interface"],
            default_route=value["default_route"],
            published=tuple(
                Published(Port.parse(port), ip, number) for port, ip, number in value["published"]
            ),
            link_local=tuple(value.get("link_local", ())),
        )

    def actions(self) -> tuple[Action, ...]:
        """What attaching does, in order."""
        return tuple(_actions(self))


@cache
def _network(items: tuple[tuple[str, Any], ...]) -> NetworkConfig:
    return NetworkConfig(**dict(items))


def plan_endpoint(
    config: NetworkConfig,
    *,
    endpoint_id: str,
    address: str,
    mac: str = "",
    interface: str = "eth0",
    default_route: bool = True,
    published: Iterable[Published] = (),
    link_local: Iterable[str] = (),
) -> EndpointPlan:
    """Plans one endpoint; without `mac` it follows from the address, so that no neighbour's ARP cache goes stale.

    Raises Invalid for a malformed one.
    """
    return EndpointPlan(
        network=config,
        endpoint_id=endpoint_id,
        address=address,
        mac=_checked_mac(mac) if mac else mac_of(address),
        interface=interface,
        default_route=default_route and not config.internal,
        published=tuple(published),
        link_local=tuple(_checked_link_local(each) for each in link_local),
    )


@cache
def broadcast_of(config: NetworkConfig) -> str:
    """The subnet's broadcast address."""
    return str(IPv4Network(config.subnet).broadcast_address)


def veth_name(endpoint_id: str) -> str:
    """The host's interface of an endpoint: found again by its id alone."""
    return VETH_PREFIX + endpoint_id[:12]


def mac_of(address: str) -> str:
    """The locally administered hardware address that belongs to an IPv4 address."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


def _checked_mac(mac: str) -> str:
    parts = mac.lower().replace("-", ":").split(":")
    good = len(parts) == 6 and all(len(part) == 2 and set(part) <= _HEXADECIMAL for part in parts)
    if not good:
        raise Invalid(f"address {mac}: invalid MAC address")
    return ":".join(parts)


def _checked_link_local(address: str) -> str:
    try:
        good = IPv4Address(address).is_link_local
    except ValueError:
        good = False
    if not good:
        raise Invalid(f"invalid link-local IP address: {address}")
    return address


def _actions(plan: EndpointPlan) -> Iterator[Action]:
    network = plan.network
    yield Action(
        where="host",
        name="veth",
        arguments={"name": plan.veth, "peer": plan.interface, "mac": plan.mac, "mtu": network.mtu},
        reason=f"a cable between bridge {network.bridge} and {plan.interface} in the container's namespace",
    )
    yield Action(
        where="host",
        name="bridge-port",
        arguments={"name": plan.veth, "hairpin": True},
        reason="hairpin: the container may reach its own published ports",
    )
    yield Action(
        where="inside",
        name="no-link-local",
        arguments={"name": plan.interface},
        reason="the network has no IPv6, so the interface asks for none",
    )
    yield Action(
        where="inside", name="up", arguments={"name": "lo"}, reason="127.0.0.1 works in the container"
    )
    yield Action(
        where="inside",
        name="address",
        arguments={
            "name": plan.interface,
            "address": plan.address,
            "prefix": network.prefix,
            "broadcast": broadcast_of(network),
        },
        reason=f"a free address of {network.subnet}",
    )
    for address in plan.link_local:
        yield Action(
            where="inside",
            name="address",
            arguments={
                "name": plan.interface,
                "address": address,
                "prefix": 16,
                "broadcast": "169.254.255.255",
            },
            reason="asked for",
        )
    yield Action(
        where="inside", name="up", arguments={"name": plan.interface}, reason="the cable carries packets"
    )
    if plan.default_route:
        yield Action(
            where="inside",
            name="route",
            arguments={"gateway": network.gateway},
            reason="everything else is reached through the bridge",
        )
    for key, element in elements(plan):
        yield Action(where="firewall", name=key, arguments={"element": element}, reason=_REASONS[key])


def ours(name: str) -> bool:
    """Whether a link's name is one that `veth_name` gives."""
    return name.startswith(VETH_PREFIX)


def elements(plan: EndpointPlan) -> Iterator[tuple[str, str]]:
    """The (set or map, element) pairs in the network's table that stand for the plan, marked with its id."""
    mark = f'comment "{plan.endpoint_id}"'
    yield "endpoints", f"{plan.address} {mark}"
    for each in plan.published:
        if ":" in each.host_ip:
            continue
        target = f"{plan.address} . {each.port.number}"
        service = f"{each.port.protocol} . {each.host_port}"
        if each.host_ip in ("", "0.0.0.0"):
            yield "published", f"{service} {mark} : {target}"
        else:
            yield "published_at", f"{each.host_ip} . {service} {mark} : {target}"


@dataclass(slots=True)
class AddressPool:
    """The free addresses of one subnet, kept in memory; the lowest free one between `first` and `last` is given out.

    State holds the truth (`UNIQUE(network, address)`); seed `taken` from it.
    """

    network: str
    subnet: str
    gateway: str
    first: int
    last: int
    taken: set[int] = field(default_factory=set)
    _freed: list[int] = field(default_factory=list)
    _next: int = 0

    @classmethod
    def of(cls, config: NetworkConfig, taken: Iterable[str] = (), within: str = "") -> "AddressPool":
        """The pool of a network, without the addresses in `taken`; `within` is the part of it that is given out."""
        whole, part = IPv4Network(config.subnet), IPv4Network(within or config.subnet)
        pool = cls(
            config.name,
            config.subnet,
            config.gateway,
            max(int(part.network_address), int(whole.network_address) + 1),
            min(int(part.broadcast_address), int(whole.broadcast_address) - 1),
        )
        pool.taken.update(int(IPv4Address(address)) for address in taken)
        pool.taken.add(int(IPv4Address(config.gateway)))
        pool._next = pool.first
        return pool

    def allocate(self, wanted: str = "") -> str:
        """Takes `wanted`, or any free address. Raises AddressTaken, AddressOutside, NoFreeAddress."""
        number = self._check(wanted) if wanted else self._lowest()
        self.taken.add(number)
        return str(IPv4Address(number))

    def release(self, address: str) -> None:
        """Gives an address back; one that is not taken is ignored."""
        number = int(IPv4Address(address))
        if number in self.taken and address != self.gateway:
            self.taken.discard(number)
            if self.first <= number < self._next:
                heapq.heappush(self._freed, number)

    def _check(self, wanted: str) -> int:
        network = IPv4Network(self.subnet)
        try:
            address = IPv4Address(wanted)
        except ValueError as error:
            raise Invalid(f"invalid IPv4 address: {wanted}") from error
        if address not in network or address in (network.network_address, network.broadcast_address):
            raise AddressOutside(wanted, self.subnet)
        if int(address) in self.taken:
            raise AddressTaken(wanted)
        return int(address)

    def _lowest(self) -> int:
        while self._freed:
            number = heapq.heappop(self._freed)
            if number not in self.taken:
                return number
        while self._next <= self.last:
            self._next += 1
            if self._next - 1 not in self.taken:
                return self._next - 1
        raise NoFreeAddress(self.network)


class PortPool:
    """Candidates for "any free port", each once, going round so that a port is not given out again at once."""

    def __init__(self, first: int = 32768, last: int = 60999) -> None:
        self._first, self._last, self._next = first, last, first

    def candidates(self) -> Iterator[int]:
        """Every port of the range, beginning behind the last one that was asked for."""
        for _ in range(self._last - self._first + 1):
            port = self._next
            self._next = self._first if port == self._last else port + 1
            yield port
