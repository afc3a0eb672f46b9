"""rtnetlink(7): requests for links, addresses and routes, and what the kernel answers. No policy, no socket."""

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from knarr.kernel.netlink.codec import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    Request,
    attribute,
    nested,
    parse_attributes,
    text,
    u8,
    u32,
)

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
IFF_UP = 0x1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_LINKINFO, IFLA_AF_SPEC, IFLA_GROUP, IFLA_NET_NS_FD = 18, 26, 27, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 8, 1
VETH_INFO_PEER = 1
IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST = 3, 0, 1

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")


class Link(NamedTuple):
    """A link as the kernel describes it; `master` is 0 for none, `kind` "" for hardware."""

    ifindex: int
    name: str
    up: bool
    mac: str
    mtu: int
    master: int
    kind: str


class Route(NamedTuple):
    """An IPv4 route: `destination` is "" for the default; `ifindex` the outgoing link."""

    destination: str
    prefix: int
    gateway: str
    ifindex: int
    table: int


def _link(*attributes: bytes, index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return _LINK.pack(socket.AF_UNSPEC, 0, index, flags, change) + b"".join(attributes)


def new_bridge(name: str, mac: str, mtu: int) -> Request:
    """A bridge that is up, with a hardware address that its ports do not change."""
    body = _link(
        text(IFLA_IFNAME, name),
        attribute(IFLA_ADDRESS, parse_mac(mac)),
        u32(IFLA_MTU, mtu),
        nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge")),
        flags=IFF_UP,
        change=IFF_UP,
    )
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"make bridge {name}")


def new_veth(name: str, peer: str, peer_mac: str, netns_fd: int, master: int, mtu: int) -> Request:
    """A veth pair: `name` up at the bridge `master`, `peer` in the namespace `netns_fd`."""
    peer_link = _link(
        text(IFLA_IFNAME, peer),
        attribute(IFLA_ADDRESS, parse_mac(peer_mac)),
        u32(IFLA_MTU, mtu),
        u32(IFLA_NET_NS_FD, netns_fd),
    )
    body = _link(
        text(IFLA_IFNAME, name),
        u32(IFLA_MTU, mtu),
        u32(IFLA_MASTER, master),
        nested(
            IFLA_LINKINFO,
            text(IFLA_INFO_KIND, "veth"),
            nested(IFLA_INFO_DATA, nested(VETH_INFO_PEER, peer_link)),
        ),
        flags=IFF_UP,
        change=IFF_UP,
    )
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"make veth {name} and {peer}")


def set_bridge_port(name: str, hairpin: bool, isolated: bool) -> Request:
    """How a bridge treats one of its ports."""
    body = _link(
        text(IFLA_IFNAME, name),
        nested(
            IFLA_LINKINFO,
            text(IFLA_INFO_SLAVE_KIND, "bridge"),
            nested(IFLA_INFO_SLAVE_DATA, u8(IFLA_BRPORT_MODE, hairpin), u8(IFLA_BRPORT_ISOLATED, isolated)),
        ),
    )
    return Request(RTM_NEWLINK, 0, body, f"set bridge port {name}")


def set_no_link_local(name: str) -> Request:
    """No IPv6 link-local address for a link that is still down."""
    inet6 = nested(socket.AF_INET6, u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE))
    return Request(RTM_NEWLINK, 0, _link(text(IFLA_IFNAME, name), nested(IFLA_AF_SPEC, inet6)), f"set {name}")


def set_up(name: str) -> Request:
    """Brings a link up."""
    return Request(
        RTM_NEWLINK, 0, _link(text(IFLA_IFNAME, name), flags=IFF_UP, change=IFF_UP), f"set {name} up"
    )


def set_master(name: str, master: int) -> Request:
    """Makes a link a port of the bridge with index `master`."""
    return Request(
        RTM_NEWLINK, 0, _link(text(IFLA_IFNAME, name), u32(IFLA_MASTER, master)), f"enslave {name}"
    )


def delete_link(name: str) -> Request:
    """Removes a link."""
    return Request(RTM_DELLINK, 0, _link(text(IFLA_IFNAME, name)), f"delete link {name}")


def condemn(name: str, group: int) -> Request:
    """Takes a link down, off its bridge and into a group, to be deleted with the group."""
    body = _link(text(IFLA_IFNAME, name), u32(IFLA_MASTER, 0), u32(IFLA_GROUP, group), change=IFF_UP)
    return Request(RTM_NEWLINK, 0, body, f"condemn link {name}")


