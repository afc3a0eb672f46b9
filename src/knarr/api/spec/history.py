"""What the API's versions differ in, as tables (moby's version history, api/docs/CHANGELOG.md). Pure.

Inside there is one version, the newest: `forget` takes from a request what its version did not know, `shaped` gives an answer the
form of an older one. Paths go down by dots; `*` is every entry of a mapping or a list. What needs more than a table says
(defaults that changed, fields that moved) is decided in api/server, beside what it changes.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from knarr.api.spec.versions import Version
from knarr.model.errors import Invalid


class Since(NamedTuple):
    """A field that older versions do not have."""

    path: str
    version: tuple[int, int]


class Until(NamedTuple):
    """A field that every older answer has, with this value where the newest form has none."""

    path: str
    version: tuple[int, int]
    value: Any


_LEGACY_NETWORK: Mapping[str, Any] = {
    "Bridge": "",
    "HairpinMode": False,
    "LinkLocalIPv6Address": "",
    "LinkLocalIPv6PrefixLen": 0,
    "SecondaryIPAddresses": None,
    "SecondaryIPv6Addresses": None,
    "EndpointID": "",
    "Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "MacAddress": "",
}
_IMAGE_CONFIG: Mapping[str, Any] = {
    "Cmd": None,
    "Entrypoint": None,
    "Env": None,
    "Labels": None,
    "OnBuild": None,
    "User": "",
    "Volumes": None,
    "WorkingDir": "",
}
_NOT_OF_IMAGES: Mapping[str, Any] = {
    "AttachStderr": False,
    "AttachStdin": False,
    "AttachStdout": False,
    "Domainname": "",
    "Hostname": "",
    "Image": "",
    "OpenStdin": False,
    "StdinOnce": False,
    "Tty": False,
}

ANSWERS: Mapping[str, tuple[Since | Until, ...]] = {
    "container": (
        Since("HostConfig.Annotations", (1, 43)),
        Since("ImageManifestDescriptor", (1, 48)),
        Until("Config.OnBuild", (1, 52), None),
        *(Until(f"NetworkSettings.{name}", (1, 52), value) for name, value in _LEGACY_NETWORK.items()),
    ),
    "containers": (
        Since("HostConfig.Annotations", (1, 46)),
        Since("ImageManifestDescriptor", (1, 48)),
    ),
    "stats": (Since("os_type", (1, 52)),),
    "image": (
        Since("Manifests", (1, 48)),
        Since("Descriptor", (1, 48)),
        Since("Identity", (1, 53)),
        Until("Created", (1, 44), "0001-01-01T00:00:00Z"),
        Until("Container", (1, 45), ""),
        Until("ContainerConfig", (1, 45), None),
        *(Until(name, (1, 52), "") for name in ("Parent", "Comment", "DockerVersion", "Author")),
        *(Until(f"Config.{name}", (1, 52), value) for name, value in _IMAGE_CONFIG.items()),
        *(Until(f"Config.{name}", (1, 50), value) for name, value in _NOT_OF_IMAGES.items()),
    ),
    "images": (Since("Manifests", (1, 47)), Since("Descriptor", (1, 48))),
    "network": (Since("Status", (1, 52)),),
    "info": (
        Since("Runtimes.*.status", (1, 44)),
        Since("Containerd", (1, 46)),
        Until("RegistryConfig.AllowNondistributableArtifactsCIDRs", (1, 49), None),
        Until("RegistryConfig.AllowNondistributableArtifactsHostnames", (1, 49), None),
        Since("FirewallBackend", (1, 49)),
        Until("ContainerdCommit.Expected", (1, 49), ""),
        Until("RuncCommit.Expected", (1, 49), ""),
        Until("InitCommit.Expected", (1, 49), ""),
        Since("DiscoveredDevices", (1, 50)),
        Until("BridgeNfIptables", (1, 50), False),
        Until("BridgeNfIp6tables", (1, 50), False),
        Since("NRI", (1, 53)),
    ),
}

BODIES: Mapping[str, tuple[Since, ...]] = {
    "Create": (
        Since("HostConfig.ConsoleSize", (1, 42)),
        Since("HostConfig.Annotations", (1, 43)),
        Since("Healthcheck.StartInterval", (1, 44)),
        Since("NetworkingConfig.EndpointsConfig.*.MacAddress", (1, 44)),
        Since("NetworkingConfig.EndpointsConfig.*.GwPriority", (1, 48)),
    ),
    "Update": (
        Since("PidsLimit", (1, 40)),
        Since("BlkioWeightDevice", (1, 55)),
        Since("BlkioDeviceReadBps", (1, 55)),
        Since("BlkioDeviceWriteBps", (1, 55)),
        Since("BlkioDeviceReadIOps", (1, 55)),
        Since("BlkioDeviceWriteIOps", (1, 55)),
    ),
    "ExecCreate": (Since("ConsoleSize", (1, 42)),),
    "ExecStart": (Since("ConsoleSize", (1, 42)),),
    "VolumeCreate": (Since("ClusterVolumeSpec", (1, 42)),),
    "NetworkCreate": (Since("EnableIPv4", (1, 48)),),
}

# (method, path) → the query's parameters that older versions do not read.
PARAMETERS: Mapping[tuple[str, str], Mapping[str, tuple[int, int]]] = {
    ("POST", "/containers/create"): {"platform": (1, 41)},
    ("POST", "/containers/{name}/stop"): {"signal": (1, 42)},
    ("POST", "/containers/{name}/restart"): {"signal": (1, 42)},
    ("POST", "/containers/{name}/wait"): {"condition": (1, 30)},
    ("GET", "/containers/{name}/stats"): {"one-shot": (1, 41)},
    ("PUT", "/containers/{name}/archive"): {"copyUIDGID": (1, 30)},
    ("POST", "/images/create"): {"platform": (1, 32)},
    ("POST", "/images/{name:path}/push"): {"platform": (1, 46)},
    ("GET", "/images/json"): {"shared-size": (1, 42), "manifests": (1, 47), "identity": (1, 54)},
    ("GET", "/images/{name:path}/json"): {"manifests": (1, 48), "platform": (1, 49)},
    ("GET", "/images/{name:path}/history"): {"platform": (1, 48)},
    ("GET", "/images/{name:path}/get"): {"platform": (1, 48)},
    ("GET", "/images/get"): {"platform": (1, 48)},
    ("POST", "/images/load"): {"platform": (1, 48)},
    ("DELETE", "/images/{name:path}"): {"platforms": (1, 50)},
    ("GET", "/system/df"): {"type": (1, 42), "verbose": (1, 52)},
}

# Operations that older versions do not have, with moby's name of the path.
OPERATIONS: Mapping[tuple[str, str], tuple[tuple[int, int], str]] = {
    ("POST", "/containers/prune"): ((1, 25), "/containers/prune"),
    ("POST", "/images/prune"): ((1, 25), "/images/prune"),
    ("POST", "/volumes/prune"): ((1, 25), "/volumes/prune"),
    ("POST", "/networks/prune"): ((1, 25), "/networks/prune"),
    ("GET", "/distribution/{name:path}/json"): ((1, 30), "/distribution/{name:.*}/json"),
    ("POST", "/build/prune"): ((1, 31), "/build/prune"),
    ("PUT", "/volumes/{name}"): ((1, 42), "/volumes/{name:.*}"),
    ("GET", "/images/{name:path}/attestations"): ((1, 55), "/images/{name:.*}/attestations"),
}


def check_operation(method: str, path: str, version: Version) -> None:
    """Raises Invalid for an operation that `version` does not have."""
    first = OPERATIONS.get((method, path))
    if first is not None and version < first[0]:
        least = f"{first[0][0]}.{first[0][1]}"
        raise Invalid(f"{method} {first[1]} requires minimum API version {least}")


def forget_parameters(method: str, path: str, version: Version, query: dict[str, list[str]]) -> None:
    """Takes from the query what `version` does not read."""
    for name, since in PARAMETERS.get((method, path), {}).items():
        if version < since:
            query.pop(name, None)


def forget(body: Any, version: Version) -> None:
    """Takes from a request's body what `version` does not know."""
    kind = type(body)
    for path, since in BODIES.get(kind.__name__, ()):
        if version < since:
            parents, _, name = path.rpartition(".")
            for parent in _structs(body, parents):
                setattr(parent, name, getattr(type(parent)(), name))


def shaped(kind: str, value: dict[str, Any], version: Version) -> dict[str, Any]:
    """An answer in the newest form, changed to the form of `version`."""
    for rule in ANSWERS[kind]:
        if version >= rule.version:
            continue
        parents, _, name = rule.path.rpartition(".")
        for parent in _mappings(value, parents):
            if isinstance(rule, Since):
                parent.pop(name, None)
            else:
                parent.setdefault(name, rule.value)
    return value


def _mappings(value: Any, path: str) -> Iterator[dict[str, Any]]:
    name, _, rest = path.partition(".")
    if not name:
        if isinstance(value, dict):
            yield value
    elif isinstance(value, dict):
        for each in value.values() if name == "*" else (value.get(name),):
            yield from _mappings(each, rest)


def _structs(value: Any, path: str) -> Iterator[Any]:
    name, _, rest = path.partition(".")
    if value is None or not name:
        yield from () if value is None else (value,)
    elif name == "*":
        for each in value.values() if isinstance(value, dict) else value:
            yield from _structs(each, rest)
    else:
        yield from _structs(getattr(value, name), rest)
