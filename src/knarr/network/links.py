"""The links of this room: bridges and veth pairs, by rtnetlink and sysctl files. Blocking; callers lock."""

import contextlib
import errno
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from knarr.kernel.netlink import codec, route
from knarr.network.plan import Action, EndpointPlan, NetworkConfig, broadcast_of, mac_of, ours

_Argument = Mapping[str, Any]
# Deleting a link waits 15 to 20 ms for RCU, however many links go at once: they are condemned one by one and reaped
# together. Daemons share the group; reaping each other's condemned links does no harm.
_CONDEMNED = 0x6B6E6172
_INSIDE: dict[str, Callable[[int, _Argument], codec.Request]] = {
    "no-link-local": lambda _, given: route.set_no_link_local(given["name"]),
    "up": lambda _, given: route.set_up(given["name"]),
    "address": lambda ifindex, given: route.new_address(
        ifindex, given["address"], given["prefix"], given["broadcast"]
    ),
    "route": lambda ifindex, given: route.new_default_route(given["gateway"], ifindex),
}


class Links:
    """Works in the network namespace of the thread that made it; sysctls in that of the calling thread."""

    def __init__(self) -> None:
        self._socket = codec.open_route()
        self._bridges: dict[str, int] = {}

    def close(self) -> None:
        """Closes the netlink socket."""
        self._socket.close()

    def find(self, name: str) -> route.Link | None:
        """A link by name, None if there is none."""
        try:
            (answer,) = codec.exchange(self._socket, [route.get_link(name)])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return route.parse_link(answer)

    def ports(self, bridge: str) -> list[route.Link]:
        """The links at a bridge that are ours."""
        found = self.find(bridge)
        if found is None:
            return []
        links = (route.parse_link(each) for each in codec.dump(self._socket, route.get_links()))
        return [each for each in links if each.master == found.ifindex and ours(each.name)]

    def ensure_bridge(self, config: NetworkConfig) -> bool:
        """Makes the bridge if it is missing and sets its address and sysctls; tells whether it was made."""
        found = self.find(config.bridge)
        if found is None:
            codec.exchange(
                self._socket, [route.new_bridge(config.bridge, mac_of(config.gateway), config.mtu)]
            )
        bridge = found or self.find(config.bridge)
        if bridge is None:
            raise OSError(errno.ENODEV, "the bridge vanished while it was made", config.bridge)
        self._set_address(config, bridge.ifindex)
        _forgo_ipv6(config.bridge)
        codec.exchange(self._socket, [route.set_up(config.bridge)])
        _write_sysctl(f"ipv4/conf/{config.bridge}/route_localnet", "1")
        if not config.internal:
            _write_sysctl("ipv4/ip_forward", "1")
        self._bridges[config.bridge] = bridge.ifindex
        return found is None

    def enslave(self, plans: Iterable[EndpointPlan]) -> None:
        """Puts living veths back at a bridge that was made again; those that are gone are skipped."""
        for plan in plans:
            if self.find(plan.veth) is not None:
                master = route.set_master(plan.veth, self._bridges[plan.network.bridge])
                codec.exchange(self._socket, [master, _port(plan)])

    def plug(self, plan: EndpointPlan, netns_fd: int) -> None:
        """The host's side: the veth pair and its port at the bridge. What an interrupted try left is replaced."""
        try:
            self._plug(plan, netns_fd)
        except FileExistsError:
            reap()
            self.delete(plan.veth)
            self._plug(plan, netns_fd)

    def _plug(self, plan: EndpointPlan, netns_fd: int) -> None:
        network = plan.network
        master = self._bridges.get(network.bridge)
        if master is None:
            raise OSError(errno.ENODEV, "the bridge was not set up", network.bridge)
        pair = route.new_veth(plan.veth, plan.interface, plan.mac, netns_fd, master, network.mtu)
        codec.exchange(self._socket, [pair, _port(plan)])

    def delete(self, name: str) -> bool:
        """Removes a link; False if there was none."""
        try:
            codec.exchange(self._socket, [route.delete_link(name)])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    def condemn(self, name: str) -> bool:
        """Unplugs a link and leaves it to `reap`; False if there was none."""
        try:
            codec.exchange(self._socket, [route.condemn(name, _CONDEMNED)])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    def forget(self, bridge: str) -> bool:
        """Removes a bridge; False if there was none."""
        self._bridges.pop(bridge, None)
        return self.delete(bridge)

    def subnets(self) -> tuple[str, ...]:
        """The subnets of the host's routes, the default route excepted."""
        routes = route.parse_routes(codec.dump(self._socket, route.get_routes()))
        return tuple(
            f"{each.destination}/{each.prefix}"
            for each in routes
            if each.prefix and each.table != route.RT_TABLE_LOCAL
        )

    def _set_address(self, config: NetworkConfig, ifindex: int) -> None:
        answers = codec.dump(self._socket, route.get_addresses())
        present = {(ip, prefix) for index, ip, prefix in route.parse_addresses(answers) if index == ifindex}
        wanted = (config.gateway, config.prefix)
        stale = [route.delete_address(ifindex, *each) for each in sorted(present - {wanted})]
        if wanted not in present:
            stale.append(route.new_address(ifindex, *wanted, broadcast_of(config)))
        if stale:
            codec.exchange(self._socket, stale)


def _port(plan: EndpointPlan) -> codec.Request:
    # With bridge-nf-call-iptables the firewall's forward chain keeps containers apart, and a packet to a published port
    # is translated while it is bridged: an isolated port would lose it.
    isolated = not plan.network.icc and not _bridged_packets_are_filtered()
    return route.set_bridge_port(plan.veth, hairpin=True, isolated=isolated)


def _bridged_packets_are_filtered() -> bool:
    try:
        with open("/proc/sys/net/bridge/bridge-nf-call-iptables", encoding="ascii") as file:
            return file.read().strip() == "1"
    except FileNotFoundError:
        return False


def reap() -> None:
    """Deletes the condemned links. Needs no lock: it has a socket of its own."""
    with codec.open_route() as sock:
        try:
            codec.exchange(sock, [route.delete_group(_CONDEMNED)])
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise


def wire(sock: socket.socket, interface: str, actions: Collection[Action]) -> int:
    """The container's side, over a socket inside its namespace, in one exchange; returns the interface's index."""
    codec.prepare(sock)
    (answer,) = codec.exchange(sock, [route.get_link(interface)])
    ifindex = route.parse_link(answer).ifindex
    codec.exchange(sock, [_INSIDE[each.name](ifindex, each.arguments) for each in actions])
    return ifindex


def lead(sock: socket.socket, interface: str, gateway: str) -> None:
    """Replaces the default route, over a socket inside the namespace."""
    codec.prepare(sock)
    (answer,) = codec.exchange(sock, [route.get_link(interface)])
    index = route.parse_link(answer).ifindex
    codec.exchange(sock, [route.new_default_route(gateway, index, replace=True)])


def _forgo_ipv6(bridge: str) -> None:
    """The host must not take a container for its router (CVE-2020-13401); the bridge has IPv4 only."""
    with contextlib.suppress(FileNotFoundError):
        _write_sysctl(f"ipv6/conf/{bridge}/accept_ra", "0")
        _write_sysctl(f"ipv6/conf/{bridge}/disable_ipv6", "1")


def _write_sysctl(name: str, value: str) -> None:
    path = f"/proc/sys/net/{name}"
    with open(path, "r+", encoding="ascii") as file:
        if file.read().strip() != value:
            file.seek(0)
            file.write(value)
