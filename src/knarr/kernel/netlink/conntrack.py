"""Connection tracking by nfnetlink: finding and deleting the flows to a port."""

import socket
import struct

from knarr.kernel.netlink.codec import (
    Message,
    Request,
    attribute,
    dump,
    exchange,
    nested,
    parse_attributes,
    prepare,
    u8,
    u32,
)

NETLINK_NETFILTER = 12
IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE = 0x101, 0x102
CTA_TUPLE_ORIG, CTA_ID, CTA_FILTER = 1, 12, 25
CTA_TUPLE_PROTO, CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 2, 1, 3
CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS = 1, 2
CTA_FILTER_F_PROTO_NUM, CTA_FILTER_F_PROTO_DST_PORT = 0x8, 0x20
_NESTED = 0x8000


def open_netfilter() -> socket.socket:
    """A NETLINK_NETFILTER socket in this thread's network namespace."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    try:
        prepare(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def delete_flows(sock: socket.socket, protocol: int, port: int, family: int = socket.AF_INET) -> int:
    """Deletes the flows of a family that were sent to a port, whatever they were translated to; returns how many."""
    answers = (each for each in dump(sock, _flows_to(family, protocol, port)) if _is_to(each, protocol, port))
    requests = [_deletion(each, family) for each in answers]
    gone = 0
    for request in requests:
        try:
            exchange(sock, [request])
            gone += 1
        except FileNotFoundError:
            continue
    return gone


def _flows_to(family: int, protocol: int, port: int) -> Request:
    """The kernel filters from 5.8 on; an older one answers with everything."""
    flags = CTA_FILTER_F_PROTO_NUM | CTA_FILTER_F_PROTO_DST_PORT
    service = nested(
        CTA_TUPLE_PROTO, u8(CTA_PROTO_NUM, protocol), attribute(CTA_PROTO_DST_PORT, port.to_bytes(2, "big"))
    )
    body = (
        struct.pack("=BBH", family, 0, 0)
        + nested(CTA_TUPLE_ORIG, service)
        + nested(CTA_FILTER, u32(CTA_FILTER_ORIG_FLAGS, flags), u32(CTA_FILTER_REPLY_FLAGS, 0))
    )
    return Request(IPCTNL_MSG_CT_GET, 0, body, f"list the flows to port {port}")


def _is_to(message: Message, protocol: int, port: int) -> bool:
    origin = parse_attributes(parse_attributes(message.body[4:])[CTA_TUPLE_ORIG])
    service = parse_attributes(origin.get(CTA_TUPLE_PROTO, b""))
    return service.get(CTA_PROTO_NUM) == bytes([protocol]) and service.get(
        CTA_PROTO_DST_PORT
    ) == port.to_bytes(2, "big")


def _deletion(message: Message, family: int) -> Request:
    found = parse_attributes(message.body[4:])
    body = (
        struct.pack("=BBH", family, 0, 0)
        + attribute(CTA_TUPLE_ORIG | _NESTED, found[CTA_TUPLE_ORIG])
        + attribute(CTA_ID, found[CTA_ID])
    )
    return Request(IPCTNL_MSG_CT_DELETE, 0, body, "delete a flow")
