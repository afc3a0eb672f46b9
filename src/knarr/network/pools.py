"""Chooses subnets for user-defined networks. Pure: the host's routes and the subnets in use come in as arguments."""

import hashlib
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import NamedTuple

from knarr.model.errors import Invalid
from knarr.network.errors import NoFreeSubnet, SubnetTaken

Network = IPv4Network | IPv6Network
_LARGEST = {4: 30, 6: 126}


class Pool(NamedTuple):
    """A `--default-address-pool`: subnets of `size` bits are cut out of `base`."""

    base: str
    size: int

    @property
    def six(self) -> bool:
        """Whether it is IPv6's."""
        return ":" in self.base

    @classmethod
    def parse(cls, text: str) -> "Pool":
        """Reads `base=10.10.0.0/16,size=24`. Raises Invalid."""
        fields = dict(part.partition("=")[::2] for part in text.replace(" ", "").split(","))
        try:
            pool = cls(fields["base"], int(fields["size"]))
            base = ip_network(pool.base)
            valid = set(fields) == {"base", "size"} and base.prefixlen <= pool.size <= _LARGEST[base.version]
        except (KeyError, ValueError):
            valid = False
        if not valid:
            raise Invalid(f"invalid default address pool: {text}")
        return pool


DEFAULT_POOLS = (
    *(Pool(f"172.{second}.0.0/16", 16) for second in range(17, 32)),
    Pool("192.168.0.0/16", 20),
)


def unique_local(host_id: str) -> Pool:
    """The IPv6 pool of a daemon that is told none (RFC 4193): 40 bits that follow from its id, as Docker's do."""
    digest = hashlib.sha256(host_id.encode()).digest()
    number = int.from_bytes(digest[:8], "big") & (1 << 40) - 1
    return Pool(f"{IPv6Address(0xFD << 120 | number << 80)}/48", 64)


def with_six(pools: Sequence[Pool], host_id: str) -> tuple[Pool, ...]:
    """The pools, and one of IPv6 if none of them is."""
    return (*pools, *(() if any(pool.six for pool in pools) else (unique_local(host_id),)))


def allocate(
    pools: Sequence[Pool], used: Iterable[str], host: Iterable[str], *, six: bool = False
) -> tuple[str, str]:
    """The first subnet of a family of the pools that overlaps neither a used one nor a route of the host, and its gateway.

    Raises NoFreeSubnet.
    """
    version = 6 if six else 4
    occupied = [each for each in map(ip_network, (*used, *host)) if each.version == version]
    for pool in pools:
        if pool.six == six:
            found = _first(ip_network(pool.base), pool.size, occupied)
            if found is not None:
                return str(found), first_address(str(found))
    raise NoFreeSubnet


def _first(base: Network, size: int, occupied: Sequence[Network]) -> Network | None:
    """Behind each subnet that is in the way, because a pool of IPv6 has too many to try."""
    width = 1 << base.max_prefixlen - size
    start, end = int(base.network_address), int(base.broadcast_address)
    make = IPv4Network if base.version == 4 else IPv6Network
    while start <= end:
        candidate: Network = make((start, size))
        hits = [
            each
            for each in occupied
            if int(each.network_address) <= start + width - 1 and start <= int(each.broadcast_address)
        ]
        if not hits:
            return candidate
        behind = max(int(each.broadcast_address) for each in hits) + 1
        start = max(
            start + width,
            -(-(behind - int(base.network_address)) // width) * width + int(base.network_address),
        )
    return None


def check(subnet: str, used: Iterable[str]) -> None:
    """Raises SubnetTaken when a subnet that was asked for overlaps a used one, Invalid when it is none."""
    try:
        wanted = ip_network(subnet)
    except ValueError as error:
        raise Invalid(f"invalid subnet {subnet}: {error}") from error
    others = map(ip_network, used)
    if any(wanted.version == each.version and wanted.overlaps(each) for each in others):
        raise SubnetTaken


def within(part: str, subnet: str) -> bool:
    """Whether an address or a smaller subnet lies in a subnet; False for what is neither."""
    try:
        inner, outer = ip_network(part), ip_network(subnet)
    except ValueError:
        return False
    return (
        inner.version == outer.version
        and int(outer.network_address) <= int(inner.network_address)
        and int(inner.broadcast_address) <= int(outer.broadcast_address)
    )


def first_address(subnet: str) -> str:
    """The gateway that a network gets when none is asked for: the first address that may be given out."""
    network = ip_network(subnet)
    return str(network.network_address + 1)
