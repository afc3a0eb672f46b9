"""What every container gets unless it is told otherwise, as Docker's own OCI configuration has it. Pure data."""

from typing import Any

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

SHM_SIZE = 64 << 20


def mounts(*, privileged: bool = False, shm_size: int = SHM_SIZE) -> list[dict[str, Any]]:
    """The kernel's file systems of a container; its own mounts come after these."""
    ro = [] if privileged else ["ro"]
    return [
        _mount("/proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", *ro),
        _mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", *ro),
        _mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", f"size={shm_size}"),
    ]


def _mount(destination: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": list(options)}


DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
DEVICE_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
    ("pts/ptmx", "/dev/ptmx"),
)


def device_rules() -> list[dict[str, Any]]:
    """The device cgroup of an unprivileged container, in OCI's linux.resources.devices form; own devices come after."""
    numbers = [("c", major, minor) for _, major, minor in DEVICES]
    numbers += [("c", 5, 1), ("c", 5, 2), ("c", 136, -1)]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [{"allow": True, "type": kind, "access": "m"} for kind in "cb"]
    for kind, major, minor in numbers:
        rule: dict[str, Any] = {"allow": True, "type": kind, "major": major, "access": "rwm"}
        rules.append(rule if minor < 0 else {**rule, "minor": minor})
    return rules


PRIVILEGED_DEVICE_RULES: list[dict[str, Any]] = [{"allow": True, "access": "rwm"}]
