"""nf_tables' notifications: which tables lost something."""

import errno
import socket
from collections.abc import Iterator

from knarr.kernel.netlink.codec import parse_attributes, parse_messages

NETLINK_NETFILTER = 12
NFNLGRP_NFTABLES = 7
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE = 2, 5, 8
NFTA_TABLE = 1
NETLINK_ADD_MEMBERSHIP = 1
SOL_NETLINK = 270
_LOSSES = {NFNL_SUBSYS_NFTABLES << 8 | kind for kind in (NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE)}
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


def read_losses(sock: socket.socket) -> set[str] | None:
    """The tables that lost a rule, a chain or themselves, by what waits at the socket; None if some news was dropped."""
    tables: set[str] = set()
    while True:
        try:
            data = sock.recv(_RECEIVE)
        except BlockingIOError:
            return tables
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return None
            raise
        tables.update(_losses(data))


def _losses(data: bytes) -> Iterator[str]:
    for message in parse_messages(data):
        if message.type in _LOSSES:
            name = parse_attributes(message.body[_GENERIC:]).get(NFTA_TABLE, b"")
            yield name.rstrip(b"\0").decode(errors="replace")
