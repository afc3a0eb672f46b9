"""The links of this room: bridges and veth pairs, by rtnetlink and sysctl files. Blocking; callers lock."""

import contextlib
import errno
import functools
import os
import socket
import zlib
from collections.abc import Iterable

from knarr.kernel.netlink import codec, route
from knarr.model.errors import Denied
from knarr.network.config import NetworkConfig
from knarr.network.plan import EndpointPlan, broadcast_of, mac_of, ours
from knarr.network.rules import with_address

# Deleting a link waits 15 to 20 ms for RCU, however many links go at once: they are condemned one by one and reaped
# together. Daemons share the group; reaping each other's condemned links does no harm.
_CONDEMNED = 0x6B6E6172
_LEAST_MTU = 1280
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class Links:
    """Works in the network namespace of the thread that made it, over `socket`; sysctls in that of the calling thread."""

    def __init__(self, *, forward: bool = True) -> None:
        self.socket = codec.open_route()
        self._forward = forward
        self._bridges: dict[str, int] = {}

    def close(self) -> None:
        """Closes the netlink socket."""
        self.socket.close()

    def find(self, name: str) -> route.Link | None:
        """A link by name, None if there is none."""
        try:
            (answer,) = codec.exchange(self.socket, [route.get_link(name)])
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
        links = (route.parse_link(each) for each in codec.dump(self.socket, route.get_links()))
        return [each for each in links if each.master == found.ifindex and ours(each.name)]

    def ensure_bridge(self, config: NetworkConfig) -> bool:
        """Makes the bridge if it is missing and sets its addresses and sysctls; tells whether it was made.

        Raises Denied where a link of that name is something else.
        """
        found = self.find(config.bridge)
        if found is None:
            codec.exchange(self.socket, [route.new_bridge(config.bridge, _mac(config), config.mtu)])
        elif found.kind != "bridge":
            raise Denied(f"existing interface {config.bridge} is not a bridge")
        bridge = found or self.find(config.bridge)
        if bridge is None:
            raise OSError(errno.ENODEV, "the bridge vanished while it was made", config.bridge)
        if config.gateway6:
            _speak_ipv6(config)
        self._set_addresses(config, bridge.ifindex)
        if not config.gateway6:
            _forgo_ipv6(config.bridge)
        codec.exchange(self.socket, [route.set_up(config.bridge)])
        _write_sysctl(f"ipv4/conf/{config.bridge}/route_localnet", "1")
        if self._forward and not config.internal:
            _write_sysctl("ipv4/ip_forward", "1")
        self._bridges[config.bridge] = bridge.ifindex
        return found is None

    def enslave(self, plans: Iterable[EndpointPlan]) -> None:
        """Puts living veths back at a bridge that was made again; those that are gone are skipped."""
        for plan in plans:
            if self.find(plan.veth) is not None:
                master = route.set_master(plan.veth, self._bridges[plan.network.bridge])
                codec.exchange(self.socket, [master, _port(plan)])

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
        codec.exchange(self.socket, [pair, _port(plan)])

    def delete(self, name: str) -> bool:
        """Removes a link; False if there was none."""
        try:
            codec.exchange(self.socket, [route.delete_link(name)])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    def condemn(self, name: str) -> bool:
        """Unplugs a link and leaves it to `reap`; False if there was none."""
        try:
            codec.exchange(self.socket, [route.condemn(name, _CONDEMNED)])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    def forget(self, bridge: str, *, kept: bool) -> bool:
        """Removes a bridge, unless it was there before us or is none; tells whether it did."""
        self._bridges.pop(bridge, None)
        found = self.find(bridge)
        if kept or found is None or found.kind != "bridge":
            return False
        return self.delete(bridge)

    def subnets(self) -> tuple[str, ...]:
        """The subnets of the host's routes, default routes and links' own addresses excepted."""
        answers = [codec.dump(self.socket, route.get_routes(family)) for family in _FAMILIES]
        return tuple(
            f"{each.destination}/{each.prefix}"
            for routes in answers
            for each in route.parse_routes(routes)
            if each.prefix
            and each.table != route.RT_TABLE_LOCAL
            and not each.destination.startswith(("fe80:", "ff00:"))
        )

    def _set_addresses(self, config: NetworkConfig, ifindex: int) -> None:
        wanted = []
        if with_address(config):
            wanted.append((config.gateway, int(config.subnet.partition("/")[2])))
        if config.gateway6:
            wanted.append((config.gateway6, int(config.subnet6.partition("/")[2])))
        answers = [
            each for family in _FAMILIES for each in codec.dump(self.socket, route.get_addresses(family))
        ]
        present = {
            (ip, prefix)
            for index, ip, prefix in route.parse_addresses(answers)
            if index == ifindex and not ip.startswith("fe80:")
        }
        changes = [route.delete_address(ifindex, *each) for each in sorted(present - set(wanted))]
        changes += [
            route.new_address(
                ifindex, *each, broadcast_of(f"{config.subnet if ':' not in each[0] else '::/0'}")
            )
            for each in wanted
            if each not in present
        ]
        if changes:
            codec.exchange(self.socket, changes)


