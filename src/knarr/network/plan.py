"""Decides how an endpoint is wired; does nothing.

An `EndpointPlan` is a value that state can keep (`to_dict`, `from_dict`) and from which alone the endpoint can be taken
away again. Its `actions()` are what is done, in order, each with its reason.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal, NamedTuple

from knarr.model.errors import Invalid
from knarr.model.ports import Port, Published
from knarr.network.config import NAT, ROUTED, UNPROTECTED, NetworkConfig, Subnet

_HEXADECIMAL = frozenset("0123456789abcdef")
VETH_PREFIX = "kv"
_ANY = ("", "0.0.0.0", "::")
_REASONS = {
    "endpoints": "the firewall knows the address",
    "published": "packets to the published port go to the container",
    "published_at": "packets to the published address and port go to the container",
    "exposed": "a connection that the host's own firewall has let pass may go on to the container",
    "exposed_at": "a connection that the host's own firewall has let pass may go on to the container",
    "open": "the port is reached at the container's own address",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do: where ("host", "sysctl" and "inside" in the namespace, "firewall"), what, with what, and why."""

    where: Literal["host", "sysctl", "inside", "firewall"]
    name: str
    arguments: Mapping[str, Any]
    reason: str


class Element(NamedTuple):
    """One element of a set or map in the network's table of a family ("ip", "ip6"), in nft's words."""

    family: str
    set: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPlan:
    """One container's place in one network; `published` are facts (see `Bridge.reserve`).

    `default_route` and `default_route6`: the way out of the container, by family. `sysctls` are (file below /proc/sys, value).
    """

    network: NetworkConfig
    endpoint_id: str
    address: str
    mac: str
    interface: str = "eth0"
    default_route: bool = True
    published: tuple[Published, ...] = ()
    link_local: tuple[str, ...] = ()
    address6: str = ""
    default_route6: bool = False
    sysctls: tuple[tuple[str, str], ...] = ()

    @property
    def veth(self) -> str:
        """The name of the host's end of the pair."""
        return veth_name(self.endpoint_id)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The IPv4 and the IPv6 address, those that there are."""
        return tuple(filter(None, (self.address, self.address6)))

    @property
    def home(self) -> Subnet:
        """The IPv4 subnet."""
        return self.network.home(self.address) if self.address else Subnet("", "")

    @property
    def home6(self) -> Subnet:
        """The IPv6 subnet."""
        return self.network.home(self.address6) if self.address6 else Subnet("", "")

    @property
    def leads(self) -> bool:
        """Whether anything outward goes through it."""
        return self.default_route or self.default_route6

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON values."""
        value: dict[str, Any] = {
            "network": self.network.to_dict(),
            "endpoint_id": self.endpoint_id,
            "address": self.address,
            "mac": self.mac,
            "interface": self.interface,
            "default_route": self.default_route,
            "published": [[str(each.port), each.host_ip, each.host_port] for each in self.published],
            "link_local": list(self.link_local),
        }
        if self.address6:
            value |= {"address6": self.address6, "default_route6": self.default_route6}
        if self.sysctls:
            value["sysctls"] = [list(each) for each in self.sysctls]
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "EndpointPlan":
        """Reads what `to_dict` wrote."""
        return cls(
            network=NetworkConfig.from_dict(value["network"]),
            endpoint_id=value["endpoint_id"],
            address=value["address"],
            mac=value["mac"],
            interface=value["interface"],
            default_route=value["default_route"],
            published=tuple(
                Published(Port.parse(port), ip, number) for port, ip, number in value["published"]
            ),
            link_local=tuple(value.get("link_local", ())),
            address6=value.get("address6", ""),
            default_route6=value.get("default_route6", False),
            sysctls=tuple((name, text) for name, text in value.get("sysctls", ())),
        )

    def actions(self) -> tuple[Action, ...]:
        """What attaching does, in order."""
        return tuple(_actions(self))


def plan_endpoint(
    config: NetworkConfig,
    *,
    endpoint_id: str,
    address: str,
    address6: str = "",
    mac: str = "",
    interface: str = "eth0",
    default_route: bool = True,
    default_route6: bool | None = None,
    published: Iterable[Published] = (),
    link_local: Iterable[str] = (),
    sysctls: Iterable[tuple[str, str]] = (),
) -> EndpointPlan:
    """Plans one endpoint; without `mac` it follows from the address, so that no neighbour's ARP cache goes stale.

    Raises Invalid for a malformed one.
    """
    six = default_route if default_route6 is None else default_route6
    return EndpointPlan(
        network=config,
        endpoint_id=endpoint_id,
        address=address,
        address6=address6,
        mac=_mac(config, mac, address, endpoint_id),
        interface=interface,
        default_route=default_route and bool(address) and not config.internal,
        default_route6=six and bool(address6) and not config.internal,
        published=tuple(published),
        link_local=tuple(_checked_link_local(each) for each in link_local),
        sysctls=tuple(sysctls),
    )


@cache
def broadcast_of(subnet: str) -> str:
    """An IPv4 subnet's broadcast address, "" for one of IPv6."""
    return "" if ":" in subnet else str(IPv4Network(subnet).broadcast_address)


def veth_name(endpoint_id: str) -> str:
    """The host's interface of an endpoint: found again by its id alone."""
    return VETH_PREFIX + endpoint_id[:12]


