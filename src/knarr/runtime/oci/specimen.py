"""The configuration that `spec` writes: a starting point to be edited. Pure data and one change of it."""

from typing import Any

from knarr.runtime.oci.commands import OCI_VERSION

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
]
_READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def specimen(program: str, cgroup_version: int) -> dict[str, Any]:
    """What runc's spec has, with the program's name as the host's."""
    kinds = ["pid", "network", "ipc", "uts", "mount", *(["cgroup"] if cgroup_version == 2 else [])]
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: list(_CAPABILITIES) for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": program,
        "mounts": _mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in kinds],
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READONLY),
        },
    }


def _mounts() -> list[dict[str, Any]]:
    guarded = ["nosuid", "noexec", "nodev"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        _mount("/dev/shm", "tmpfs", "shm", [*guarded, "mode=1777", "size=65536k"]),
        _mount("/dev/mqueue", "mqueue", "mqueue", guarded),
        _mount("/sys", "sysfs", "sysfs", [*guarded, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*guarded, "relatime", "ro"]),
    ]


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def rootless(config: dict[str, Any], uid: int, gid: int) -> dict[str, Any]:
    """The same for somebody who is not root: a user namespace, no network of its own, no limits."""
    linux = {key: value for key, value in config["linux"].items() if key != "resources"}
    kinds = [entry for entry in linux["namespaces"] if entry["type"] not in ("network", "user")]
    linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    linux["namespaces"] = [*kinds, {"type": "user"}]
    return {**config, "mounts": [_unprivileged(mount) for mount in config["mounts"]], "linux": linux}


def _unprivileged(mount: dict[str, Any]) -> dict[str, Any]:
    if mount["destination"] == "/sys":
        return _mount("/sys", "none", "/sys", ["rbind", "nosuid", "noexec", "nodev", "ro"])
    if "options" not in mount:
        return mount
    return {**mount, "options": [word for word in mount["options"] if not word.startswith(("gid=", "uid="))]}
