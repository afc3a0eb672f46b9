"""The host ports that this daemon holds: each is a bound socket, so that nobody else takes it and a taken one is seen.

`reserve` is all or nothing. Binding does not block, so everything here runs on the event loop's thread.
"""

import errno
import os
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from knarr.model.errors import Unsupported
from knarr.model.ports import Port, PortBinding, Published
from knarr.network.addresses import PortPool
from knarr.network.errors import PortTaken
from knarr.network.publishing import Hosts
from knarr.network.relay import Relay

_ANY = ("0.0.0.0", "::", "")
_TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_IPPROTO_SCTP = 132


@dataclass(slots=True)
class _Hold:
    """One held port; a routed one needs no socket."""

    published: Published
    sock: socket.socket | None = None
    relay: Relay | None = None

    def close(self) -> None:
        if self.relay is not None:
            self.relay.close()
        if self.sock is not None:
            self.sock.close()


class HostPorts:
    """Sockets by endpoint id."""

    def __init__(self, pool: PortPool, *, relay: bool = True) -> None:
        self._pool = pool
        self._relay = relay
        self._held: dict[str, list[_Hold]] = {}

    def reserve(
        self, endpoint_id: str, bindings: Sequence[PortBinding], endpoint: str, hosts: Hosts
    ) -> tuple[Published, ...]:
        """Binds every wish, adding to what the endpoint holds. Raises PortTaken; then nothing new is held."""
        fresh: list[_Hold] = []
        try:
            for binding in bindings:
                fresh += self._bind_wish(binding, fresh, hosts)
        except OSError as error:
            _close(fresh)
            raise PortTaken(endpoint, endpoint_id, error.strerror or str(error)) from error
        except BaseException:
            _close(fresh)
            raise
        if fresh:
            self._held.setdefault(endpoint_id, []).extend(fresh)
        return tuple(hold.published for hold in fresh)

    def hold(self, endpoint_id: str, facts: Iterable[Published]) -> tuple[Published, ...]:
        """Binds known facts again after a restart; returns those that another program has taken meanwhile."""
        mine = self._held.setdefault(endpoint_id, [])
        present = {each.published for each in mine}
        lost: list[Published] = []
        for fact in facts:
            if fact not in present:
                try:
                    mine.append(_bind(fact))
                except OSError:
                    lost.append(fact)
        return tuple(lost)

    def connect(self, endpoint_id: str, address: str, address6: str = "") -> None:
        """From now on, what reaches the sockets themselves is carried to the container, by its address of the same family if
        it has one."""
        for hold in self._held.get(endpoint_id, ()) if self._relay else ():
            if hold.relay is None and hold.sock is not None and hold.published.port.protocol in _TYPES:
                six = hold.sock.family == socket.AF_INET6
                target = (address6 or address) if six else (address or address6)
                hold.relay = Relay(hold.sock, (target, hold.published.port.number))

    def disconnect(self, endpoint_id: str) -> None:
        """Stops carrying; the ports stay held."""
        for hold in self._held.get(endpoint_id, ()):
            if hold.relay is not None:
                hold.relay.close()
                hold.relay = None

    def release(self, endpoint_id: str) -> None:
        """Closes the endpoint's sockets; unknown ids are ignored."""
        _close(self._held.pop(endpoint_id, ()))

    def give_up(self, endpoint_id: str, facts: Collection[Published]) -> None:
        """Closes some of the endpoint's sockets."""
        held = self._held.get(endpoint_id, [])
        _close(each for each in held if each.published in facts)
        held[:] = [each for each in held if each.published not in facts]

    def move(self, endpoint_id: str, heir: str) -> None:
        """Another endpoint of the same container has the ports from now on; nothing is closed meanwhile."""
        self.disconnect(endpoint_id)
        self._held.setdefault(heir, []).extend(self._held.pop(endpoint_id, ()))

    def close(self) -> None:
        """Closes all sockets."""
        for endpoint_id in tuple(self._held):
            self.release(endpoint_id)

    def _bind_wish(self, binding: PortBinding, fresh: Sequence[_Hold], hosts: Hosts) -> list[_Hold]:
        choices = self._pool.candidates() if binding.first == 0 else _range(binding)
        refusal: OSError | None = None
        for number in choices:
            try:
                return _bind_all(binding, number, hosts)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise _sentence(binding.port, binding.host_ip, number, error) from error
                refusal = self._explain(binding, number, error, fresh)
        if refusal is None or binding.first != binding.last:
            raise OSError(errno.EADDRINUSE, "all ports are allocated") from refusal
        raise refusal

    def _explain(self, binding: PortBinding, number: int, error: OSError, fresh: Sequence[_Hold]) -> OSError:
        for hold in (*fresh, *(each for held in self._held.values() for each in held)):
            _, ip, port = hold.published
            same = hold.published.port.protocol == binding.port.protocol and port == number
            if same and (ip == binding.host_ip or ip in _ANY or binding.host_ip in _ANY):
                address = _join(binding.host_ip, number)
                return OSError(errno.EADDRINUSE, f"Bind for {address} failed: port is already allocated")
        return _sentence(binding.port, binding.host_ip, number, error)


def has_ipv6() -> bool:
    """Whether this host speaks IPv6 at all."""
    try:
        with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", encoding="ascii") as file:
            return file.read().strip() == "0"
    except OSError:
        return False


def local_port_range() -> tuple[int, int]:
    """net.ipv4.ip_local_port_range, from which "any free port" comes."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            first, last = file.read().split()
    except OSError:
        return 32768, 60999
    return int(first), int(last)


def _range(binding: PortBinding) -> Iterator[int]:
    yield from range(binding.first, max(binding.first, binding.last) + 1)


def _bind_all(binding: PortBinding, number: int, hosts: Hosts) -> list[_Hold]:
    holds: list[_Hold] = []
    try:
        for address in hosts.of(binding.host_ip):
            routed = hosts.routed(address)
            holds.append(_bind(Published(binding.port, address, 0 if routed else number)))
    except BaseException:
        _close(holds)
        raise
    return holds


def _bind(published: Published) -> _Hold:
    if not published.host_port:
        return _Hold(published)
    sock = _open(published)
    try:
        sock.setblocking(False)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if published.port.protocol == "tcp":
            # Only a listening socket excludes others that reuse the address; reuse itself forgives TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((published.host_ip, published.host_port))
        if published.port.protocol == "tcp":
            sock.listen(128)
    except BaseException:
        sock.close()
        raise
    return _Hold(published, sock)


def _open(published: Published) -> socket.socket:
    family = socket.AF_INET6 if ":" in published.host_ip else socket.AF_INET
    kind = _TYPES.get(published.port.protocol)
    if kind is not None:
        return socket.socket(family, kind)
    try:
        return socket.socket(family, socket.SOCK_STREAM, _IPPROTO_SCTP)
    except OSError as error:
        raise Unsupported(
            f"the kernel has no {published.port.protocol} to publish {published.port}"
        ) from error


def _sentence(port: Port, host_ip: str, number: int, error: OSError) -> OSError:
    reason = os.strerror(error.errno or errno.EINVAL).lower()
    address = _join(host_ip, number)
    return OSError(error.errno, f"failed to bind host port {address}/{port.protocol}: {reason}")


def _join(host_ip: str, number: int) -> str:
    return f"[{host_ip}]:{number}" if ":" in host_ip else f"{host_ip or '0.0.0.0'}:{number}"


def _close(holds: Iterable[_Hold]) -> None:
    for hold in holds:
        hold.close()
