"""A network namespace that exists before any process does: made, its lo set up. It has no name: a bind mount on the host
would be copied into, and taken out of, the mount namespace of every container that starts later.

unshare(2) moves the calling thread alone: it is for a thread that ends afterwards (network_namespaces(7)).
"""

import fcntl
import os
import socket
import struct
from collections.abc import Mapping

from knarr.kernel import mounts
from knarr.kernel.process import CLONE_NEWNET, setns, unshare
from knarr.runtime.idmap import namespaces_of
from knarr.runtime.plan_namespaces import IdMap

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_IPV6 = "/proc/sys/net/ipv6/conf/default"
"""The networks have IPv4 only: an interface that is put here listens to no neighbour's router advertisement
(CVE-2020-13401) and has no address of IPv6 (CVE-2024-32473). lo is there already and keeps its own."""
_IPV4 = "/proc/sys/net/ipv4"
SYSCTLS = {"ip_unprivileged_port_start": "0", "ping_group_range": "0 2147483647"}
"""Docker's, of _IPV4. With a user namespace they depend on its ids, and are left to its container."""


def make() -> tuple[int, socket.socket]:
    """The calling thread moves into a new namespace: its descriptor, and a NETLINK_ROUTE socket in it."""
    unshare(CLONE_NEWNET)
    _set(_IPV4, SYSCTLS)
    return _furnish()


def make_owned(uids: IdMap, gids: IdMap, user: str) -> tuple[int, int, socket.socket]:
    """One that belongs to a new user namespace with these mappings, or to the one at path `user`: (user, network, socket).

    Its maker is another process: this one keeps the host's privileges, and moves into the network namespace alone.
    """
    owner, network = namespaces_of(uids, gids, user)
    setns(network, CLONE_NEWNET)
    os.close(network)
    return owner, *_furnish()


def enter(path: str) -> tuple[int, socket.socket]:
    """The calling thread moves into the namespace at `path`: its descriptor, and a NETLINK_ROUTE socket in it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, CLONE_NEWNET)
        return fd, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except OSError:
        os.close(fd)
        raise


def listen(path: str, address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """The calling thread moves into the namespace at `path` and binds a UDP and a TCP socket there."""
    fd, route = enter(path)
    os.close(fd)
    route.close()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        for sock in (udp, tcp):
            sock.setblocking(False)
            sock.bind((address, port))
    except OSError:
        udp.close()
        tcp.close()
        raise
    return udp, tcp


def _furnish() -> tuple[int, socket.socket]:
    """The calling thread stands in it."""
    _set(_IPV6, {"accept_ra": "0", "disable_ipv6": "1"})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC), route


def _set(place: str, settings: Mapping[str, str]) -> None:
    """Several of one directory: each namespace's have the same names, and the kernel looks through all of them for each
    path. Without IPv6 there is nothing to set."""
    try:
        directory = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        for name, value in settings.items():
            file = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
            try:
                os.write(file, value.encode())
            finally:
                os.close(file)
    finally:
        os.close(directory)


def unname(path: str) -> None:
    """Takes the name away that an earlier version bound here; the namespace lives as long as somebody is inside."""
    try:
        mounts.umount2(path, mounts.MNT_DETACH)
    except OSError as error:
        if not mounts.is_mount_error(error):
            raise
    os.unlink(path)
