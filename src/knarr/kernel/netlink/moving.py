"""rtnetlink(7): what it takes to move a link into another network namespace with its addresses of either family."""

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from knarr.kernel.netlink.codec import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Message,
    Request,
    attribute,
    parse_attributes,
    text,
    u32,
)

_NEWLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 18, 20, 22
_IFLA_IFNAME, _IFLA_NET_NS_FD = 3, 28
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_PERMANENT, _NODAD, _UP = 0x80, 0x02, 1
_UNIVERSE = 0

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")


class Address(NamedTuple):
    """An address of a link, as packed bytes; `local` is "" where it is the same as `address`."""

    family: int
    prefix: int
    address: bytes
    local: bytes
    broadcast: bytes


def get_link(name: str) -> Request:
    """Asks for one link; `index_of` reads the answer."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + text(_IFLA_IFNAME, name)
    return Request(_GETLINK, 0, body, f"link not found for interface {name} on runtime namespace")


def get_links() -> Request:
    """Dumps every link."""
    return Request(_GETLINK, 0, _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0), "list links")


def index_of(message: Message) -> int:
    """Of an RTM_NEWLINK answer."""
    index: int = _LINK.unpack_from(message.body)[2]
    return index


def set_state(index: int, up: bool) -> Request:
    """Up or down."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, index, _UP if up else 0, _UP)
    return Request(_NEWLINK, 0, body, f"set network device {index} {'up' if up else 'down'}")


def move(index: int, name: str, netns_fd: int) -> Request:
    """Into another namespace, with its name there in the same step."""
    body = (
        _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
        + text(_IFLA_IFNAME, name)
        + u32(_IFLA_NET_NS_FD, netns_fd)
    )
    return Request(_NEWLINK, 0, body, f"fail to move network device to {name}")


def get_addresses() -> Request:
    """Dumps the addresses of both families."""
    return Request(_GETADDR, 0, _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0), "list addresses")


def lasting(messages: Iterable[Message], link: int) -> Iterator[Address]:
    """The permanent addresses of global scope that a link has: the kernel takes them away when it moves."""
    for message in messages:
        family, prefix, flags, scope, index = _ADDRESS.unpack_from(message.body)
        found = parse_attributes(message.body[_ADDRESS.size :])
        if _IFA_FLAGS in found:
            flags = int.from_bytes(found[_IFA_FLAGS], "little")
        if index == link and flags & _PERMANENT and scope == _UNIVERSE and _IFA_ADDRESS in found:
            words = (found.get(kind, b"") for kind in (_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST))
            yield Address(family, prefix, *words)


def give(address: Address, index: int) -> Request:
    """The same address for a link of this namespace."""
    body = _ADDRESS.pack(address.family, address.prefix, 0, _UNIVERSE, index)
    body += attribute(_IFA_ADDRESS, address.address)
    if address.local:
        body += attribute(_IFA_LOCAL, address.local)
    if address.broadcast:
        body += attribute(_IFA_BROADCAST, address.broadcast)
    shown = socket.inet_ntop(address.family, address.local or address.address)
    return Request(
        _NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body, f"fail to set up address {shown}/{address.prefix}"
    )
