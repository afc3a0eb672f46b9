"""What Docker refuses in a request, in Docker's words. Pure."""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from posixpath import normpath

from knarr.engine import limit_checks, signals
from knarr.engine.errors import BadName
from knarr.model.container import ContainerSpec, Healthcheck, MountSpec, RestartPolicy, Ulimit
from knarr.model.errors import Invalid
from knarr.runtime.caps import ALL
from knarr.runtime.plan_mounts import WORDS

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
NAME_RULE = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
_RUNTIMES = ("", "runc", "knarr", "io.containerd.runc.v2")
_PERMISSIONS = re.compile(r"[rwm]{1,3}\Z")
_DEVICE_RULE = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}\Z")
_LIMITS = frozenset(
    (
        "CORE",
        "CPU",
        "DATA",
        "FSIZE",
        "LOCKS",
        "MEMLOCK",
        "MSGQUEUE",
        "NICE",
        "NOFILE",
        "NPROC",
        "RSS",
        "RTPRIO",
    )
) | frozenset(("RTTIME", "SIGPENDING", "STACK"))
_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TMPFS_DATA = frozenset(("mode", "size", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"))


def check(spec: ContainerSpec, cpus: int) -> None:
    """Raises Invalid for the first thing that is wrong."""
    for entry in spec.environment:
        if not entry.partition("=")[0]:
            raise Invalid(f"invalid environment variable: {entry}")
    if spec.storage_options:
        raise Invalid("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
    if spec.working_dir and not spec.working_dir.startswith("/"):
        raise Invalid(
            f"the working directory '{spec.working_dir}' is invalid, it needs to be an absolute path"
        )
    if spec.stop_signal:
        signals.number(spec.stop_signal)
    if spec.runtime not in _RUNTIMES:
        raise Invalid(f"unknown or invalid runtime name: {spec.runtime}")
    if spec.isolation not in ("", "default"):
        raise Invalid(f"invalid isolation ({spec.isolation}): linux only supports 'default'")
    check_restart(spec.restart, auto_remove=spec.auto_remove)
    check_on_unhealthy(spec)
    _check_health(spec.healthcheck)
    check_capabilities("CapAdd", spec.cap_add)
    check_capabilities("CapDrop", spec.cap_drop)
    _check_modes(spec)
    check_hosts(spec.extra_hosts)
    for mount in spec.mounts:
        check_mount(mount)
    check_security_options(spec.security_options)
    _check_numbers(spec)
    limit_checks.check(spec.resources, cpus)


def _check_health(check: Healthcheck | None) -> None:
    if check is None:
        return
    times = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
    }
    for name, time in times.items():
        if time and time < 1_000_000:
            raise Invalid(f"{name} in Healthcheck cannot be less than 1ms")
    if check.retries < 0:
        raise Invalid("Retries in Healthcheck cannot be negative")


def check_name(name: str) -> str:
    """A container's name without Docker's leading slash. Raises Invalid."""
    bare = name.removeprefix("/")
    if not _NAME.match(bare):
        raise BadName(f"Invalid container name ({name}), only {NAME_RULE} are allowed")
    return bare


def check_volume_name(name: str) -> None:
    """Raises Invalid."""
    if len(name) < 2 and name:
        raise Invalid(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _NAME.match(name):
        raise Invalid(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only "{NAME_RULE}" are '
            "allowed. If you intended to pass a host directory, use absolute path"
        )


def check_restart(policy: RestartPolicy, *, auto_remove: bool) -> None:
    """Raises Invalid."""
    if policy.name not in ("", "no", "always", "unless-stopped", "on-failure"):
        raise Invalid(
            f"invalid restart policy: unknown policy '{policy.name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'"
        )
    if policy.maximum_retries and policy.name != "on-failure":
        detail = "can only be used with 'on-failure'"
        if policy.maximum_retries < 0:
            detail += " and cannot be negative"
        raise Invalid(f"invalid restart policy: maximum retry count {detail}")
    if policy.maximum_retries < 0:
        raise Invalid("invalid restart policy: maximum retry count cannot be negative")
    if auto_remove and policy.name not in ("", "no"):
        raise Invalid("can't create 'AutoRemove' container with restart policy")


def check_on_unhealthy(spec: ContainerSpec) -> None:
    """Raises Invalid for a wish that nothing would come of."""
    if spec.on_unhealthy not in ("", "restart", "none"):
        raise Invalid(f"invalid OnUnhealthy: {_quoted(spec.on_unhealthy)}; use 'restart' or 'none'")
    if spec.on_unhealthy == "restart" and spec.restart.name in ("", "no"):
        raise Invalid(
            "OnUnhealthy 'restart' needs a restart policy: 'always', 'on-failure' or 'unless-stopped'"
        )


def capability(name: str) -> str:
    """The kernel's name of a capability as users write it; "ALL" stays."""
    upper = name.upper()
    return upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"


def check_capabilities(field: str, names: Iterable[str]) -> None:
    """Raises Invalid for a name that the kernel does not have."""
    for name in names:
        if capability(name) not in ("ALL", "CAP_ALL", *ALL):
            raise Invalid(f'invalid {field}: unknown capability: "{capability(name)}"')


def _check_modes(spec: ContainerSpec) -> None:
    shared = spec.network_mode.startswith("container:")
    if spec.network_mode == "container:":
        raise Invalid("invalid container format container:<name|id>")
    if shared:
        refused = (
            (spec.hostname, "conflicting options: hostname and the network mode"),
            (spec.links, ("conflicting options: container type network can't be used with links. This would result "
             "in undefined behavior")),
            (spec.dns, "conflicting options: dns and the network mode"),
            (spec.extra_hosts, "conflicting options: custom host-to-IP mapping and the network mode"),
            (spec.mac_address, "conflicting options: mac-address and the network mode"),
            (spec.port_bindings or spec.publish_all,
             "conflicting options: port publishing and the container type network mode"),
            (spec.exposed_ports, "conflicting options: port exposing and the container type network mode"),
        )  # fmt: skip
        for present, message in refused:
            if present:
                raise Invalid(message)
    if spec.network_mode == "host" and spec.links:
        raise Invalid(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior"
        )
    if spec.uts_mode == "host" and spec.hostname:
        raise Invalid("conflicting options: hostname and the UTS mode")
    _check_mode("PID", spec.pid_mode, ("", "host"))
    _check_mode("UTS", spec.uts_mode, ("", "host"), container=False)
    _check_mode("IPC", spec.ipc_mode, ("", "none", "private", "shareable", "host"))
    _check_mode("cgroup namespace", spec.cgroupns_mode, ("", "private", "host"), container=False)


def _check_mode(kind: str, mode: str, words: tuple[str, ...], *, container: bool = True) -> None:
    if mode in words or (container and mode.startswith("container:") and len(mode) > len("container:")):
        return
    raise Invalid(f"invalid {kind} mode: {mode}")


def check_hosts(entries: Iterable[str]) -> None:
    """Raises Invalid for what is not `name:address` or `name:host-gateway`."""
    for entry in entries:
        name, colon, address = entry.partition(":")
        if not colon or not name:
            raise Invalid(f"bad format for add-host: {_quoted(entry)}")
        if address == "host-gateway":
            continue
        try:
            ip_address(address.strip("[]"))
        except ValueError:
            raise Invalid(f"invalid IP address in add-host: {_quoted(address)}") from None


def check_mount(mount: MountSpec) -> None:
    """Raises Invalid; that a bind's source exists is for those who can look."""
    if not mount.target:
        raise _mount_error(mount, "field Target must not be empty")
    if clean(mount.target) == "/":
        raise _mount_error(mount, "invalid specification: destination can't be '/'")
    if not mount.target.startswith("/"):
        raise _mount_error(mount, f"invalid mount path: '{mount.target}' mount path must be absolute")
    if mount.type == "bind":
        if not mount.source:
            raise _mount_error(mount, "field Source must not be empty")
        if not mount.source.startswith("/"):
            raise _mount_error(mount, f"invalid mount path: '{mount.source}' mount path must be absolute")
    elif mount.type == "volume":
        if mount.source:
            check_volume_name(mount.source)
        if mount.subpath and not mount.source:
            raise _mount_error(mount, "must not set Subpath when using anonymous volumes")
        _check_subpath(mount)
    elif mount.type == "tmpfs":
        if mount.source:
            raise _mount_error(mount, "field Source must not be specified")
        _check_tmpfs(mount.options)
    elif mount.type == "image":
        if not mount.source:
            raise _mount_error(mount, "field Source must not be empty")
        _check_subpath(mount)
    else:
        raise Invalid(f'invalid mount config for type "{mount.type}": mount type unknown')


def overlap(source: str, data_root: str) -> bool:
    """Whether a bind shows the daemon's own files, or is among them."""
    mine, theirs = f"{clean(data_root)}/", f"{clean(source)}/".replace("//", "/")
    return mine.startswith(theirs) or theirs.startswith(mine)


def covering(source: str, propagation: str, data_root: str) -> str:
    """The propagation of a bind that says none: over the daemon's own mounts it must not hold them. Raises Invalid."""
    if not overlap(source, data_root):
        return "rprivate"
    if propagation not in ("", "rslave", "rshared"):
        raise Invalid(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within the '
            f"daemon root, daemon root: {_quoted(data_root)}, bind mount source: {_quoted(source)}, "
            f"propagation: {_quoted(propagation)}"
        )
    return "rslave"


def _check_subpath(mount: MountSpec) -> None:
    if mount.subpath.startswith("/") or f"{normpath(mount.subpath)}/".startswith("../"):
        raise _mount_error(mount, "subpath must be a relative path within the volume")


def _check_tmpfs(words: Iterable[str]) -> None:
    for word in words:
        name, equals, _ = word.partition("=")
        if not (word in WORDS or (equals and name in _TMPFS_DATA)):
            raise Invalid(f'invalid tmpfs option "{name}"')


def _mount_error(mount: MountSpec, detail: str) -> Invalid:
    if mount.asked_by == "tmpfs":
        return Invalid(detail)
    return Invalid(f'invalid mount config for type "{mount.type}": {detail}')


def check_security_options(options: Iterable[str]) -> None:
    """Raises Invalid for an option that is none."""
    for option in options:
        if option in ("no-new-privileges", "disable", "writable-cgroups"):
            continue
        key, found, value = option.partition("=")
        if not found:
            key, found, value = option.partition(":")
        if not found or not value:
            raise Invalid(f"invalid --security-opt 1: {_quoted(option)}")
        if key not in (
            "label",
            "apparmor",
            "seccomp",
            "no-new-privileges",
            "systempaths",
            "writable-cgroups",
            "userns",
        ):
            raise Invalid(f"invalid --security-opt 2: {_quoted(option)}")
        if key in ("no-new-privileges", "writable-cgroups") and value not in ("true", "false"):
            raise Invalid(f"invalid --security-opt 2: {_quoted(option)}")


def ulimit(text: str) -> Ulimit:
    """Reads `nofile=1024:2048`. Raises Invalid."""
    match = re.fullmatch(r"([a-z]+)=(-?\d+)(?::(-?\d+))?", text)
    if not match or match[1].upper() not in _LIMITS:
        raise Invalid(f"invalid ulimit: {text}")
    return Ulimit(name=match[1], soft=int(match[2]), hard=int(match[3] or match[2]))


def size(text: str) -> int:
    """Reads `10m` or `-1`. Raises Invalid."""
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*([bkmgt]?)i?b?", text.strip().lower())
    if not match:
        raise Invalid(f"invalid size: '{text}'")
    return int(float(match[1]) * _SIZES[match[2]])


def _check_numbers(spec: ContainerSpec) -> None:
    if "" in spec.annotations:
        raise Invalid("invalid Annotations: the empty string is not permitted as an annotation key")
    if not -1000 <= spec.oom_score_adj <= 1000:
        raise Invalid(f"Invalid value {spec.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if spec.shm_size < 0:
        raise Invalid("SHM size can not be less than 0")
    for device in spec.resources.devices:
        if not _PERMISSIONS.match(device.permissions):
            raise Invalid(f"invalid device mode: {device.permissions}")
    for limit in spec.resources.ulimits:
        if limit.name.upper() not in _LIMITS:
            raise Invalid(f"invalid ulimit type: {limit.name}")
        if limit.hard != -1 and (limit.soft > limit.hard or limit.soft == -1):
            raise Invalid(
                f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}"
            )
    for rule in spec.resources.device_cgroup_rules:
        if not _DEVICE_RULE.match(rule):
            raise Invalid(f"invalid device cgroup rule format: '{rule}'")
    for name in spec.sysctls:
        if spec.network_mode == "host" and name.startswith("net."):
            raise Invalid(f"sysctl '{name}' not allowed in host network namespace")
        if not name.startswith(("net.", "fs.mqueue.", "kernel.msg", "kernel.sem", "kernel.shm")):
            raise Invalid(f"sysctl '{name}' is not allowed: it is not namespaced")


def clean(path: str) -> str:
    """A path without `.`, `..`, doubled or trailing slashes."""
    cleaned = normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
