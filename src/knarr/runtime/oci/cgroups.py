"""Where a container's cgroup is: linux.cgroupsPath as runc reads it, and the saved one again.

An absolute path starts at each hierarchy's root; a relative one, and the name that stands in for a missing one, below the
caller's own cgroup: on version 2 beside it, for a cgroup with processes cannot hand controllers on.
"""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from knarr.kernel.cgroups import hierarchy
from knarr.kernel.cgroups.open import open_cgroup, open_paths
from knarr.kernel.cgroups.v1 import CgroupV1
from knarr.kernel.cgroups.v2 import CgroupV2
from knarr.kernel.files import read_text
from knarr.runtime.defaults import device_rules

host_hierarchy = cache(hierarchy.find)
"""The host's cgroup mounts."""


def resolve(wish: str, name: str, own: str) -> tuple[str, dict[str, str]]:
    """(path, by controller the cgroup that it is below). `own` is the text of /proc/self/cgroup. Pure."""
    if wish.startswith("/"):
        return os.path.normpath(f"/{wish}").strip("/"), {}
    below = {}
    for line in own.splitlines():
        _, controllers, where = line.split(":", 2)
        for controller in controllers.split(","):
            below[controller] = where if controller else os.path.dirname(where)
    return os.path.normpath(f"/{wish or name}").strip("/"), below


def locate(linux: Mapping[str, Any], name: str, *, beside: bool) -> CgroupV1 | CgroupV2:
    """The cgroup that a container is to have: with `beside` in version 2's tree too, where a host has both. Nothing is made yet."""
    path, below = resolve(str(linux.get("cgroupsPath") or ""), name, read_text("/proc/self/cgroup"))
    return open_cgroup(path, host_hierarchy().below(below), beside=beside)


def open_saved(state: Mapping[str, Any]) -> CgroupV1 | CgroupV2 | None:
    """The cgroup of a recorded container; None where it was made without one."""
    paths = state.get("cgroup_paths")
    return open_paths(paths, state.get("cgroup_beside") or "") if paths else None


def with_devices(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Everything is denied, then what is asked, then what every container may use: the last rule decides. Pure."""
    deny, *usual = device_rules()
    return {**resources, "devices": [deny, *(resources.get("devices") or ()), *usual]}
