"""The host's links that macvlan and ipvlan networks hang on: looked for, and made where they are ours to make.

Ours are a dummy of the network's own (`dm-` or `di-` and its id) and a VLAN of an existing link (`eth0.10`). Docker's
words. Blocking; callers lock.
"""

import errno
import os
import socket
from collections.abc import Iterable

from knarr.kernel.netlink import codec, route
from knarr.network.config import NetworkConfig, dummy_name
from knarr.network.errors import ParentMissing
from knarr.network.plan import EndpointPlan

_LAST_VLAN = 4094


def ensure(sock: socket.socket, config: NetworkConfig) -> None:
    """Makes the parent if it is missing. Raises ParentMissing."""
    if find(sock, config.bridge) is not None:
        return
    if config.bridge == dummy_name(config.driver, config.id):
        request = route.new_dummy(config.bridge)
        words = ""
    else:
        parent, number = _vlan(sock, config.bridge)
        request = route.new_vlan(config.bridge, parent, number)
        words = f"failed to create {config.bridge} vlan link: "
    try:
        codec.exchange(sock, [request])
    except OSError as error:
        raise ParentMissing(words + os.strerror(error.errno or errno.EINVAL).lower()) from error


def remove(
    sock: socket.socket, config: NetworkConfig, others: Iterable[NetworkConfig], *, kept: bool
) -> None:
    """Deletes a parent that is not to be kept, if no other network hangs on it."""
    if not kept and not any(each.bridge == config.bridge and each.id != config.id for each in others):
        try:
            codec.exchange(sock, [route.delete_link(config.bridge)])
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise


def plug(sock: socket.socket, plan: EndpointPlan, netns_fd: int) -> None:
    """Makes the container's link in its namespace. Raises ParentMissing."""
    network = plan.network
    parent = find(sock, network.bridge)
    if parent is None:
        raise ParentMissing(
            f"the requested parent interface {network.bridge} was not found on the Docker host"
        )
    options = (
        route.macvlan_options(network.mode)
        if network.driver == "macvlan"
        else route.ipvlan_options(network.mode, network.flag)
    )
    request = route.new_on_parent(network.driver, plan.interface, parent.ifindex, netns_fd, options, plan.mac)
    try:
        codec.exchange(sock, [request, *([] if parent.up else [route.set_up(network.bridge)])])
    except OSError as error:
        reason = os.strerror(error.errno or errno.EINVAL).lower()
        raise ParentMissing(f"failed to create the {network.driver} port: {reason}") from error


def find(sock: socket.socket, name: str) -> route.Link | None:
    """A link by name, None if there is none."""
    try:
        (answer,) = codec.exchange(sock, [route.get_link(name)])
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ERANGE):
            return None
        raise
    return route.parse_link(answer)


def _vlan(sock: socket.socket, name: str) -> tuple[int, int]:
    """The link that "eth0.10" is a VLAN of, and the VLAN's number."""
    base, dot, number = name.partition(".")
    if not dot:
        raise ParentMissing(f"invalid subinterface vlan name {name}, example formatting is eth0.10")
    if "." in number:
        raise ParentMissing(
            f"required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received {name}"
        )
    if not number.isdecimal():
        raise ParentMissing(f"unable to parse a valid vlan id from: {number} (ex. eth0.10 for vlan 10)")
    parent = find(sock, base)
    if parent is None:
        raise ParentMissing(f"-o parent interface was not found on the host: {base}")
    if not 1 <= int(number) <= _LAST_VLAN:
        raise ParentMissing(f"vlan id must be between 1-4094, received: {int(number)}")
    return parent.ifindex, int(number)
