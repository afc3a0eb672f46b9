"""SOCK_SEQPACKET sockets with descriptors in SCM_RIGHTS, and what a peer is (unix(7))."""

import array
import os
import socket
import struct

MAX_FDS = 16
MAX_PACKET = 1 << 20


def socketpair() -> tuple[socket.socket, socket.socket]:
    """A connected pair of packet sockets; both close-on-exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send_packet(sock: socket.socket, data: bytes, fds: "tuple[int, ...] | list[int]" = ()) -> None:
    """One packet with descriptors; they stay the caller's. Blocks as the socket does."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)


def recv_packet(sock: socket.socket, limit: int = MAX_PACKET) -> tuple[bytes, list[int]]:
    """One packet and its descriptors, close-on-exec and the caller's to close; (b"", []) at the end.

    A packet that is longer than `limit` or carries too many descriptors is an OSError, and its descriptors are closed; so
    are those of an empty packet, which looks like the end.
    """
    data, ancillary, flags, _ = sock.recvmsg(limit, socket.CMSG_SPACE(MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    truncated = flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
    if truncated or not data:
        for fd in fds:
            os.close(fd)
        if truncated:
            raise OSError(90, "packet too long or too many descriptors")  # EMSGSIZE
        return b"", []
    return data, list(fds)


def peer(sock: socket.socket) -> tuple[int, int, int]:
    """The pid, uid and gid at the other end (SO_PEERCRED)."""
    pid, uid, gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid, gid
