"""The options of a network's driver (`-o`) and of an endpoint (`--driver-opt`): read and checked in Docker's words. Pure."""

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from knarr.model.errors import Invalid, KnarrError
from knarr.network.config import GATEWAY_MODES, ISOLATED, dummy_name

_BRIDGE = "com.docker.network.bridge."
_MTU = "com.docker.network.driver.mtu"
_PREFIX = "com.docker.network.container_iface_prefix"
IPV4, IPV6 = "com.docker.network.enable_ipv4", "com.docker.network.enable_ipv6"
SYSCTLS = "com.docker.network.endpoint.sysctls"
IFNAME = "com.docker.network.endpoint.ifname"
_MODES = {
    "macvlan": ("macvlan_mode", "bridge", ("bridge", "private", "passthru", "vepa")),
    "ipvlan": ("ipvlan_mode", "l2", ("l2", "l3", "l3s")),
}
_FLAGS = ("bridge", "private", "vepa")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


class BadMode(KnarrError):
    """Docker's API answers 500."""


def check(kind: str, options: Mapping[str, str], *, internal: bool) -> None:
    """Raises Invalid, BadMode."""
    values = read(kind, options)
    if kind == "bridge" and not internal and ISOLATED in (values["mode4"], values["mode6"]):
        raise BadMode("gateway mode 'isolated' can only be used for an internal network")
    if options.get("parent") == "lo" and kind != "bridge":
        raise BadMode(f"loopback interface is not a valid {kind} parent link")


def read(kind: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Those of a NetworkConfig's values that are options. Raises Invalid, BadMode."""
    if kind != "bridge":
        return _on_parent(kind, options)
    binding = options.get(f"{_BRIDGE}host_binding_ipv4", "")
    if binding and not _is_address(binding):
        raise _refused(f"{_BRIDGE}host_binding_ipv4", binding, "nil ip")
    source = options.get("com.docker.network.host_ipv4", "")
    if source and not _is_address(source):
        raise _refused("com.docker.network.host_ipv4", source, "nil ip")
    return {
        "mtu": _number(options, _MTU) or 1500,
        "icc": _flag(options, f"{_BRIDGE}enable_icc", True),
        "masquerade": _flag(options, f"{_BRIDGE}enable_ip_masquerade", True),
        "inhibit": _flag(options, f"{_BRIDGE}inhibit_ipv4", False),
        "mode4": _mode(options, f"{_BRIDGE}gateway_mode_ipv4"),
        "mode6": _mode(options, f"{_BRIDGE}gateway_mode_ipv6"),
        "binding": binding,
        "trusted": tuple(filter(None, options.get(f"{_BRIDGE}trusted_host_interfaces", "").split(":"))),
        "interface": options.get(_PREFIX, "") or "eth",
    }


def _on_parent(kind: str, options: Mapping[str, str]) -> dict[str, Any]:
    key, default, modes = _MODES[kind]
    mode = options.get(key, "") or default
    if mode not in modes:
        raise BadMode(
            f"requested {kind} mode '{mode}' is not valid, '{default}' mode is the {kind} driver default"
        )
    flag = (options.get("ipvlan_flag", "") or "bridge") if kind == "ipvlan" else ""
    if flag and flag not in _FLAGS:
        raise BadMode(f"requested ipvlan flag '{flag}' is not valid, 'bridge' is the ipvlan driver default")
    return {"mode": mode, "flag": flag}


def family(options: Mapping[str, str], key: str, default: bool) -> bool:
    """Whether a family is asked for by option. Raises Invalid."""
    text = options.get(key, "").lower()
    if key in options and text not in (*_TRUE, *_FALSE):
        raise Invalid(f'driver-opt "{key}" is not a valid bool')
    return text in _TRUE if key in options else default


def unparented(kind: str, options: Mapping[str, str]) -> bool:
    """Whether the network hangs on a link that leads nowhere."""
    return kind != "bridge" and not options.get("parent")


def link_name(kind: str, options: Mapping[str, str], network_id: str) -> str:
    """The bridge's, or the parent's. Raises KnarrError for one that no link can have."""
    if kind != "bridge":
        return options.get("parent") or dummy_name(kind, network_id)
    name = options.get(f"{_BRIDGE}name") or f"br-{network_id[:12]}"
    if len(name) > 15:
        raise BadMode("numerical result out of range")
    return name


def without_gateway(kind: str, options: Mapping[str, str], *, internal: bool) -> Callable[[bool], bool]:
    """Which families (True for IPv6) of a network have no gateway's address."""
    if kind == "bridge":
        values = read(kind, options)
        return lambda six: internal and values["mode6" if six else "mode4"] == ISOLATED
    bare = internal or unparented(kind, options) or options.get("ipvlan_mode") in ("l3", "l3s")
    return lambda _: bare


def sysctls(options: Mapping[str, str], interface: str) -> Iterator[tuple[str, str]]:
    """An endpoint's own, as (file below /proc/sys, value)."""
    for setting in filter(None, options.get(SYSCTLS, "").split(",")):
        name, _, value = setting.partition("=")
        parts = name.split(".", 4)
        yield "/".join([*parts[:3], interface, *parts[4:]]), value


def check_name(interface: str, endpoint_id: str) -> None:
    """Raises BadMode for a name that no link can have."""
    if len(interface.encode()) > 15:
        veth = f"veth{endpoint_id[:7]}"
        raise BadMode(
            f"failed to set up container networking: failed to add interface {veth} to sandbox: "
            f'error renaming interface "{veth}" to "{interface}": numerical result out of range'
        )


def sysctl_problems(options: Mapping[str, str]) -> Iterator[str]:
    """Docker's sentence for each that is none of an interface. docker's CLI sends all of it in lower case."""
    for setting in filter(None, options.get(SYSCTLS, "").split(",")):
        parts = setting.split(".", 4)
        good = len(parts) == 5 and parts[0] == "net" and parts[1] in ("ipv4", "ipv6", "mpls")
        if not good or parts[3].lower() != "ifname" or "/" in setting.partition("=")[0]:
            yield (
                f"unrecognised network interface sysctl '{setting}'; represent 'net.X.Y.ethN.Z=V' as "
                "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )


def _number(options: Mapping[str, str], key: str) -> int:
    text = options.get(key, "")
    if text and not text.lstrip("+-").isdecimal():
        raise _refused(key, text, f'strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text or 0) < 0:
        raise Invalid(f"invalid MTU number: {int(text)}")
    return int(text or 0)


def _flag(options: Mapping[str, str], key: str, default: bool) -> bool:
    text = options.get(key)
    if text is None:
        return default
    if text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    raise _refused(key, text, f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _mode(options: Mapping[str, str], key: str) -> str:
    text = options.get(key, "nat")
    if text not in GATEWAY_MODES:
        raise _refused(key, text, f"unknown gateway mode {text}")
    return text


def _refused(key: str, text: str, reason: str) -> Invalid:
    return Invalid(f"failed to parse {key} value: {text} ({reason})")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
