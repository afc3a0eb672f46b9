"""nfnetlink_log: packets that rules with `log group N` tell of, as they were when the rule saw them."""

import errno
import socket
import struct
from collections.abc import Iterator

from knarr.kernel.netlink.codec import (
    NLM_F_ACK,
    NLMSG_ERROR,
    Request,
    attribute,
    pack,
    parse_attributes,
    parse_messages,
)

NETLINK_NETFILTER = 12
NFULNL_MSG_PACKET, NFULNL_MSG_CONFIG = 0x400, 0x401
NFULA_PAYLOAD = 9
NFULA_CFG_CMD, NFULA_CFG_MODE, NFULA_CFG_QTHRESH = 1, 2, 5
NFULNL_CFG_CMD_BIND = 1
NFULNL_COPY_PACKET = 2
_GENERIC = 4
_WHOLE = 0xFFFF
_RECEIVE = 1 << 18
_SO_RCVBUFFORCE = 33


def open_log(group: int) -> socket.socket:
    """A non-blocking socket that has a group for itself. Raises OSError with EPERM where another has it."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 22)
        for settings in (
            attribute(NFULA_CFG_CMD, bytes([NFULNL_CFG_CMD_BIND])),
            attribute(NFULA_CFG_MODE, struct.pack(">IBx", _WHOLE, NFULNL_COPY_PACKET))
            + attribute(NFULA_CFG_QTHRESH, struct.pack(">I", 1)),
        ):
            _configure(sock, group, settings)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _configure(sock: socket.socket, group: int, settings: bytes) -> None:
    body = struct.pack(">BBH", socket.AF_UNSPEC, 0, group) + settings
    sock.sendall(pack(Request(NFULNL_MSG_CONFIG, NLM_F_ACK, body, ""), 1))
    for message in parse_messages(sock.recv(_RECEIVE)):
        if message.type == NLMSG_ERROR:
            (code,) = struct.unpack_from("=i", message.body)
            if code:
                raise OSError(-code, "cannot listen to nfnetlink_log", f"group {group}")


def read_packets(sock: socket.socket) -> Iterator[bytes]:
    """The packets that wait; some may have been lost."""
    while True:
        try:
            data = sock.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                continue
            raise
        for message in parse_messages(data):
            if message.type == NFULNL_MSG_PACKET:
                payload = parse_attributes(message.body[_GENERIC:]).get(NFULA_PAYLOAD)
                if payload:
                    yield payload
