"""Chooses subnets for user-defined networks. Pure: the host's routes and the subnets in use come in as arguments."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network
from typing import NamedTuple

from knarr.model.errors import Invalid
from knarr.network.errors import NoFreeSubnet, SubnetTaken


class Pool(NamedTuple):
    """A `--default-address-pool`: subnets of `size` bits are cut out of `base`."""

    base: str
    size: int

    @classmethod
    def parse(cls, text: str) -> "Pool":
        """Reads `base=10.10.0.0/16,size=24`. Raises Invalid."""
        fields = dict(part.partition("=")[::2] for part in text.replace(" ", "").split(","))
        try:
            pool = cls(fields["base"], int(fields["size"]))
            valid = set(fields) == {"base", "size"} and IPv4Network(pool.base).prefixlen <= pool.size <= 30
        except (KeyError, ValueError):
            valid = False
        if not valid:
            raise Invalid(f"invalid default address pool: {text}")
        return pool


DEFAULT_POOLS = (
    *(Pool(f"172.{second}.0.0/16", 16) for second in range(17, 32)),
    Pool("192.168.0.0/16", 20),
)


def allocate(pools: Sequence[Pool], used: Iterable[str], host: Iterable[str]) -> tuple[str, str]:
    """The first subnet of the pools that overlaps neither a used one nor a route of the host, and its gateway.

    Raises NoFreeSubnet.
    """
    occupied = [IPv4Network(subnet) for subnet in (*used, *host)]
    for pool in pools:
        for candidate in IPv4Network(pool.base).subnets(new_prefix=pool.size):
            if not any(candidate.overlaps(other) for other in occupied):
                return str(candidate), first_address(str(candidate))
    raise NoFreeSubnet


def check(subnet: str, used: Iterable[str]) -> None:
    """Raises SubnetTaken when a subnet that was asked for overlaps a used one, Invalid when it is none."""
    try:
        wanted = IPv4Network(subnet)
    except ValueError as error:
        raise Invalid(f"invalid subnet {subnet}: {error}") from error
    if any(wanted.overlaps(IPv4Network(other)) for other in used):
        raise SubnetTaken


def within(part: str, subnet: str) -> bool:
    """Whether an address or a smaller subnet lies in a subnet; False for what is neither."""
    try:
        return IPv4Network(part).subnet_of(IPv4Network(subnet))
    except ValueError:
        return False


def first_address(subnet: str) -> str:
    """The gateway that a network gets when none is asked for."""
    return str(IPv4Network(subnet).network_address + 1)
