"""nf_tables' notifications: which tables lost something, and which changed."""

import errno
import socket
from typing import NamedTuple

from knarr.kernel.netlink.codec import parse_attributes, parse_messages

NETLINK_NETFILTER = 12
NFNLGRP_NFTABLES = 7
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE = 2, 5, 8
NFT_MSG_NEWTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE = 0, 3, 6
NFTA_TABLE = 1
NETLINK_ADD_MEMBERSHIP = 1
SOL_NETLINK = 270
_LOSSES = {NFNL_SUBSYS_NFTABLES << 8 | kind for kind in (NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE)}
_CHANGES = _LOSSES | {
    NFNL_SUBSYS_NFTABLES << 8 | kind for kind in (NFT_MSG_NEWTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE)
}
_GENERIC = 4
_RECEIVE = 1 << 18


def open_events() -> socket.socket:
    """A non-blocking socket that hears of every change of nf_tables in this thread's network namespace."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    sock = socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
    try:
        sock.bind((0, 0))
        sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
    except BaseException:
        sock.close()
        raise
    return sock


class News(NamedTuple):
    """Tables by name: those that `lost` a rule, a chain or themselves, and those whose chains or rules are `other` now."""

    lost: frozenset[str]
    other: frozenset[str]


def read_news(sock: socket.socket) -> News | None:
    """What waits at the socket; None if some news was dropped."""
    lost: set[str] = set()
    other: set[str] = set()
    while True:
        try:
            data = sock.recv(_RECEIVE)
        except BlockingIOError:
            return News(frozenset(lost), frozenset(other))
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return None
            raise
        for message in parse_messages(data):
            if message.type in _CHANGES:
                name = parse_attributes(message.body[_GENERIC:]).get(NFTA_TABLE, b"")
                table = name.rstrip(b"\0").decode(errors="replace")
                other.add(table)
                if message.type in _LOSSES:
                    lost.add(table)
