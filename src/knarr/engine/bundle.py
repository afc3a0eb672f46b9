"""A container's specification becomes an OCI runtime configuration (with wire.shim's additions). Pure.

What only the host knows (device numbers, namespaces of others, its capabilities) comes in as `Facts`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from knarr.engine.checks import capability
from knarr.engine.ocilimits import Node, oci_resources
from knarr.engine.plan import overlay_environment, process_environment
from knarr.engine.record import STEP, Placed
from knarr.engine.userns import NO_IDS, Ids
from knarr.model.container import ContainerSpec, ExecSpec
from knarr.runtime import defaults, netns
from knarr.runtime.caps import ALL, DEFAULT

_INIT_TARGET = "/sbin/docker-init"
_NET_SYSCTLS = {f"net.ipv4.{name}": value for name, value in netns.SYSCTLS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the host adds. `joined` maps a kind of namespace to the path of one to join, or "" for the host's own.

    `files` are (host path, path in the container); `numbers` the (major, minor) of block devices in limits; `ids` the
    mappings of the user namespace in `joined`; `seccomp` how its filter is loaded.
    """

    capabilities: frozenset[str]
    cgroup: str
    joined: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Placed] = ()
    files: Sequence[tuple[str, str]] = ()
    nodes: Sequence[Node] = ()
    numbers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    shm_source: str = ""
    init: str = ""
    no_new_privileges: bool = False
    ids: Ids = NO_IDS
    seccomp: Mapping[str, Any] = field(default_factory=dict)


def make_bundle(spec: ContainerSpec, path: str, args: Sequence[str], facts: Facts) -> dict[str, Any]:
    """The OCI configuration."""
    command = [path, *args]
    if facts.init:
        command = [_INIT_TARGET, "--", *command]
    private_uts = "uts" not in facts.joined
    bundle: dict[str, Any] = {
        "ociVersion": "1.2.0",
        "process": _process(spec, command, facts),
        "root": {"readonly": spec.read_only},
        "mounts": _mounts(spec, facts),
        "linux": _linux(spec, facts),
    }
    if private_uts and spec.hostname:
        bundle["hostname"] = spec.hostname
        if spec.domainname:
            bundle["domainname"] = spec.domainname
    if spec.annotations:
        bundle["annotations"] = dict(spec.annotations)
    return bundle


def capabilities(spec: ContainerSpec, available: frozenset[str]) -> tuple[str, ...]:
    """Docker's rule: drops from the defaults, then adds; ALL on either side turns it round."""
    if spec.privileged:
        return tuple(name for name in ALL if name in available)
    added = {capability(name).replace("CAP_ALL", "ALL") for name in spec.cap_add}
    dropped = {capability(name).replace("CAP_ALL", "ALL") for name in spec.cap_drop}
    if "ALL" in added:
        chosen = set(ALL) - dropped
    elif "ALL" in dropped:
        chosen = added
    else:
        chosen = (set(DEFAULT) - dropped) | added
    return tuple(name for name in ALL if name in chosen and name in available)


def no_new_privileges(spec: ContainerSpec, default: bool = False) -> bool:
    """Whether set-uid programs are to give nothing."""
    for option in spec.security_options:
        if option in ("no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"):
            return True
        if option in ("no-new-privileges=false", "no-new-privileges:false"):
            return False
    return default


def seccomp_profile(spec: ContainerSpec) -> str | None:
    """None: no filter; "": the default one; otherwise the profile's JSON, or its builtin name."""
    if spec.privileged:
        return None
    for option in spec.security_options:
        if option.startswith(("seccomp=", "seccomp:")):
            value = option[len("seccomp=") :]
            if value == "unconfined":
                return None
            return "" if value in ("builtin", "default") else value
    return ""


def _capability_sets(names: Sequence[str]) -> dict[str, list[str]]:
    return {
        "bounding": list(names),
        "effective": list(names),
        "permitted": list(names),
        "inheritable": [],
        "ambient": [],
    }


