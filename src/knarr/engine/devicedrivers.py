"""Requests for devices (`--gpus`, `--device vendor.com/class=name`) become edits of a container's configuration. Blocking.

Files are read when they are needed: a vendor's tool may write them at any time, and most containers ask for nothing.
"""

import os
import stat
from collections.abc import Iterator, Sequence

import msgspec

from knarr.engine import cdi
from knarr.model.container import DeviceRequest
from knarr.model.errors import Invalid, KnarrError

_VENDORS = {
    "nvidia.com": frozenset(
        ("gpu", "nvidia", "compute", "compat32", "graphics", "utility", "video", "display")
    ),
    "amd.com": frozenset(("gpu", "amd")),
}
_DRIVERS = {"nvidia": "nvidia.com", "nvidia.cdi": "nvidia.com"}


def edits(requests: Sequence[DeviceRequest], directories: Sequence[str]) -> list[cdi.Edits]:
    """Raises Invalid, KnarrError in Docker's words."""
    if not requests:
        return []
    registry = read(directories)
    return [
        filled(each)
        for request in requests
        for each in cdi.resolve(registry, _names(request, registry, enabled=bool(directories)))
    ]


def _names(request: DeviceRequest, registry: cdi.Registry, *, enabled: bool) -> Sequence[str]:
    """The whole names of the devices that are asked for."""
    if request.driver == "cdi" and enabled:
        if request.count:
            raise Invalid("unexpected count in CDI device request")
        if request.options:
            raise Invalid("unexpected options in CDI device request")
        return request.ids
    vendor = _vendor(request, registry.vendors)
    if vendor is None:
        raise Invalid(
            f'could not select device driver "{request.driver}" with capabilities: {told(request.capabilities)}'
        )
    return [each if "=" in each else f"{vendor}/gpu={each}" for each in _ids(request)]


def _vendor(request: DeviceRequest, vendors: frozenset[str]) -> str | None:
    """Who described GPUs and has what is asked for: one of several lists, all of each."""
    if request.driver:
        vendor = _DRIVERS.get(request.driver)
        return vendor if vendor in vendors else None
    for vendor, abilities in _VENDORS.items():
        if vendor in vendors and any(set(wanted) <= abilities for wanted in request.capabilities):
            return vendor
    return None


def _ids(request: DeviceRequest) -> Sequence[str]:
    if request.count and request.ids:
        raise Invalid("cannot set both Count and DeviceIDs on device request")
    if request.count < 0:
        return ("all",)
    return request.ids or [str(number) for number in range(request.count)]


def told(capabilities: Sequence[Sequence[str]]) -> str:
    """As Go prints a list of lists."""
    return "[" + " ".join("[" + " ".join(words) + "]" for words in capabilities) + "]"


def read(directories: Sequence[str]) -> cdi.Registry:
    """Every file of these directories; a missing directory is none."""
    files: list[tuple[int, str, cdi.Spec]] = []
    errors: dict[str, str] = {}
    for priority, path in _files(directories):
        try:
            spec = _read(path)
            cdi.check(spec)
        except (OSError, Invalid, msgspec.MsgspecError) as error:
            errors[path] = f'failed to load CDI Spec "{path}": {error}'
        else:
            files.append((priority, path, spec))
    return cdi.register(files, errors)


def _files(directories: Sequence[str]) -> Iterator[tuple[int, str]]:
    for priority, directory in enumerate(directories):
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            if name.endswith((".json", ".yaml")):
                yield priority, f"{directory}/{name}"


def _read(path: str) -> cdi.Spec:
    with open(path, "rb") as file:
        data = file.read()
    if path.endswith(".json"):
        return msgspec.json.decode(data, type=cdi.Spec)
    return msgspec.yaml.decode(data, type=cdi.Spec)  # it imports PyYAML here


def filled(edits: cdi.Edits) -> cdi.Edits:
    """With what the host knows of nodes that do not say everything. Raises KnarrError."""
    if not edits.device_nodes:
        return edits
    return msgspec.structs.replace(edits, device_nodes=[_filled(node) for node in edits.device_nodes])


def _filled(node: cdi.DeviceNode) -> cdi.DeviceNode:
    """Docker's rules: a node with a type and a number needs no counterpart on the host."""
    host = node.host_path or node.path
    whole = bool(node.type) and (node.major != 0 or node.type == "p")
    failed = "CDI device injection failed: failed to inject devices: "
    try:
        found = os.lstat(host)
        kind = _kind(found.st_mode)
    except OSError as error:
        if whole:
            return msgspec.structs.replace(node, host_path=host)
        reason = (error.strerror or "").lower()
        raise KnarrError(f'{failed}failed to stat CDI host device "{host}": {reason}') from None
    mode = stat.S_IMODE(found.st_mode) if node.file_mode is None else node.file_mode
    node = msgspec.structs.replace(node, host_path=host, file_mode=mode)
    if whole:
        return node
    if not kind:
        raise KnarrError(f'{failed}failed to stat CDI host device "{host}": not a device node')
    if node.type and node.type != kind:
        raise KnarrError(
            f'{failed}CDI device ("{node.path}", "{host}"), host type mismatch ({node.type}, {kind})'
        )
    numbers = os.major(found.st_rdev), os.minor(found.st_rdev)
    return msgspec.structs.replace(node, type=kind, major=numbers[0], minor=numbers[1])


def _kind(mode: int) -> str:
    if stat.S_ISBLK(mode):
        return "b"
    if stat.S_ISCHR(mode):
        return "c"
    return "p" if stat.S_ISFIFO(mode) else ""