def mac_of(address: str) -> str:
    """The locally administered hardware address that belongs to an IPv4 address."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


def _mac(config: NetworkConfig, asked: str, address: str, endpoint_id: str) -> str:
    if config.driver == "ipvlan":
        if asked:
            raise Invalid("ipvlan interfaces do not support custom mac address assignment")
        return ""
    if asked:
        return _checked_mac(asked)
    if config.mode == "passthru":
        return ""
    digits = (endpoint_id[at : at + 2] for at in range(0, 8, 2))
    return mac_of(address) if address else "02:42:" + ":".join(digits)


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
    yield from _bridged(plan) if plan.network.bridged else _on_parent(plan)
    yield from _sysctls(plan)
    yield from _inside(plan)
    for each in elements(plan):
        yield Action(where="firewall", name=each.set, arguments={"element": each}, reason=_REASONS[each.set])


def _bridged(plan: EndpointPlan) -> Iterator[Action]:
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


def _on_parent(plan: EndpointPlan) -> Iterator[Action]:
    network = plan.network
    yield Action(
        where="host",
        name=network.driver,
        arguments={"name": plan.interface, "parent": network.bridge, "mode": network.mode, "mac": plan.mac},
        reason=f"a link of the container's own on {network.bridge}: the host's bridges and firewall see nothing of it",
    )


def _sysctls(plan: EndpointPlan) -> Iterator[Action]:
    if plan.address6:
        for name, value in (("disable_ipv6", "0"), ("dad_transmits", "0")):
            yield Action(
                where="sysctl",
                name=name,
                arguments={"file": f"net/ipv6/conf/{plan.interface}/{name}", "value": value},
                reason="the network has IPv6, and its addresses are nobody else's",
            )
    for file, value in plan.sysctls:
        yield Action(
            where="sysctl",
            name=file.rpartition("/")[2],
            arguments={"file": file, "value": value},
            reason="asked for",
        )


def _inside(plan: EndpointPlan) -> Iterator[Action]:
    if not plan.address6:
        yield Action(
            where="inside",
            name="no-link-local",
            arguments={"name": plan.interface},
            reason="the network has no IPv6, so the interface asks for none",
        )
    yield Action(
        where="inside", name="up", arguments={"name": "lo"}, reason="127.0.0.1 works in the container"
    )
    for address, home in ((plan.address, plan.home), (plan.address6, plan.home6)):
        if address:
            yield _address(plan, address, home.prefix, broadcast_of(home.subnet), f"free in {home.subnet}")
    for address in plan.link_local:
        yield _address(plan, address, 16, "169.254.255.255", "asked for")
    yield Action(
        where="inside", name="up", arguments={"name": plan.interface}, reason="the cable carries packets"
    )
    for each in routes(plan):
        yield Action(
            where="inside",
            name="route",
            arguments=each,
            reason="everything else is reached through the network's gateway",
        )


def _address(plan: EndpointPlan, address: str, prefix: int, broadcast: str, reason: str) -> Action:
    arguments = {"name": plan.interface, "address": address, "prefix": prefix, "broadcast": broadcast}
    return Action(where="inside", name="address", arguments=arguments, reason=reason)


def routes(plan: EndpointPlan) -> Iterator[dict[str, Any]]:
    """The default routes: by a gateway, or where there is none (ipvlan's l3) by the link alone."""
    if plan.default_route:
        yield {"gateway": plan.home.gateway, "six": False}
    if plan.default_route6:
        yield {"gateway": plan.home6.gateway, "six": True}


def ours(name: str) -> bool:
    """Whether a link's name is one that `veth_name` gives."""
    return name.startswith(VETH_PREFIX)


def elements(plan: EndpointPlan) -> Iterator[Element]:
    """The elements in the network's tables that stand for the plan, marked with its id."""
    if not plan.network.bridged:
        return
    mark = f'comment "{plan.endpoint_id}"'
    for address in plan.addresses:
        yield Element("ip6" if ":" in address else "ip", "endpoints", f"{address} {mark}")
    for each in dict.fromkeys(plan.published):
        yield from _published(plan, each, mark)
    yield from dict.fromkeys(_open(plan, mark))


def _published(plan: EndpointPlan, fact: Published, mark: str) -> Iterator[Element]:
    """What has no address of the family to go to is relayed by the daemon."""
    six = ":" in fact.host_ip
    family, address = ("ip6", plan.address6) if six else ("ip", plan.address)
    mode = plan.network.mode6 if six else plan.network.mode4
    if not address or mode not in (NAT, UNPROTECTED) or not fact.host_port:
        return
    target = f"{address} . {fact.port.number}"
    service, at = f"{fact.port.protocol} . {fact.host_port}", ""
    if fact.host_ip not in _ANY:
        service, at = f"{fact.host_ip} . {service}", "_at"
    yield Element(family, f"published{at}", f"{service} {mark} : {target}")
    yield Element(family, f"exposed{at}", f"{service} {mark}")


def _open(plan: EndpointPlan, mark: str) -> Iterator[Element]:
    network = plan.network
    for fact in plan.published:
        for family, address, mode in (
            ("ip", plan.address, network.mode4),
            ("ip6", plan.address6, network.mode6),
        ):
            if address and (mode == ROUTED or network.trusted):
                yield Element(family, "open", f"{address} . {fact.port.protocol} . {fact.port.number} {mark}")