def _mac(config: NetworkConfig) -> str:
    """It stays the same when ports come and go."""
    return (
        mac_of(config.gateway) if config.gateway else "02:42:" + _digits(zlib.crc32(config.bridge.encode()))
    )


def _port(plan: EndpointPlan) -> codec.Request:
    # With bridge-nf-call-iptables the firewall's forward chain keeps containers apart, and a packet to a published port
    # is translated while it is bridged: an isolated port would lose it.
    isolated = not plan.network.icc and not _bridged_packets_are_filtered()
    # The host's end speaks to nobody: with an address it would have three routes, which whoever takes a link up or down
    # walks through, ask for routers, and tell of multicast groups. A link that is too narrow for IPv6 (RFC 8200, 5) has none.
    six = plan.network.mtu >= _LEAST_MTU and _knows_ipv6()
    return route.set_bridge_port(plan.veth, hairpin=True, isolated=isolated, link_local=not six)


@functools.cache
def _knows_ipv6() -> bool:
    """Asked once: with many namespaces around, paths of sysctls are slow."""
    return os.path.exists("/proc/sys/net/ipv6")


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


def _digits(number: int) -> str:
    return ":".join(f"{byte:02x}" for byte in number.to_bytes(4, "big"))


def _forgo_ipv6(bridge: str) -> None:
    """The host must not take a container for its router (CVE-2020-13401); the bridge has IPv4 only."""
    with contextlib.suppress(FileNotFoundError):
        _write_sysctl(f"ipv6/conf/{bridge}/accept_ra", "0")
        _write_sysctl(f"ipv6/conf/{bridge}/disable_ipv6", "1")


def _speak_ipv6(config: NetworkConfig) -> None:
    """A host that forwards listens to its own router no more, unless it is told to (accept_ra 2)."""
    _write_sysctl(f"ipv6/conf/{config.bridge}/accept_ra", "0")
    _write_sysctl(f"ipv6/conf/{config.bridge}/disable_ipv6", "0")
    if config.internal:
        return
    if _read_sysctl("ipv6/conf/all/forwarding") != "1":
        for name in os.listdir("/proc/sys/net/ipv6/conf"):
            if name != "all" and _read_sysctl(f"ipv6/conf/{name}/accept_ra") == "1":
                _write_sysctl(f"ipv6/conf/{name}/accept_ra", "2")
    _write_sysctl("ipv6/conf/default/forwarding", "1")
    _write_sysctl("ipv6/conf/all/forwarding", "1")


def _read_sysctl(name: str) -> str:
    try:
        with open(f"/proc/sys/net/{name}", encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _write_sysctl(name: str, value: str) -> None:
    path = f"/proc/sys/net/{name}"
    with open(path, "r+", encoding="ascii") as file:
        if file.read().strip() != value:
            file.seek(0)
            file.write(value)
