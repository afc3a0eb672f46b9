"""--network and its companions in `run` and `create`, as the API's EndpointsConfig."""

from typing import Any

from knarr.cli.flags import Options, UsageError

_ENDPOINT = {"ip": "IPv4Address", "ip6": "IPv6Address"}


def networks(options: Options) -> dict[str, dict[str, Any]]:
    """--network NAME, or name=NAME,alias=…,ip=…,mac-address=…,driver-opt=…,gw-priority=…; the first is the main one."""
    found: dict[str, dict[str, Any]] = {}
    for word in [*options.network, *options.net]:
        if "name=" not in word:
            found[word] = {}
            continue
        endpoint: dict[str, Any] = {}
        name = ""
        for part in word.split(","):
            key, _, value = part.partition("=")
            if key == "name":
                name = value
            elif key == "alias":
                endpoint.setdefault("Aliases", []).append(value)
            elif key in ("ip", "ip6"):
                endpoint.setdefault("IPAMConfig", {})[_ENDPOINT[key]] = value
            elif key == "mac-address":
                endpoint["MacAddress"] = value
            elif key == "driver-opt":
                endpoint.setdefault("DriverOpts", {}).update([value.partition("=")[::2]])
            elif key == "gw-priority" and value.lstrip("-").isdigit():
                endpoint["GwPriority"] = int(value)
            else:
                raise UsageError(f"invalid field {key}")
        found[name] = endpoint
    own = options.network_alias or options.net_alias or options.ip
    if own:
        main = found.setdefault(next(iter(found), "default"), {})
        main["Aliases"] = [*main.get("Aliases", ()), *options.network_alias, *options.net_alias]
        if options.ip:
            main["IPAMConfig"] = {"IPv4Address": options.ip}
    return found
