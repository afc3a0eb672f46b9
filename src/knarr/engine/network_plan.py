"""Decides what a new network is: checked in Docker's words, with what was not asked for filled in. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

from knarr.engine import network_options
from knarr.engine.errors import Predefined
from knarr.engine.nets import PREDEFINED
from knarr.engine.record import NetworkValue, Range
from knarr.engine.values import AddressRange, NetworkSpec
from knarr.model.errors import Denied, Invalid, KnarrError, NotFound
from knarr.network import pools
from knarr.network.config import NetworkConfig, Subnet
from knarr.network.pools import Pool

_OWN_KINDS = ("bridge", "macvlan", "ipvlan")
_NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)


def check(spec: NetworkSpec) -> NetworkSpec:
    """The request with its families settled. Raises Invalid, Predefined, NotFound, Denied for what cannot be."""
    if not spec.name.strip():
        raise Invalid("invalid name: name is empty")
    if spec.name in (*PREDEFINED, "default"):
        raise Predefined(f"operation is not permitted on predefined {spec.name} network ")
    if spec.driver == "overlay":
        raise Denied(_NO_MANAGER)
    if spec.driver in ("host", "null"):
        raise Denied(f'only one instance of "{spec.driver}" network is allowed')
    if spec.driver not in ("", "default", *_OWN_KINDS):
        raise NotFound(f'plugin "{spec.driver}" not found')
    if spec.ipam_driver not in ("", "default"):
        raise NotFound(f'plugin "{spec.ipam_driver}" not found')
    spec = _families(spec)
    problems = [words for each in spec.ranges for words in _problems(each, six=bool(spec.ipv6))]
    if problems:
        raise Invalid("invalid network config:\n" + joined(problems))
    if not spec.ipv4 and not spec.ipv6:
        raise Invalid("IPv4 or IPv6 must be enabled")
    counted = [_six(each) for each in spec.ranges if _wanted(spec, each)]
    if _kind(spec) == "bridge" and any(counted.count(six) > 1 for six in (False, True)):
        raise Denied("bridge driver doesn't support multiple subnets")
    return spec


def check_options(spec: NetworkSpec) -> None:
    """The driver's part. Raises Invalid, BadMode."""
    network_options.check(_kind(spec), spec.options, internal=spec.internal)


def _kind(spec: NetworkSpec) -> str:
    return spec.driver if spec.driver in _OWN_KINDS else "bridge"


def _families(spec: NetworkSpec) -> NetworkSpec:
    """The flags, or where these say nothing the options."""
    four, six, options = spec.ipv4, spec.ipv6, dict(spec.options)
    for key, given in ((network_options.IPV4, four), (network_options.IPV6, six)):
        if given is not None:
            options.pop(key, None)
    if four is None:
        four = network_options.family(options, network_options.IPV4, True)
    if six is None:
        six = network_options.family(options, network_options.IPV6, False)
    return replace(spec, ipv4=four, ipv6=six, options=options)


def _six(asked: AddressRange) -> bool:
    return ":" in asked.subnet


def _wanted(spec: NetworkSpec, asked: AddressRange) -> bool:
    return bool(asked.subnet) and bool(spec.ipv6 if _six(asked) else spec.ipv4)


def joined(problems: Sequence[str]) -> str:
    """Several sentences as Docker lists them."""
    return problems[0] if len(problems) == 1 else "\n".join(f"* {words}" for words in problems)


def _problems(asked: AddressRange, *, six: bool) -> Iterator[str]:
    """libnetwork's sentences."""
    if not asked.subnet:
        yield "invalid subnet : invalid CIDR block notation"
        return
    try:
        subnet = ip_network(asked.subnet, strict=False)
    except ValueError:
        yield f"invalid subnet {asked.subnet}: invalid CIDR block notation"
        return
    if "/" not in asked.subnet:
        yield f"invalid subnet {asked.subnet}: invalid CIDR block notation"
        return
    if subnet.version == 6 and not six:
        return
    if asked.subnet.partition("/")[0].lower() != str(subnet.network_address):
        try:
            same = ip_address(asked.subnet.partition("/")[0]) == subnet.network_address
        except ValueError:
            same = False
        if not same:
            yield f"invalid subnet {asked.subnet}: it should be {subnet}"
    yield from _part_problems(asked.within, str(subnet))
    yield from _address_problem(asked.gateway, str(subnet), f"gateway {asked.gateway}")
    for name, address in asked.reserved.items():
        yield from _address_problem(address, str(subnet), f"auxiliary address {name}")


def _part_problems(within: str, subnet: str) -> Iterator[str]:
    if not within:
        return
    whole = ip_network(subnet)
    try:
        part = ip_network(within, strict=False)
    except ValueError:
        part = None
    if part is None or "/" not in within:
        yield f"invalid ip-range {within}: invalid CIDR block notation"
        return
    if part.version != whole.version:
        yield f"invalid ip-range {within}: parent subnet is an IPv{whole.version} block"
        return
    if part.prefixlen < whole.prefixlen:
        yield f"invalid ip-range {within}: CIDR block is bigger than its parent subnet {whole}"
    if ip_address(within.partition("/")[0]) != part.network_address:
        yield f"invalid ip-range {within}: it should be {part}"
    first, last = int(part.network_address), int(part.broadcast_address)
    if last < int(whole.network_address) or first > int(whole.broadcast_address):
        yield f"invalid ip-range {within}: parent subnet {whole} doesn't contain ip-range"


