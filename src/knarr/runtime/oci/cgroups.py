"""Where a container's cgroup is: linux.cgroupsPath as runc reads it, and the saved one again.

An absolute path starts at each hierarchy's root; a relative one, and the name that stands in for a missing one, below the
caller's own cgroup: on version 2 beside it, for a cgroup with processes cannot hand controllers on.
"""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from knarr.kernel.cgroups import hierarchy
from knarr.kernel.cgroups.open import open_cgroup
from knarr.kernel.cgroups.v1 import CgroupV1
from knarr.kernel.cgroups.v2 import CgroupV2
from knarr.kernel.files import read_text
from knarr.runtime.defaults import device_rules

host_hierarchy = cache(hierarchy.find)
"""The host's cgroup mounts."""


def resolve(wish: str, name: str, own: str) -> str:
    """The path below a hierarchy's root. `own` is the text of /proc/self/cgroup. Pure."""
    path = (
        os.path.normpath("/" + wish) if wish.startswith("/") else os.path.normpath("/" + (wish or name))[1:]
    )
    if path.startswith("/"):
        return path.strip("/")
    base = ""
    for line in own.splitlines():
        _, controllers, where = line.split(":", 2)
        if not controllers:
            base = base or os.path.dirname(where)
        elif "pids" in controllers.split(",") or "memory" in controllers.split(","):
            base = where
    return f"{base}/{path}".strip("/")


def locate(linux: Mapping[str, Any], name: str) -> CgroupV1 | CgroupV2:
    """The cgroup that a container is to have; nothing is made yet."""
    path = resolve(str(linux.get("cgroupsPath") or ""), name, read_text("/proc/self/cgroup"))
    return open_cgroup(path, host_hierarchy())


def open_saved(state: Mapping[str, Any]) -> CgroupV1 | CgroupV2 | None:
    """The cgroup of a recorded container; None where it was made without one."""
    path = state.get("cgroup_path")
    return open_cgroup(path, host_hierarchy()) if path else None


def with_devices(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Everything is denied, then what is asked, then what every container may use: the last rule decides. Pure."""
    deny, *usual = device_rules()
    return {**resources, "devices": [deny, *(resources.get("devices") or ()), *usual]}
