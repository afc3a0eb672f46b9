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
IFLA_MACVLAN_MODE, IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS, IFLA_VLAN_ID = 1, 1, 2, 1
_MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
_IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD = 0x02
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
RTPROT_BOOT, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE, RTN_UNICAST = 3, 0, 253, 255, 1

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
    """A route: `destination` is "" for the default; `ifindex` the outgoing link."""

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


def new_on_parent(
    kind: str, name: str, parent: int, netns_fd: int, options: Iterable[bytes], mac: str = ""
) -> Request:
    """A macvlan or ipvlan on the link `parent`, in the namespace `netns_fd`; `options` are the kind's attributes."""
    body = _link(
        text(IFLA_IFNAME, name),
        *([attribute(IFLA_ADDRESS, parse_mac(mac))] if mac else []),
        u32(IFLA_LINK, parent),
        u32(IFLA_NET_NS_FD, netns_fd),
        nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), nested(IFLA_INFO_DATA, *options)),
    )
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"failed to create the {kind} port")


def macvlan_options(mode: str) -> list[bytes]:
    """private, vepa, bridge or passthru."""
    return [u32(IFLA_MACVLAN_MODE, _MACVLAN_MODES[mode])]


def ipvlan_options(mode: str, flag: str) -> list[bytes]:
    """l2, l3 or l3s, and bridge, private or vepa."""
    return [
        attribute(IFLA_IPVLAN_MODE, struct.pack("=H", _IPVLAN_MODES[mode])),
        attribute(IFLA_IPVLAN_FLAGS, struct.pack("=H", _IPVLAN_FLAGS[flag])),
    ]


def new_vlan(name: str, parent: int, number: int) -> Request:
    """The link of one VLAN (IEEE 802.1Q) of a parent, up."""
    vlan = nested(IFLA_INFO_DATA, attribute(IFLA_VLAN_ID, struct.pack("=H", number)))
    body = _link(
        text(IFLA_IFNAME, name),
        u32(IFLA_LINK, parent),
        nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "vlan"), vlan),
        flags=IFF_UP,
        change=IFF_UP,
    )
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"failed to create {name} vlan link")


def new_dummy(name: str) -> Request:
    """A link that leads nowhere, up."""
    body = _link(
        text(IFLA_IFNAME, name),
        nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "dummy")),
        flags=IFF_UP,
        change=IFF_UP,
    )
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"make dummy {name}")


def set_bridge_port(name: str, hairpin: bool, isolated: bool, *, link_local: bool = True) -> Request:
    """How a bridge treats one of its ports; without `link_local` it takes no IPv6 address of its own when it has a carrier."""
    body = _link(
        text(IFLA_IFNAME, name),
        *(() if link_local else (_no_link_local(),)),
        nested(
            IFLA_LINKINFO,
            text(IFLA_INFO_SLAVE_KIND, "bridge"),
            nested(IFLA_INFO_SLAVE_DATA, u8(IFLA_BRPORT_MODE, hairpin), u8(IFLA_BRPORT_ISOLATED, isolated)),
        ),
    )
    return Request(RTM_NEWLINK, 0, body, f"set bridge port {name}")


def set_no_link_local(name: str) -> Request:
    """No IPv6 link-local address for a link that is still down."""
    return Request(RTM_NEWLINK, 0, _link(text(IFLA_IFNAME, name), _no_link_local()), f"set {name}")


def _no_link_local() -> bytes:
    inet6 = nested(socket.AF_INET6, u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE))
    return nested(IFLA_AF_SPEC, inet6)


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
    """Gives a link an address. One of IPv6 is usable at once: nobody is asked whether it is his (IFA_F_NODAD)."""
    family, local = _packed(address)
    attributes = [attribute(IFA_LOCAL, local), attribute(IFA_ADDRESS, local)]
    attributes.append(
        u32(IFA_FLAGS, IFA_F_NODAD)
        if family == socket.AF_INET6
        else attribute(IFA_BROADCAST, socket.inet_aton(broadcast))
    )
    body = _ADDRESS.pack(family, prefix, 0, 0, index) + b"".join(attributes)
    return Request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body, f"add address {address}/{prefix}")


def delete_address(index: int, address: str, prefix: int) -> Request:
    """Takes an address from a link."""
    family, local = _packed(address)
    body = _ADDRESS.pack(family, prefix, 0, 0, index) + attribute(IFA_LOCAL, local)
    return Request(RTM_DELADDR, 0, body, f"delete address {address}/{prefix}")


def get_addresses(family: int = socket.AF_INET) -> Request:
    """Dumps the addresses of every link."""
    return Request(RTM_GETADDR, 0, _ADDRESS.pack(family, 0, 0, 0, 0), "list addresses")


def new_default_route(gateway: str, index: int, *, replace: bool = False, six: bool = False) -> Request:
    """The route for everything that no other route reaches, by `gateway` or, if that is empty, by the link alone;
    `replace`: instead of the one that there is."""
    family = socket.AF_INET6 if six else socket.AF_INET
    scope = RT_SCOPE_UNIVERSE if gateway or six else RT_SCOPE_LINK
    hop = [attribute(RTA_GATEWAY, _packed(gateway)[1])] if gateway else []
    body = _ROUTE.pack(family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)
    flags = NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    what = f"add the default route by {gateway or 'the link'}"
    return Request(RTM_NEWROUTE, flags, body + b"".join([*hop, u32(RTA_OIF, index)]), what)


def delete_default_route(*, six: bool = False) -> Request:
    """Takes the default route away."""
    family = socket.AF_INET6 if six else socket.AF_INET
    body = _ROUTE.pack(family, 0, 0, 0, RT_TABLE_MAIN, 0, RT_SCOPE_NOWHERE, 0, 0)
    return Request(RTM_DELROUTE, 0, body, "delete the default route")


def get_routes(family: int = socket.AF_INET) -> Request:
    """Dumps the routes of a family."""
    return Request(RTM_GETROUTE, 0, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), "list routes")


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
        family, prefix, _, _, index = _ADDRESS.unpack_from(message.body)
        found = parse_attributes(message.body[_ADDRESS.size :])
        yield index, socket.inet_ntop(family, found.get(IFA_LOCAL) or found[IFA_ADDRESS]), prefix


def parse_routes(messages: Iterable[Message]) -> Iterator[Route]:
    """Reads RTM_NEWROUTE answers."""
    for message in messages:
        family, prefix, _, _, table, _, _, _, _ = _ROUTE.unpack_from(message.body)
        found = parse_attributes(message.body[_ROUTE.size :])
        yield Route(
            destination=socket.inet_ntop(family, found[RTA_DST]) if RTA_DST in found else "",
            prefix=prefix,
            gateway=socket.inet_ntop(family, found[RTA_GATEWAY]) if RTA_GATEWAY in found else "",
            ifindex=_number(found.get(RTA_OIF, b"")),
            table=table,
        )


def _packed(address: str) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)


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
