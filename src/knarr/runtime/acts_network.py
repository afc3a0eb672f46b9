"""The loopback device comes up, and devices of the host move into the container's network namespace, with their addresses.

The walk is in the container's namespace already; the host's is asked through a socket that the parent opened there.
"""

import os
import socket
from collections.abc import Mapping
from typing import Any

from knarr.kernel.netlink import moving
from knarr.kernel.netlink.codec import dump, exchange, open_route
from knarr.kernel.process import CLONE_NEWNET, setns
from knarr.model.errors import Invalid
from knarr.runtime.state import Walk


def host_route(linux: Mapping[str, Any]) -> socket.socket | None:
    """For `Walk.host_route`: opened by the parent, in the host's network namespace, if any device is to move."""
    return open_route() if linux.get("netDevices") else None


def loopback(walk: Walk) -> None:
    """The first device of every network namespace (drivers/net/loopback.c)."""
    with open_route() as ours:
        exchange(ours, [moving.set_state(1, up=True)])


def net_device(walk: Walk, name: str, wish: str) -> None:
    """The walk is where the device goes."""
    if walk.host_route is None:
        raise Invalid(f"network device {name}: nobody opened the host's network namespace")
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with open_route() as ours:
            _move(walk.host_route, ours, namespace, name, wish)
    finally:
        os.close(namespace)


def move_devices(host: socket.socket, pid: int, devices: Mapping[str, Any]) -> None:
    """To a process in a user namespace, which has no right to the host's devices: its caller does it, before it goes on."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(namespace, CLONE_NEWNET)
        try:
            ours = open_route()
        finally:
            setns(own, CLONE_NEWNET)
        with ours:
            for name, device in devices.items():
                _move(host, ours, namespace, name, (device or {}).get("name") or name)
    finally:
        os.close(own)
        os.close(namespace)


def _move(host: socket.socket, ours: socket.socket, namespace: int, name: str, wish: str) -> None:
    """Down (which takes IPv6 addresses away at once), moved and renamed in one step, addressed again, up."""
    (link,) = exchange(host, [moving.get_link(name)])
    index = moving.index_of(link)
    addresses = list(moving.lasting(dump(host, moving.get_addresses()), index))
    exchange(host, [moving.set_state(index, up=False)])
    before = {moving.index_of(message) for message in dump(ours, moving.get_links())}
    exchange(host, [moving.move(index, wish, namespace)])
    links = {moving.index_of(message) for message in dump(ours, moving.get_links())}
    (arrived,) = links - before
    requests = [moving.give(address, arrived) for address in addresses]
    exchange(ours, [*requests, moving.set_state(arrived, up=True)])
