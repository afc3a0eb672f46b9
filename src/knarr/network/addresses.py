"""The free addresses of a network and the host ports that nobody asked for by number, kept in memory. Pure.

State holds the truth (`UNIQUE(network, address)`); pools are seeded from it.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from knarr.model.errors import Invalid
from knarr.network.config import NetworkConfig, Subnet
from knarr.network.errors import AddressOutside, AddressTaken, NoFreeAddress


@dataclass(slots=True)
class AddressPool:
    """The free addresses of one subnet; the lowest free one between `first` and `last` is given out."""

    network: str
    subnet: str
    gateway: str
    first: int
    last: int
    taken: set[int] = field(default_factory=set)
    _freed: list[int] = field(default_factory=list)
    _next: int = 0

    @classmethod
    def of(cls, name: str, subnet: Subnet, taken: Iterable[str] = (), within: str = "") -> "AddressPool":
        """The pool of a subnet, without the addresses in `taken`; `within` is the part of it that is given out."""
        whole, part = ip_network(subnet.subnet), ip_network(within or subnet.subnet)
        edge = 1 if whole.version == 4 else 0
        pool = cls(
            name,
            subnet.subnet,
            subnet.gateway,
            max(int(part.network_address), int(whole.network_address) + 1),
            min(int(part.broadcast_address), int(whole.broadcast_address) - edge),
        )
        held = (ip_address(address) for address in (*taken, *([subnet.gateway] if subnet.gateway else [])))
        pool.taken.update(int(each) for each in held if each in whole)
        pool._next = pool.first
        return pool

    def allocate(self, wanted: str = "") -> str:
        """Takes `wanted`, or any free address. Raises AddressTaken, AddressOutside, NoFreeAddress."""
        number = self._check(wanted) if wanted else self._lowest()
        self.taken.add(number)
        return str(self._address(number))

    def release(self, address: str) -> None:
        """Gives an address back; one that is not taken is ignored."""
        number = int(ip_address(address))
        if number in self.taken and address != self.gateway:
            self.taken.discard(number)
            if self.first <= number < self._next:
                heapq.heappush(self._freed, number)

    def _address(self, number: int) -> IPv4Address | IPv6Address:
        return IPv6Address(number) if ":" in self.subnet else IPv4Address(number)

    def _check(self, wanted: str) -> int:
        network = ip_network(self.subnet)
        try:
            address = ip_address(wanted)
        except ValueError as error:
            raise Invalid(f"invalid IPv{network.version} address: {wanted}") from error
        edges = (network.network_address, network.broadcast_address) if network.version == 4 else ()
        if address not in network or address in edges:
            raise AddressOutside(wanted, self.subnet)
        if int(address) in self.taken:
            raise AddressTaken(wanted)
        return int(address)

    def _lowest(self) -> int:
        while self._freed:
            number = heapq.heappop(self._freed)
            if number not in self.taken:
                return number
        while self._next <= self.last:
            self._next += 1
            if self._next - 1 not in self.taken:
                return self._next - 1
        raise NoFreeAddress(self.network, "6" if ":" in self.subnet else "4")


class Addresses:
    """All pools of one network. A container gets one address of each family that the network has."""

    def __init__(self, pools: Sequence[AddressPool]) -> None:
        self._four = [pool for pool in pools if ":" not in pool.subnet]
        self._six = [pool for pool in pools if ":" in pool.subnet]

    @classmethod
    def of(
        cls, config: NetworkConfig, taken: Iterable[str] = (), within: Mapping[str, str] | None = None
    ) -> "Addresses":
        """Those of a network; `within` tells by subnet which part is given out."""
        held, parts = list(taken), within or {}
        return cls(
            [AddressPool.of(config.name, each, held, parts.get(each.subnet, "")) for each in config.subnets]
        )

    def allocate(self, wanted: str = "", wanted6: str = "") -> tuple[str, str]:
        """An IPv4 and an IPv6 address, "" where the network has none. Raises as AddressPool does; then none is taken."""
        four = _take(self._four, wanted)
        try:
            return four, _take(self._six, wanted6)
        except BaseException:
            self.release(four)
            raise

    def release(self, *addresses: str) -> None:
        """Gives addresses back; "" and those that are not taken are ignored."""
        for address in filter(None, addresses):
            for pool in self._six if ":" in address else self._four:
                if ip_address(address) in ip_network(pool.subnet):
                    pool.release(address)


def _take(pools: Sequence[AddressPool], wanted: str) -> str:
    if not pools:
        return ""
    if wanted:
        fitting = (pool for pool in pools if _inside(wanted, pool.subnet))
        return next(fitting, pools[0]).allocate(wanted)
    for pool in pools[:-1]:
        try:
            return pool.allocate()
        except NoFreeAddress:
            continue
    return pools[-1].allocate()


def _inside(address: str, subnet: str) -> bool:
    try:
        return ip_address(address) in ip_network(subnet)
    except ValueError:
        return False


class PortPool:
    """Candidates for "any free port", each once, going round so that a port is not given out again at once."""

    def __init__(self, first: int = 32768, last: int = 60999) -> None:
        self._first, self._last, self._next = first, last, first

    def candidates(self) -> Iterator[int]:
        """Every port of the range, beginning behind the last one that was asked for."""
        for _ in range(self._last - self._first + 1):
            port = self._next
            self._next = self._first if port == self._last else port + 1
            yield port
