"""The loopback device comes up, and devices of the host move into the container's network namespace, with their addresses.

The walk is in the container's namespace already; the host's is asked through a socket that the parent opened there.
"""

import os
import socket
from collections.abc import Mapping
from typing import Any

from knarr.kernel.netlink import moving
from knarr.kernel.netlink.codec import dump, exchange, open_route
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
    """Down (which takes IPv6 addresses away at once), moved and renamed in one step, addressed again, up."""
    host = walk.host_route
    if host is None:
        raise Invalid(f"network device {name}: nobody opened the host's network namespace")
    (link,) = exchange(host, [moving.get_link(name)])
    index = moving.index_of(link)
    addresses = list(moving.lasting(dump(host, moving.get_addresses()), index))
    exchange(host, [moving.set_state(index, up=False)])
    with open_route() as ours:
        before = {moving.index_of(message) for message in dump(ours, moving.get_links())}
        namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            exchange(host, [moving.move(index, wish, namespace)])
        finally:
            os.close(namespace)
        links = {moving.index_of(message) for message in dump(ours, moving.get_links())}
        (arrived,) = links - before
        requests = [moving.give(address, arrived) for address in addresses]
        exchange(ours, [*requests, moving.set_state(arrived, up=True)])
