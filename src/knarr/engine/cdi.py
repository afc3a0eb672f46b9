"""The Container Device Interface (tags.cncf.io/container-device-interface, SPEC.md): vendors describe devices in files, and
what a container needs for one is edited into its OCI configuration. Pure: `devicedrivers` reads the files and the host.

A directory that is named later comes first; two files of one directory that describe one device make it unusable.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as lasting
from typing import Any

from msgspec import Struct, field

from knarr.model.errors import Invalid, KnarrError

_VERSIONS = ("0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
_WORD = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\Z")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?\Z")
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_KINDS = ("", "b", "c", "u", "p")


class DeviceNode(Struct, forbid_unknown_fields=True, rename="camel"):
    """A node in /dev."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


class Mount(Struct, forbid_unknown_fields=True, rename="camel"):
    """Something of the host."""

    host_path: str
    container_path: str
    options: list[str] = []
    type: str = ""


class Hook(Struct, forbid_unknown_fields=True, rename="camel"):
    """A program that the runtime runs."""

    hook_name: str
    path: str
    args: list[str] = []
    env: list[str] = []
    timeout: int | None = None


class NetDevice(Struct, forbid_unknown_fields=True, rename="camel"):
    """A network device of the host that moves."""

    host_interface_name: str
    name: str


class Edits(Struct, forbid_unknown_fields=True, rename="camel"):
    """What is changed in a configuration."""

    env: list[str] = []
    device_nodes: list[DeviceNode] = []
    net_devices: list[NetDevice] = []
    hooks: list[Hook] = []
    mounts: list[Mount] = []
    intel_rdt: dict[str, Any] | None = None
    additional_gids: list[int] = []


class Device(Struct, forbid_unknown_fields=True, rename="camel"):
    """One device of a file."""

    name: str
    container_edits: Edits
    annotations: dict[str, str] = {}


class Spec(Struct, forbid_unknown_fields=True, rename="camel"):
    """One file."""

    cdi_version: str
    kind: str
    devices: list[Device] = []
    container_edits: Edits = field(default_factory=Edits)
    annotations: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Registry:
    """Devices by their whole names, each with its file's path; what was wrong, by path."""

    devices: Mapping[str, tuple[str, Spec, Device]] = lasting(default_factory=dict)
    errors: Mapping[str, str] = lasting(default_factory=dict)

    @property
    def vendors(self) -> frozenset[str]:
        """Who described devices."""
        return frozenset(name.partition("/")[0] for name in self.devices)


def check(spec: Spec) -> None:
    """Raises Invalid."""
    if spec.cdi_version not in _VERSIONS:
        raise Invalid(f'invalid CDI Spec: unknown version "{spec.cdi_version}"')
    vendor, slash, kind = spec.kind.partition("/")
    if not slash or not _WORD.match(vendor) or not _WORD.match(kind):
        raise Invalid(f'invalid CDI Spec: invalid kind "{spec.kind}"')
    _check_edits(spec.container_edits)
    seen: set[str] = set()
    for device in spec.devices:
        if not _NAME.match(device.name):
            raise Invalid(f'invalid device name "{device.name}"')
        if device.name in seen:
            raise Invalid(f'invalid spec, multiple device "{device.name}"')
        if device.container_edits == Edits():
            raise Invalid(f'invalid device, empty device edits: "{device.name}"')
        seen.add(device.name)
        _check_edits(device.container_edits)
    if not spec.devices:
        raise Invalid("invalid spec, no devices")


def _check_edits(edits: Edits) -> None:
    for text in edits.env:
        if text.find("=") <= 0:
            raise Invalid(f'invalid environment variable "{text}"')
    for node in edits.device_nodes:
        if not node.path:
            raise Invalid("invalid (empty) device path")
        if node.type not in _KINDS:
            raise Invalid(f'device "{node.path}": invalid type "{node.type}"')
        if set(node.permissions) - set("rwm"):
            raise Invalid(f'device "{node.path}": invalid permissions "{node.permissions}"')
    for mount in edits.mounts:
        if not mount.host_path or not mount.container_path:
            raise Invalid("invalid mount, empty host path or container path")
    for hook in edits.hooks:
        if hook.hook_name not in _HOOKS:
            raise Invalid(f'invalid hook name "{hook.hook_name}"')
        if not hook.path:
            raise Invalid(f'invalid hook "{hook.hook_name}" with empty path')
    names = [(each.host_interface_name, each.name) for each in edits.net_devices]
    if any(not all(pair) for pair in names) or len({pair[1] for pair in names}) < len(names):
        raise Invalid("invalid linux net device: names are empty or taken twice")


