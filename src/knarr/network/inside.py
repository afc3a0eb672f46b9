"""The container's side of an endpoint: its sysctls, addresses and routes, and links that are the container's own.

rtnetlink goes over a socket that was opened in the namespace; sysctls need a thread there, which lives for that alone.
Blocking; callers lock.
"""

import errno
import socket
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

from knarr.kernel.netlink import codec, route
from knarr.kernel.process import CLONE_NEWNET, setns
from knarr.model.errors import Invalid
from knarr.network.plan import Action, EndpointPlan, routes

_Argument = Mapping[str, Any]
_INSIDE: dict[str, Callable[[int, _Argument], codec.Request]] = {
    "no-link-local": lambda _, given: route.set_no_link_local(given["name"]),
    "up": lambda _, given: route.set_up(given["name"]),
    "address": lambda ifindex, given: route.new_address(
        ifindex, given["address"], given["prefix"], given["broadcast"]
    ),
    "route": lambda ifindex, given: route.new_default_route(given["gateway"], ifindex, six=given["six"]),
}


def wire(sock: socket.socket, interface: str, actions: Collection[Action]) -> int:
    """Addresses and routes in one exchange; returns the interface's index."""
    ifindex = _index(sock, interface)
    codec.exchange(sock, [_INSIDE[each.name](ifindex, each.arguments) for each in actions])
    return ifindex


def lead(sock: socket.socket, plan: EndpointPlan) -> None:
    """Replaces the default routes of the families that the endpoint leads."""
    ifindex = _index(sock, plan.interface)
    found = list(routes(plan))
    wanted = [
        route.new_default_route(each["gateway"], ifindex, replace=True, six=each["six"]) for each in found
    ]
    for each in found:
        if each["six"]:
            follow(sock, six=True)  # IPv6's REPLACE replaces only a route by the same link
    codec.exchange(sock, wanted)


def follow(sock: socket.socket, *, six: bool) -> None:
    """Takes the default routes of a family away; none is no error."""
    codec.prepare(sock)
    while True:
        try:
            codec.exchange(sock, [route.delete_default_route(six=six)])
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.ENOENT, errno.EAFNOSUPPORT):
                return
            raise


def unplug(sock: socket.socket, interface: str) -> None:
    """Deletes a link that is the container's own; one that is gone is no error."""
    codec.prepare(sock)
    try:
        codec.exchange(sock, [route.delete_link(interface)])
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def set_sysctls(netns_fd: int, actions: Collection[Action]) -> None:
    """Writes sysctls of a network namespace. Raises Invalid for a file that there is not."""
    failure: list[BaseException] = []

    def work() -> None:
        try:
            setns(netns_fd, CLONE_NEWNET)
            for each in actions:
                _write(f"/proc/sys/{each.arguments['file']}", each.arguments["value"])
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, name="sysctls")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


def _write(path: str, value: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(value)
    except FileNotFoundError:
        raise Invalid(f"{path} is not a sysctl file") from None
    except OSError as error:
        raise Invalid(f"unable to set {path} to {value}: {(error.strerror or '').lower()}") from None


def _index(sock: socket.socket, interface: str) -> int:
    codec.prepare(sock)
    (answer,) = codec.exchange(sock, [route.get_link(interface)])
    return route.parse_link(answer).ifindex