def delete_group(group: int) -> Request:
    """Removes every link of a group at once."""
    return Request(RTM_DELLINK, 0, _link(u32(IFLA_GROUP, group)), f"delete link group {group}")


def get_link(name: str) -> Request:
    """Asks for one link; `parse_link` reads the answer."""
    return Request(RTM_GETLINK, 0, _link(text(IFLA_IFNAME, name)), f"find link {name}")


def get_links() -> Request:
    """Dumps every link."""
    return Request(RTM_GETLINK, 0, _link(), "list links")


def new_address(index: int, address: str, prefix: int, broadcast: str) -> Request:
    """Gives a link an IPv4 address."""
    local = socket.inet_aton(address)
    body = _ADDRESS.pack(socket.AF_INET, prefix, 0, 0, index) + b"".join(
        (
            attribute(IFA_LOCAL, local),
            attribute(IFA_ADDRESS, local),
            attribute(IFA_BROADCAST, socket.inet_aton(broadcast)),
        )
    )
    return Request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body, f"add address {address}/{prefix}")


def delete_address(index: int, address: str, prefix: int) -> Request:
    """Takes an IPv4 address from a link."""
    body = _ADDRESS.pack(socket.AF_INET, prefix, 0, 0, index) + attribute(
        IFA_LOCAL, socket.inet_aton(address)
    )
    return Request(RTM_DELADDR, 0, body, f"delete address {address}/{prefix}")


def get_addresses() -> Request:
    """Dumps the IPv4 addresses of every link."""
    return Request(RTM_GETADDR, 0, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0), "list addresses")


def new_default_route(gateway: str, index: int, *, replace: bool = False) -> Request:
    """The IPv4 route for everything that no other route reaches; `replace`: instead of the one that there is."""
    body = _ROUTE.pack(
        socket.AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0
    ) + b"".join((attribute(RTA_GATEWAY, socket.inet_aton(gateway)), u32(RTA_OIF, index)))
    flags = NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    return Request(RTM_NEWROUTE, flags, body, f"add the default route by {gateway}")


def get_routes() -> Request:
    """Dumps the IPv4 routes."""
    return Request(RTM_GETROUTE, 0, _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0), "list routes")


def parse_link(message: Message) -> Link:
    """Reads one RTM_NEWLINK answer."""
    _, _, index, flags, _ = _LINK.unpack_from(message.body)
    found = parse_attributes(message.body[_LINK.size :])
    info = parse_attributes(found.get(IFLA_LINKINFO, b""))
    return Link(
        ifindex=index,
        name=_text(found.get(IFLA_IFNAME, b"")),
        up=bool(flags & IFF_UP),
        mac=":".join(f"{byte:02x}" for byte in found.get(IFLA_ADDRESS, b"")),
        mtu=_number(found.get(IFLA_MTU, b"")),
        master=_number(found.get(IFLA_MASTER, b"")),
        kind=_text(info.get(IFLA_INFO_KIND, b"")),
    )


def parse_addresses(messages: Iterable[Message]) -> Iterator[tuple[int, str, int]]:
    """Reads RTM_NEWADDR answers as (link index, address, prefix)."""
    for message in messages:
        _, prefix, _, _, index = _ADDRESS.unpack_from(message.body)
        found = parse_attributes(message.body[_ADDRESS.size :])
        yield index, socket.inet_ntoa(found.get(IFA_LOCAL) or found[IFA_ADDRESS]), prefix


def parse_routes(messages: Iterable[Message]) -> Iterator[Route]:
    """Reads RTM_NEWROUTE answers."""
    for message in messages:
        _, prefix, _, _, table, _, _, _, _ = _ROUTE.unpack_from(message.body)
        found = parse_attributes(message.body[_ROUTE.size :])
        yield Route(
            destination=socket.inet_ntoa(found[RTA_DST]) if RTA_DST in found else "",
            prefix=prefix,
            gateway=socket.inet_ntoa(found[RTA_GATEWAY]) if RTA_GATEWAY in found else "",
            ifindex=_number(found.get(RTA_OIF, b"")),
            table=table,
        )


def parse_mac(mac: str) -> bytes:
    """The six bytes of a hardware address. Raises ValueError."""
    packed = bytes.fromhex(mac.replace(":", ""))
    if len(packed) != 6:
        raise ValueError(f"invalid MAC address: {mac}")
    return packed


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _number(value: bytes) -> int:
    return int.from_bytes(value, "little")
