"""--network and its companions in `run`, `create` and `network connect`, as the API's EndpointsConfig."""

import re
from typing import Any

from knarr.cli.common import refused
from knarr.cli.flags import Options
from knarr.cli.mountflags import fields

_LONG = re.compile(r"\w+=\w+")
_SYSTEM = ("default", "bridge", "host", "none")
_ADDRESSES = {"ip": "IPv4Address", "ip6": "IPv6Address"}


def attachment(word: str) -> tuple[str, dict[str, Any]]:
    """--network NAME, or name=NAME,alias=…,ip=…: the name and its endpoint. Raises ValueError."""
    if not _LONG.search(word):
        return word, {}
    endpoint: dict[str, Any] = {}
    name = ""
    for part in fields(word):
        key, equals, value = part.lower().partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key:
            raise ValueError(f"invalid field {part}")
        if key == "name":
            name = value
        elif key == "alias":
            endpoint.setdefault("Aliases", []).append(value)
        elif key in _ADDRESSES:
            endpoint.setdefault("IPAMConfig", {})[_ADDRESSES[key]] = value
        elif key == "link-local-ip":
            endpoint.setdefault("IPAMConfig", {}).setdefault("LinkLocalIPs", []).append(value)
        elif key == "mac-address":
            endpoint["MacAddress"] = value
        elif key == "driver-opt":
            option, sign, setting = value.partition("=")
            if not sign or not option:
                raise ValueError("invalid key value pair format in driver options")
            endpoint.setdefault("DriverOpts", {})[option.strip()] = setting.strip()
        elif key == "gw-priority":
            endpoint["GwPriority"] = _priority(value)
        else:
            raise ValueError(f"invalid field key {key}")
    if not name:
        raise ValueError("network name/id is not specified")
    return name, endpoint


def _priority(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"invalid gw-priority ({text}): invalid syntax") from None


def user_defined(name: str) -> bool:
    """Whether a network's name is one that people gave."""
    return name not in _SYSTEM and not name.startswith("container:")


def networks(options: Options) -> tuple[str, dict[str, dict[str, Any]]]:
    """(the main network's name, the endpoints by name). Raises Failed."""
    found: dict[str, dict[str, Any]] = {}
    asked = [attachment(word) for word in [*options.network, *options.net]]
    for name, endpoint in asked or [("default", {})]:
        if name in found:
            raise refused(f'network "{name}" is specified multiple times')
        found[name] = endpoint
    main = next(iter(found))
    _with_flags(main, found[main], options)
    if len({user_defined(name) for name in found}) > 1:
        raise refused(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
        )
    for name, endpoint in found.items():
        if endpoint.get("Aliases") and not user_defined(name):
            raise refused("network-scoped aliases are only supported for user-defined networks")
    if len(found) == 1 and asked and not found[main]:
        return main, {}
    return main, found


def _with_flags(name: str, endpoint: dict[str, Any], options: Options) -> None:
    """--ip and the like belong to the main network."""
    config = endpoint.get("IPAMConfig", {})
    aliases = [*options.network_alias, *options.net_alias]
    for both, flag, part in (
        (endpoint.get("Aliases") and aliases, "--network-alias", "alias"),
        (config.get("IPv4Address") and options.ip, "--ip", "IPv4 address"),
        (config.get("IPv6Address") and options.ip6, "--ip6", "IPv6 address"),
        (endpoint.get("MacAddress") and options.mac_address, "--mac-address", "MAC address"),
        (config.get("LinkLocalIPs") and options.link_local_ip, "--link-local-ip", "link-local IP addresses"),
    ):
        if both:
            raise refused(f"conflicting options: cannot specify both {flag} and per-network {part}")
    if aliases:
        endpoint["Aliases"] = aliases
    if options.link and user_defined(name):
        endpoint["Links"] = options.link
    if options.mac_address:
        endpoint["MacAddress"] = options.mac_address
    addresses = ipam(options)
    if addresses:
        endpoint["IPAMConfig"] = {**config, **addresses}


def ipam(options: Options) -> dict[str, Any]:
    """--ip, --ip6 and --link-local-ip as IPAMConfig."""
    table = {"IPv4Address": options.ip, "IPv6Address": options.ip6, "LinkLocalIPs": options.link_local_ip}
    return {key: value for key, value in table.items() if value}
