"""The cgroup of either version at a path."""

from collections.abc import Mapping

from knarr.kernel.cgroups.hierarchy import Hierarchy
from knarr.kernel.cgroups.v1 import CgroupV1
from knarr.kernel.cgroups.v2 import CgroupV2


def open_cgroup(path: str, hierarchy: Hierarchy, *, beside: bool = False) -> CgroupV1 | CgroupV2:
    """Nothing is made yet: see `create`. `beside` is version 1's."""
    return CgroupV2(path, hierarchy) if hierarchy.version == 2 else CgroupV1(path, hierarchy, beside=beside)


def open_paths(paths: Mapping[str, str], beside: str = "") -> CgroupV1 | CgroupV2:
    """The cgroup whose `paths()` and `beside` these are, which may be another one for each controller; it was made before."""
    if "" in paths:
        return CgroupV2("", Hierarchy(2, {}, paths[""]))
    return CgroupV1("", Hierarchy(1, dict(paths), beside), beside=True)