def _address_problem(address: str, subnet: str, what: str) -> Iterator[str]:
    if not address:
        return
    whole = ip_network(subnet)
    try:
        parsed = ip_address(address)
    except ValueError:
        yield f"invalid {what}: invalid address"
        return
    if parsed.version != whole.version:
        yield f"invalid {what}: parent subnet is an IPv{whole.version} block"
    elif parsed not in whole:
        yield f"invalid {what}: parent subnet {whole} doesn't contain this address"


def choose(
    spec: NetworkSpec, network_id: str, default: Iterable[Pool], used: Iterable[str], host: Iterable[str]
) -> NetworkValue:
    """The network's lasting value, of a request that `check` has seen. Raises SubnetTaken, NoFreeSubnet."""
    kind, taken, spare = _kind(spec), list(used), tuple(default)
    isolated = network_options.without_gateway(kind, spec.options, internal=spec.internal)
    ranges = []
    for asked in spec.ranges:
        if asked.subnet and _wanted(spec, asked):
            pools.check(asked.subnet, taken)
            taken.append(str(ip_network(asked.subnet)))
        if asked.subnet:
            ranges.append(_asked(asked, without=isolated(_six(asked))))
    for six, enabled in ((False, spec.ipv4), (True, spec.ipv6)):
        if enabled and not any(_six(each) == six for each in spec.ranges if each.subnet):
            subnet, gateway = pools.allocate(spare, taken, host, six=six)
            gateway = "" if isolated(six) else gateway
            ranges.append(Range(subnet=subnet, gateway=gateway, gateway_asked=bool(gateway), asked=False))
    return NetworkValue(
        driver=kind,
        bridge=network_options.link_name(kind, spec.options, network_id),
        ranges=tuple(ranges),
        own_subnet=any(each.subnet for each in spec.ranges),
        ipv4=bool(spec.ipv4),
        ipv6=bool(spec.ipv6),
        internal=spec.internal,
        attachable=spec.attachable,
        labels=dict(spec.labels),
        options=dict(spec.options),
        ipam_options=spec.ipam_options,
    )


def _asked(asked: AddressRange, *, without: bool) -> Range:
    gateway = asked.gateway or ("" if without else _first(asked))
    return Range(
        subnet=str(ip_network(asked.subnet, strict=False)),
        gateway=gateway,
        within=asked.within,
        reserved=dict(asked.reserved),
        gateway_asked=bool(asked.gateway),
        asked=True,
    )


def _first(asked: AddressRange) -> str:
    """The gateway that nobody chose is the first address that may be given out."""
    subnet = ip_network(asked.subnet, strict=False)
    part = ip_network(asked.within or subnet, strict=False)
    first = max(int(part.network_address), int(subnet.network_address) + 1)
    held = {int(ip_address(each)) for each in asked.reserved.values()}
    while first in held:
        first += 1
    return str(type(subnet.network_address)(first))


def config(network_id: str, name: str, value: NetworkValue) -> NetworkConfig:
    """What the network room is told. Raises Invalid for options that cannot be read."""
    subnets = [Subnet(each.subnet, each.gateway) for each in value.ranges if _enabled(value, each)]
    four = next((each for each in subnets if not each.six), Subnet("", ""))
    six = next((each for each in subnets if each.six), Subnet("", ""))
    return NetworkConfig(
        name=name,
        id=network_id,
        driver=value.driver,
        bridge=value.bridge,
        subnet=four.subnet,
        gateway=four.gateway,
        subnet6=six.subnet,
        gateway6=six.gateway,
        more=tuple(each for each in subnets if each not in (four, six)),
        internal=value.internal or network_options.unparented(value.driver, value.options),
        kept=value.kept,
        **network_options.read(value.driver, value.options),
    )


def _enabled(value: NetworkValue, each: Range) -> bool:
    return value.ipv6 if ":" in each.subnet else value.ipv4


class SharedParent(KnarrError):
    """Docker's API answers 500."""


def check_parent(config: NetworkConfig, others: Mapping[str, NetworkConfig]) -> None:
    """Whether a network may hang on a link that others hang on, which come by their ids. Raises SharedParent."""
    for key, other in others.items():
        if other.driver != config.driver:
            continue
        if config.driver == "ipvlan":
            raise SharedParent(f"network di-{key[:12]} is already using parent interface {config.bridge}")
        if config.mode == "passthru":
            raise SharedParent(
                f"cannot use mode passthru, macvlan network {key} is already using parent interface {config.bridge}"
            )
        if other.mode == "passthru":
            raise SharedParent(
                f"macvlan network {key} is already using parent interface {config.bridge} in mode passthru"
            )


def parts(value: NetworkValue) -> Mapping[str, str]:
    """By subnet, which part of it is given out."""
    return {each.subnet: each.within for each in value.ranges if each.within}


def reserved(value: NetworkValue) -> list[str]:
    """The addresses that no container gets by itself."""
    return [address for each in value.ranges for address in each.reserved.values()]