def _process(spec: ContainerSpec, command: list[str], facts: Facts) -> dict[str, Any]:
    process: dict[str, Any] = {
        "terminal": spec.tty,
        "args": command,
        "env": process_environment(spec),
        "cwd": spec.working_dir or "/",
        "user": {"name": spec.user, "groups": list(spec.groups)},
        "capabilities": _capability_sets(capabilities(spec, facts.capabilities)),
        "noNewPrivileges": no_new_privileges(spec, facts.no_new_privileges),
        "rlimits": [
            {"type": f"RLIMIT_{each.name.upper()}", "soft": each.soft, "hard": each.hard}
            for each in spec.resources.ulimits
        ],
    }
    if spec.oom_score_adj:
        process["oomScoreAdj"] = spec.oom_score_adj
    if spec.tty and any(spec.console_size):
        process["consoleSize"] = {"height": spec.console_size[0], "width": spec.console_size[1]}
    return process


def exec_process(
    container: ContainerSpec,
    asked: ExecSpec,
    available: frozenset[str],
    *,
    console_size: tuple[int, int] = (0, 0),
    no_new_privileges_default: bool = False,
) -> dict[str, Any]:
    """An OCI process beside the init. Its user's groups are those of the container only if the user is too."""
    names = (
        tuple(name for name in ALL if name in available)
        if asked.privileged
        else capabilities(container, available)
    )
    values = dict(entry.partition("=")[::2] for entry in process_environment(container))
    if asked.tty:
        values.setdefault("TERM", "xterm")
    process: dict[str, Any] = {
        "terminal": asked.tty,
        "args": list(asked.command),
        "env": overlay_environment(values, asked.environment),
        "cwd": asked.working_dir or container.working_dir or "/",
        "user": {"name": asked.user or container.user, "groups": list(container.groups)},
        "capabilities": _capability_sets(names),
        "noNewPrivileges": no_new_privileges(container, no_new_privileges_default),
        "rlimits": [
            {"type": f"RLIMIT_{each.name.upper()}", "soft": each.soft, "hard": each.hard}
            for each in container.resources.ulimits
        ],
    }
    if asked.tty and any(console_size):
        process["consoleSize"] = {"height": console_size[0], "width": console_size[1]}
    return process


def _mounts(spec: ContainerSpec, facts: Facts) -> list[dict[str, Any]]:
    """The kernel's, then the engine's files and the user's, upper directories first; the user's stand in for all others."""
    chosen = {
        mount["destination"]: mount
        for mount in defaults.mounts(privileged=spec.privileged, shm_size=spec.shm_size)
    }
    if spec.ipc_mode == "none":
        del chosen["/dev/shm"]
    elif spec.ipc_mode == "host":
        chosen["/dev/shm"] = _bind("/dev/shm", "/dev/shm")
        # The host may have no mqueue mounted; a user namespace may not mount another's.
        if facts.ids.uids:
            chosen["/dev/mqueue"] = _bind("/dev/mqueue", "/dev/mqueue")
    elif facts.shm_source:
        chosen["/dev/shm"] = _bind(facts.shm_source, "/dev/shm")
    read_only = ("ro",) if spec.read_only else ()
    mapped = bool(facts.ids.uids)
    owned = ("idmap",) if mapped else ()
    for node in facts.nodes if mapped else ():
        chosen[node.path] = _bind(node.source, node.path)
    own = {placed.target for placed in facts.mounts}
    if "/dev" in own:
        chosen = {target: mount for target, mount in chosen.items() if not target.startswith("/dev/")}
    for target in own:
        chosen.pop(target, None)
    late = [
        _bind(source, target, *read_only, *owned)
        for source, target in facts.files
        if not _hidden(target, facts.mounts)
    ]
    late += [_placed(placed, mapped=mapped) for placed in facts.mounts]
    late.sort(key=lambda mount: str(mount["destination"]).count("/"))
    chosen |= {mount["destination"]: mount for mount in late}
    if facts.init:
        chosen[_INIT_TARGET] = _bind(facts.init, _INIT_TARGET, "ro")
    return list(chosen.values())


def _hidden(target: str, mounts: Sequence[Placed]) -> bool:
    """Whether a file of the engine's own is not seen: one is mounted in its place, or a build's step mounts over its directory."""
    return any(
        mount.target == target or (mount.asked_by == STEP and target.startswith(f"{mount.target}/"))
        for mount in mounts
    )