def register(files: Iterable[tuple[int, str, Spec]], errors: Mapping[str, str]) -> Registry:
    """`files` are (priority, path, what it says). Of equal priorities neither is taken."""
    best: dict[str, tuple[int, str, Spec, Device]] = {}
    wrong = dict(errors)
    conflicts: set[str] = set()
    for priority, path, spec in files:
        for device in spec.devices:
            name = f"{spec.kind}={device.name}"
            before = best.get(name)
            if before is not None and before[0] == priority:
                conflicts.add(name)
                for each in (path, before[1]):
                    wrong[each] = f'conflicting device "{name}" (specs "{path}", "{before[1]}")'
            if before is None or before[0] < priority:
                conflicts.discard(name)
                best[name] = priority, path, spec, device
    usable = {name: found[1:] for name, found in sorted(best.items()) if name not in conflicts}
    return Registry(usable, wrong)


def resolve(registry: Registry, names: Sequence[str]) -> list[Edits]:
    """What these devices need: each file's own edits once. Raises KnarrError in Docker's words."""
    missing = [name for name in names if name not in registry.devices]
    if missing:
        raise KnarrError(f"CDI device injection failed: unresolvable CDI devices {', '.join(missing)}")
    found: list[Edits] = []
    seen: set[str] = set()
    for name in names:
        path, spec, device = registry.devices[name]
        if path not in seen:
            seen.add(path)
            found.append(spec.container_edits)
        found.append(device.container_edits)
    return found


def apply(bundle: dict[str, Any], edits: Iterable[Edits]) -> None:
    """Edits an OCI configuration as `engine.bundle` makes it. The nodes say everything (`devicedrivers.filled`).

    In a user namespace nobody may make nodes: they are bound.
    """
    for each in edits:
        _apply(bundle, each)
    bundle["mounts"].sort(key=lambda mount: str(mount["destination"]).rstrip("/").count("/"))


def _apply(bundle: dict[str, Any], edits: Edits) -> None:
    process, linux = bundle["process"], bundle["linux"]
    mapped = bool(linux.get("uidMappings")) or any(
        each["type"] == "user" for each in linux.get("namespaces") or ()
    )
    names = {text.partition("=")[0] for text in edits.env}
    process["env"] = [text for text in process["env"] if text.partition("=")[0] not in names] + edits.env
    for node in edits.device_nodes:
        _apply_node(bundle, node, mapped=mapped)
    for device in edits.net_devices:
        linux.setdefault("netDevices", {})[device.host_interface_name] = {"name": device.name}
    for mount in edits.mounts:
        _mount(bundle, mount.container_path, mount.host_path, mount.type, mount.options)
    for hook in edits.hooks:
        told: dict[str, Any] = {"path": hook.path, "args": hook.args, "env": hook.env}
        if hook.timeout is not None:
            told["timeout"] = hook.timeout
        bundle.setdefault("hooks", {}).setdefault(hook.hook_name, []).append(told)
    if edits.intel_rdt is not None:
        linux["intelRdt"] = edits.intel_rdt
    groups = [str(gid) for gid in edits.additional_gids if gid]
    process["user"]["groups"] = [*process["user"]["groups"], *groups]


def _apply_node(bundle: dict[str, Any], node: DeviceNode, *, mapped: bool) -> None:
    linux = bundle["linux"]
    if mapped:
        _mount(bundle, node.path, node.host_path or node.path, "bind", ["bind", "rprivate"])
    else:
        others = [each for each in linux["devices"] if each["path"] != node.path]
        linux["devices"] = [
            *others,
            {
                "path": node.path,
                "type": node.type,
                "major": node.major,
                "minor": node.minor,
                "fileMode": 0o666 if node.file_mode is None else node.file_mode,
                "uid": node.uid or 0,
                "gid": node.gid or 0,
            },
        ]
    if node.type in ("b", "c"):
        rule = {"allow": True, "type": node.type, "major": node.major, "minor": node.minor}
        linux["resources"]["devices"].append({**rule, "access": node.permissions or "rwm"})


def _mount(bundle: dict[str, Any], target: str, source: str, kind: str, options: Sequence[str]) -> None:
    bundle["mounts"] = [each for each in bundle["mounts"] if each["destination"] != target]
    bundle["mounts"].append({"destination": target, "type": kind, "source": source, "options": list(options)})
