"""Decides what a new network is: checked in Docker's words, with what was not asked for filled in. Pure."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network

from knarr.engine.errors import Predefined
from knarr.engine.nets import PREDEFINED
from knarr.engine.record import NetworkValue, Range
from knarr.engine.values import AddressRange, NetworkSpec
from knarr.model.container import EndpointSpec
from knarr.model.errors import Denied, Invalid, NotFound, Unsupported
from knarr.network import pools
from knarr.network.plan import NetworkConfig
from knarr.network.pools import Pool

_BRIDGE = "com.docker.network.bridge."
_LATER = ("macvlan", "ipvlan")


def check(spec: NetworkSpec) -> None:
    """Raises Invalid, Predefined, NotFound, Unsupported for what cannot be."""
    if not spec.name.strip():
        raise Invalid("invalid network name: name is empty")
    if spec.name in PREDEFINED:
        raise Predefined(f"operation is not permitted on predefined {spec.name} network")
    if spec.driver in ("host", "null"):
        raise Denied(f'only one instance of "{spec.driver}" network is allowed')
    if spec.driver in _LATER:
        raise Unsupported(f"the network driver {spec.driver} is not supported by this daemon yet")
    if spec.driver not in ("", "default", "bridge"):
        raise NotFound(f'plugin "{spec.driver}" not found')
    if spec.ipam_driver not in ("", "default"):
        raise NotFound(f'plugin "{spec.ipam_driver}" not found')
    if spec.ipv6 or not spec.ipv4 or any(":" in each.subnet for each in spec.ranges):
        raise Unsupported("networks of IPv6 are not supported by this daemon yet")
    if len(spec.ranges) > 1:
        raise Unsupported("networks of several subnets are not supported by this daemon yet")
    problems = [words for each in spec.ranges for words in _problems(each)]
    if problems:
        raise Invalid("invalid network config:\n" + "\n".join(problems))


def _problems(asked: AddressRange) -> Iterable[str]:
    """libnetwork's sentences."""
    if not asked.subnet:
        return
    try:
        subnet = IPv4Network(asked.subnet, strict=False)
    except ValueError:
        yield f"invalid subnet {asked.subnet}: invalid CIDR block notation"
        return
    if "/" not in asked.subnet:
        yield f"invalid subnet {asked.subnet}: invalid CIDR block notation"
    elif str(subnet) != asked.subnet:
        yield f"invalid subnet {asked.subnet}: it should be {subnet}"
    if asked.within and not pools.within(asked.within, str(subnet)):
        yield f"invalid ip-range {asked.within}: parent subnet {subnet} doesn't contain ip-range"
    if asked.gateway and not pools.within(asked.gateway, str(subnet)):
        yield f"invalid gateway {asked.gateway}: parent subnet {subnet} doesn't contain this address"
    for name, address in asked.reserved.items():
        if not pools.within(address, str(subnet)):
            yield f"invalid auxiliary address {name}: parent subnet {subnet} doesn't contain this address"


def choose(
    spec: NetworkSpec, network_id: str, default: Iterable[Pool], used: Iterable[str], host: Iterable[str]
) -> NetworkValue:
    """The network's lasting value. Raises SubnetTaken, NoFreeSubnet."""
    asked = spec.ranges[0] if spec.ranges else AddressRange()
    if asked.subnet:
        pools.check(asked.subnet, used)
        subnet, gateway = asked.subnet, asked.gateway or _first(asked)
    else:
        subnet, gateway = pools.allocate(tuple(default), used, host)
    return NetworkValue(
        driver="bridge",
        bridge=spec.options.get(f"{_BRIDGE}name") or f"br-{network_id[:12]}",
        ranges=(
            Range(
                subnet=subnet,
                gateway=gateway,
                within=asked.within,
                reserved=dict(asked.reserved),
                gateway_asked=bool(asked.gateway) or not asked.subnet,
            ),
        ),
        own_subnet=bool(asked.subnet),
        internal=spec.internal,
        attachable=spec.attachable,
        labels=dict(spec.labels),
        options=dict(spec.options),
        ipam_options=spec.ipam_options,
    )


def _first(asked: AddressRange) -> str:
    """The gateway that nobody chose is the first address that may be given out."""
    return pools.first_address(asked.within or asked.subnet)


def config(network_id: str, name: str, value: NetworkValue) -> NetworkConfig:
    """What the network room is told. Raises Invalid for options that cannot be read."""
    options = value.options
    (first,) = value.ranges
    return NetworkConfig(
        name=name,
        id=network_id,
        bridge=value.bridge,
        subnet=first.subnet,
        gateway=first.gateway,
        mtu=_number(options, "com.docker.network.driver.mtu", 1500),
        icc=_flag(options, f"{_BRIDGE}enable_icc", True),
        masquerade=_flag(options, f"{_BRIDGE}enable_ip_masquerade", True),
        internal=value.internal,
    )


def _number(options: Mapping[str, str], key: str, default: int) -> int:
    text = options.get(key, "")
    if text and not text.isdigit():
        raise Invalid(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text or 0) or default


def _flag(options: Mapping[str, str], key: str, default: bool) -> bool:
    text = options.get(key, "").lower()
    if text in ("", "1", "t", "true"):
        return default if not text else True
    if text in ("0", "f", "false"):
        return False
    raise Invalid(f'strconv.ParseBool: parsing "{options[key]}": invalid syntax')


def check_endpoint(asked: EndpointSpec, name: str, value: NetworkValue | None) -> None:
    """What a network can grant. Raises Invalid."""
    problem = ""
    if asked.ipv4 and value is None:
        problem = "user specified IP address is supported on user defined networks only"
    elif asked.ipv4 and value is not None and not value.own_subnet:
        problem = "user specified IP address is supported only when connecting to networks with user configured subnets"
    elif asked.ipv4 and value is not None and not pools.within(asked.ipv4, value.ranges[0].subnet):
        problem = f"no configured subnet or ip-range contain the IP address {asked.ipv4}"
    elif asked.aliases and value is None:
        problem = "network-scoped aliases are only supported for user-defined networks"
    if problem:
        raise Invalid(f"invalid config for network {name}: invalid endpoint settings:\n{problem}")