def _bind(source: str, target: str, *options: str) -> dict[str, Any]:
    return {
        "destination": target,
        "type": "bind",
        "source": source,
        "options": ["rbind", "rprivate", *options],
    }


def _placed(mount: Placed, *, mapped: bool) -> dict[str, Any]:
    """In a user namespace a volume takes the container's ids, a bind mount those that it is asked for with."""
    if mount.type == "tmpfs":
        options = ["noexec", "nosuid", "nodev", *mount.options]
        if not mount.writable:
            options.append("ro")
        return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    options = ["rbind" if "nonrecursive" not in mount.options else "bind", mount.propagation or "rprivate"]
    if not mount.writable:
        options.append("ro" if mount.type == "volume" or mount.shallow else "rro")
    if mapped and mount.type == "volume":
        options.append("idmap")
    elif mapped:
        options += [word for word in mount.options if word in ("idmap", "ridmap")]
    found = {"destination": mount.target, "type": "bind", "source": mount.source, "options": options}
    return {**found, "subpath": mount.subpath} if mount.subpath else found


def _linux(spec: ContainerSpec, facts: Facts) -> dict[str, Any]:
    namespaces: list[dict[str, str]] = [{"type": "mount"}]
    if "user" in facts.joined:
        namespaces.append({"type": "user", "path": facts.joined["user"]})
    for kind in ("pid", "network", "ipc", "uts", "cgroup"):
        if kind not in facts.joined:
            namespaces.append({"type": kind})
        elif facts.joined[kind]:
            namespaces.append({"type": kind, "path": facts.joined[kind]})
    open_paths = spec.privileged
    masked = spec.masked_paths if spec.masked_paths is not None else defaults.MASKED_PATHS
    readonly = spec.readonly_paths if spec.readonly_paths is not None else defaults.READONLY_PATHS
    own_network = spec.network_mode != "host" and not spec.network_mode.startswith("container:")
    set_already = bool(facts.joined.get("network")) and not facts.ids.gids
    net_sysctls = {} if set_already else {**_NET_SYSCTLS, **_ping_groups(facts.ids)}
    return {
        "namespaces": namespaces,
        **_mappings(facts.ids),
        "resources": oci_resources(spec.resources, facts.nodes, facts.numbers, privileged=spec.privileged),
        "devices": [
            {
                "path": node.path,
                "type": node.kind,
                "major": node.major,
                "minor": node.minor,
                "fileMode": node.mode,
                "uid": node.uid,
                "gid": node.gid,
            }
            for node in (() if facts.ids.uids else facts.nodes)
        ],
        "sysctl": {**(net_sysctls if own_network else {}), **spec.sysctls},
        "maskedPaths": [] if open_paths else list(masked),
        "readonlyPaths": [] if open_paths else list(readonly),
        "rootfsPropagation": _root_propagation(facts.mounts),
        **({"seccomp": dict(facts.seccomp)} if facts.seccomp else {}),
        "cgroupsPath": facts.cgroup,
    }


def _mappings(ids: Ids) -> dict[str, Any]:
    """OCI's uidMappings and gidMappings."""
    words = ("containerID", "hostID", "size")
    named = {"uidMappings": ids.uids, "gidMappings": ids.gids}
    return {
        key: [dict(zip(words, line, strict=True)) for line in lines] for key, lines in named.items() if lines
    }


def _ping_groups(ids: Ids) -> dict[str, str]:
    """Both ends must be groups of the user namespace (icmp(7), ping_group_range)."""
    if not ids.gids:
        return {}
    first = next(line for line in sorted(ids.gids))
    return {"net.ipv4.ping_group_range": f"{first[0]} {first[0] + first[2] - 1}"}


def _root_propagation(mounts: Sequence[Placed]) -> str:
    """A shared or slave bind needs a root that lets its peers' mounts through; the other mounts keep to themselves."""
    words = {mount.propagation.removeprefix("r") for mount in mounts}
    return "shared" if "shared" in words else "rslave" if "slave" in words else "rprivate"
