"""Which cgroup hierarchies this host has, and where (cgroups(7), /proc/self/mountinfo).

Version 2 alone is `unified`; a host with any v1 controller mounted is version 1, even with a v2 tree beside it (hybrid).
"""

from collections.abc import Mapping

from knarr.kernel.files import read_text

ROOT = "/sys/fs/cgroup"
_OPTIONS = frozenset(
    ("rw", "ro", "xattr", "clone_children", "noprefix", "none", "seclabel", "cpuset_v2_mode", "favordynmods")
)


class Hierarchy:
    """`version` is 1 or 2. `controllers` maps a v1 controller ("cpu", "memory", "name=systemd") to its mount point; on
    version 2 it is empty and `unified` is the mount point."""

    __slots__ = ("controllers", "unified", "version")

    def __init__(self, version: int, controllers: dict[str, str], unified: str = ""):
        self.version = version
        self.controllers = controllers
        self.unified = unified

    def below(self, places: Mapping[str, str]) -> "Hierarchy":
        """Rooted in other cgroups: `places` maps a v1 controller to one, "" version 2's (proc_pid_cgroup(5)); "/" is the root."""
        controllers = {
            name: f"{point}/{places.get(name, '').strip('/')}".rstrip("/")
            for name, point in self.controllers.items()
        }
        unified = f"{self.unified}/{places.get('', '').strip('/')}".rstrip("/") if self.unified else ""
        return Hierarchy(self.version, controllers, unified)

    def mount_points(self) -> list[str]:
        """Every mount point once, in a fixed order: co-mounted controllers share one."""
        if self.version == 2:
            return [self.unified]
        return list(dict.fromkeys(self.controllers.values()))


def parse(mountinfo: str) -> Hierarchy:
    """Reads proc_pid_mountinfo(5). Raises OSError ENOENT where no hierarchy is mounted."""
    controllers: dict[str, str] = {}
    unified = ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            unified = unified or fields[4]
        elif kind[0] == "cgroup":
            for option in kind[2].split(","):
                if option not in _OPTIONS and ("=" not in option or option.startswith("name=")):
                    controllers.setdefault(option, fields[4])
    if controllers:
        return Hierarchy(1, controllers, unified)
    if unified:
        return Hierarchy(2, {}, unified)
    raise FileNotFoundError(2, "no cgroup hierarchy is mounted", ROOT)


def find() -> Hierarchy:
    """This host's hierarchy."""
    return parse(read_text("/proc/self/mountinfo", 16 << 20))
