"""Decides what a container may ask of a network, in Docker's words. Pure."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from knarr.engine import network_options
from knarr.engine.network_plan import joined
from knarr.engine.record import NetworkValue
from knarr.model.container import EndpointSpec
from knarr.model.errors import Invalid
from knarr.network import pools

_MAC = re.compile(r"[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}\Z")


def check_endpoint(asked: EndpointSpec, value: NetworkValue | None) -> None:
    """What a network can grant; `value` is None for a predefined one. Raises Invalid."""
    if asked.mac and not _MAC.match(asked.mac):
        raise Invalid(f"invalid MAC address {asked.mac}")
    problems = list(_problems(asked, value))
    if problems:
        raise Invalid(f"invalid endpoint settings:\n{joined(problems)}")


def _problems(asked: EndpointSpec, value: NetworkValue | None) -> Iterator[str]:
    if value is None and (asked.ipv4 or asked.ipv6):
        yield "user specified IP address is supported on user defined networks only"
    if value is None and asked.aliases:
        yield "network-scoped aliases are only supported for user-defined networks"
    for version, address in ((4, asked.ipv4), (6, asked.ipv6)):
        if address and not _is(version, address):
            yield f"invalid IPv{version} address: {address}"
    for version, address in ((4, asked.ipv4), (6, asked.ipv6)):
        if address:
            yield from _outside(address, version, value)
    for address in asked.link_local:
        if not (_is(4, address) or _is(6, address)):
            yield f"invalid link-local IP address: {address}"
    yield from network_options.sysctl_problems(asked.driver_options)


def _outside(address: str, version: int, value: NetworkValue | None) -> Iterator[str]:
    ranges = value.ranges if value is not None else ()
    own = value is not None and value.own_subnet
    mine = [
        each.subnet
        for each in ranges
        if (":" in each.subnet) == (version == 6) and (own if each.asked is None else each.asked)
    ]
    if not mine:
        yield "user specified IP address is supported only when connecting to networks with user configured subnets"
    elif not any(pools.within(address, subnet) for subnet in mine):
        yield f"no configured subnet or ip-range contain the IP address {address}"


def _is(version: int, address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return parsed.version == version and not parsed.is_unspecified
