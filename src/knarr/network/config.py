"""What a network is to this room: one value, checked when it is made. Pure.

`bridge` is the bridge's name, or with macvlan and ipvlan the parent link's. A network has at most one subnet of each family
on a bridge; `more` are the further ones of the other drivers. An empty gateway means that nobody has one.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

from knarr.model.errors import Invalid
from knarr.network.errors import AddressOutside

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_NAME_LIMIT = 15
_DUMMIES = {"macvlan": "dm-", "ipvlan": "di-"}
NAT, UNPROTECTED, ROUTED, ISOLATED = "nat", "nat-unprotected", "routed", "isolated"
GATEWAY_MODES = (NAT, UNPROTECTED, ROUTED, ISOLATED)


class Subnet(NamedTuple):
    """Addresses of one family, "172.17.0.0/16", and the address that leads outward."""

    subnet: str
    gateway: str

    @property
    def six(self) -> bool:
        """Whether it is IPv6's."""
        return ":" in self.subnet

    @property
    def prefix(self) -> int:
        """The prefix length."""
        return int(self.subnet.partition("/")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """One network. `subnet` is "172.17.0.0/16", `gateway` the bridge's own address in it; `subnet6` and `gateway6` so.

    `icc` lets its containers talk to each other, `internal` cuts them off from everything else. `id` is the engine's.
    `mode4` and `mode6` are GATEWAY_MODES, `binding` the host address of ports that are published without one, `trusted` links that
    reach published ports at the containers' own addresses, `interface` how links in containers are called, `mode` and
    `flag` the macvlan's or ipvlan's, `kept` whether its link was there before and stays.
    """

    name: str
    id: str = ""
    driver: str = "bridge"
    bridge: str
    subnet: str = ""
    gateway: str = ""
    subnet6: str = ""
    gateway6: str = ""
    more: tuple[Subnet, ...] = ()
    mtu: int = 1500
    icc: bool = True
    internal: bool = False
    masquerade: bool = True
    mode4: str = NAT
    mode6: str = NAT
    inhibit: bool = False
    binding: str = ""
    trusted: tuple[str, ...] = ()
    interface: str = "eth"
    mode: str = ""
    flag: str = ""
    kept: bool = False

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
        for each in self.subnets:
            _check(each)

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        """All of them, the main ones first."""
        first = (Subnet(self.subnet, self.gateway), Subnet(self.subnet6, self.gateway6))
        return (*(each for each in first if each.subnet), *self.more)

    @property
    def bridged(self) -> bool:
        """Whether the host takes part: with a bridge, a firewall table and published ports."""
        return self.driver == "bridge"

    @property
    def table(self) -> str:
        """The name of this network's own nftables tables."""
        return f"knarr-{self.bridge}"

    def home(self, address: str) -> Subnet:
        """The subnet that an address belongs to; an empty one for none."""
        return _home(self.subnets, address)

    def to_dict(self) -> Mapping[str, Any]:
        """What differs from the defaults, as JSON values; not to be changed."""
        return _written(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "NetworkConfig":
        """Reads what `to_dict` wrote."""
        try:
            return _read(tuple(value.items()))
        except TypeError:  # lists have no hash
            return _read(
                tuple((key, _frozen(each) if type(each) is list else each) for key, each in value.items())
            )


@lru_cache(1024)
def _written(config: NetworkConfig) -> Mapping[str, Any]:
    values = ((each.name, getattr(config, each.name), each.default) for each in fields(NetworkConfig))
    return {
        name: list(map(list, value)) if name == "more" else list(value) if name == "trusted" else value
        for name, value, default in values
        if default is MISSING or value != default
    }


def dummy_name(driver: str, network_id: str) -> str:
    """The parent of a macvlan or ipvlan that names none."""
    return _DUMMIES[driver] + network_id[:12]


def _frozen(value: list[Any]) -> tuple[Any, ...]:
    return tuple(Subnet(*each) if isinstance(each, (list, tuple)) else each for each in value)


@lru_cache(1024)
def _read(items: tuple[tuple[str, Any], ...]) -> NetworkConfig:
    return NetworkConfig(**dict(items))


@lru_cache(4096)
def _home(subnets: tuple[Subnet, ...], address: str) -> Subnet:
    parsed = ip_address(address)
    return next((each for each in subnets if parsed in ip_network(each.subnet)), Subnet("", ""))


def _check(given: Subnet) -> None:
    try:
        network: IPv4Network | IPv6Network = ip_network(given.subnet)
        gateway = ip_address(given.gateway) if given.gateway else None
    except ValueError as error:
        raise Invalid(f"invalid subnet or gateway: {error}") from error
    if isinstance(network, IPv4Network) and network.prefixlen > 30:
        raise Invalid(f"subnet {given.subnet} is too small")
    if gateway is None:
        return
    edges = (network.network_address, network.broadcast_address) if network.version == 4 else ()
    if gateway not in network or gateway in edges:
        raise AddressOutside(given.gateway, given.subnet)
