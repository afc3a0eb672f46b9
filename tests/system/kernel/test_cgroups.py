"""OCI's resources in the files of whichever cgroup version this host has: the same tests run on both."""

import errno
import mmap
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knarr.kernel.cgroups.hierarchy import Hierarchy, find
from knarr.kernel.cgroups.open import open_cgroup
from knarr.kernel.cgroups.v1 import CgroupV1
from knarr.kernel.cgroups.v2 import CgroupV2
from knarr.runtime.defaults import device_rules
from tests.support import host
from tests.system.kernel.test_kernel import in_child

Cgroup = CgroupV1 | CgroupV2
PARENT = f"knarr-test-cgroups-{os.getpid()}"
MIB = 1 << 20
VERSION = find().version


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    hierarchy = find()
    group = open_cgroup(f"{PARENT}/one", hierarchy)
    group.create()
    try:
        yield group
    finally:
        remove(open_cgroup(PARENT, hierarchy))
    assert not host.cgroups(PARENT)


def remove(group: Cgroup) -> None:
    """With all below it; a process that was waited for may leave its cgroup a moment later."""
    deadline = time.monotonic() + 60
    while True:
        try:
            group.remove()
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def read(group: Cgroup, controller: str, name: str) -> str:
    """A file of `controller`, which on version 2 all share a directory."""
    paths = group.paths()
    return Path(paths[controller if VERSION == 1 else ""], name).read_text().strip()


def memory(size: int) -> mmap.mmap:
    """That much of the caller's own, touched."""
    held = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, size, mmap.PAGESIZE):
        held[at] = 1
    return held


def lacks(controller: str, name: str) -> bool:
    """Whether no cgroup of this host has the file."""
    group = open_cgroup(f"{PARENT}-look", find())
    group.create()
    directory = group.paths().get(controller if VERSION == 1 else "")
    found = directory is not None and Path(directory, name).exists()
    group.remove()
    return not found


FILES: list[tuple[dict[str, Any], tuple[str, str, str], tuple[str, str]]] = [
    ({"memory": {"limit": 64 * MIB}}, ("memory", "memory.limit_in_bytes", "67108864"), ("memory.max", "67108864")),
    ({"memory": {"reservation": 32 * MIB}}, ("memory", "memory.soft_limit_in_bytes", "33554432"),
     ("memory.low", "33554432")),
    ({"cpu": {"shares": 512}}, ("cpu", "cpu.shares", "512"), ("cpu.weight", "59")),
    ({"cpu": {"quota": 50000, "period": 200000}}, ("cpu", "cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 200000")),
    ({"cpu": {"quota": 50000}}, ("cpu", "cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000")),
    ({"cpu": {"period": 50000}}, ("cpu", "cpu.cfs_period_us", "50000"), ("cpu.max", "max 50000")),
    ({"cpu": {"quota": 50000, "burst": 20000}}, ("cpu", "cpu.cfs_burst_us", "20000"), ("cpu.max.burst", "20000")),
    ({"cpu": {"idle": 1}}, ("cpu", "cpu.idle", "1"), ("cpu.idle", "1")),
    ({"cpu": {"cpus": "0", "mems": "0"}}, ("cpuset", "cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    ({"pids": {"limit": 77}}, ("pids", "pids.max", "77"), ("pids.max", "77")),
    ({"pids": {"limit": -1}}, ("pids", "pids.max", "max"), ("pids.max", "max")),
    ({"pids": {"limit": 0}}, ("pids", "pids.max", "1"), ("pids.max", "1")),
]  # fmt: skip


@pytest.mark.parametrize(("resources", "first", "second"), FILES, ids=[str(each[0]) for each in FILES])
def test_what_is_asked_is_in_the_files(
    cgroup: Cgroup, resources: dict[str, Any], first: tuple[str, str, str], second: tuple[str, str]
) -> None:
    controller, name, wanted = first if VERSION == 1 else ("", *second)
    cgroup.apply(resources)
    assert read(cgroup, controller, name) == wanted


def test_memory_and_swap_grow_and_shrink(cgroup: Cgroup) -> None:
    for limit, swap in ((64, 128), (256, 512), (32, 32), (-1, -1), (16, 64)):
        sizes = {"limit": limit * MIB if limit > 0 else -1, "swap": swap * MIB if swap > 0 else -1}
        cgroup.apply({"memory": sizes})
        stats = cgroup.stats()["memory"]
        if limit > 0:
            assert (stats["usage"]["limit"], stats["swap"]["limit"]) == (limit * MIB, swap * MIB)
    cgroup.apply({"memory": {"limit": -1}})
    assert cgroup.stats()["memory"]["swap"]["limit"] > 1 << 60
    with pytest.raises(OSError):
        cgroup.apply({"memory": {"limit": 32 * MIB, "swap": 16 * MIB}})


def test_a_swap_limit_alone_goes_with_the_memory_limit_that_is_there(cgroup: Cgroup) -> None:
    cgroup.apply({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}})
    cgroup.apply({"memory": {"swap": 96 * MIB}})
    assert cgroup.stats()["memory"]["swap"]["limit"] == 96 * MIB


def test_quota_and_period_each_for_itself(cgroup: Cgroup) -> None:
    cgroup.apply({"cpu": {"quota": 50000, "period": 200000}})
    cgroup.apply({"cpu": {"period": 100000}})
    cgroup.apply({"cpu": {"quota": 70000}})
    now = (
        f"{read(cgroup, 'cpu', 'cpu.cfs_quota_us')} {read(cgroup, 'cpu', 'cpu.cfs_period_us')}"
        if VERSION == 1
        else read(cgroup, "", "cpu.max")
    )
    assert now == "70000 100000"
    cgroup.apply({"cpu": {"quota": 3000, "burst": 3000}})
    cgroup.apply({"cpu": {"quota": 9000, "burst": 8000}})
    cgroup.apply({"cpu": {"burst": 0}})


def test_a_limit_below_what_is_used_is_refused_when_asked_to_look(cgroup: Cgroup) -> None:
    def hold() -> None:
        cgroup.enter()
        held = memory(4 * MIB)
        with pytest.raises(OSError, match="rejecting memory limit 1048576 <= usage"):
            cgroup.apply({"memory": {"limit": MIB, "checkBeforeUpdate": True}})
        cgroup.apply({"memory": {"limit": 64 * MIB, "checkBeforeUpdate": True}})
        held.close()

    assert in_child(hold) == 0


@pytest.mark.parametrize(
    ("resources", "controller", "name"),
    [
        ({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}, "hugetlb", "hugetlb"),
        ({"rdma": {"nosuch0": {"hcaHandles": 1}}}, "rdma", "rdma"),
        ({"cpu": {"realtimeRuntime": 1000}}, "cpu", "realtime|rt_runtime"),
        ({"network": {"classID": 5}}, "net_cls", "net_cls|network class"),
    ],
)
def test_what_this_kernel_lacks_is_named(
    cgroup: Cgroup, resources: dict[str, Any], controller: str, name: str
) -> None:
    if VERSION == 1 and (
        (controller == "net_cls" and controller in find().controllers)
        or (controller == "cpu" and not lacks("cpu", "cpu.rt_runtime_us"))
    ):
        pytest.skip(f"this kernel has {controller}")
    with pytest.raises(OSError, match=name):
        cgroup.apply(resources)


def test_huge_pages(cgroup: Cgroup) -> None:
    name = "hugetlb.2MB.limit_in_bytes" if VERSION == 1 else "hugetlb.2MB.max"
    if lacks("hugetlb", name):
        pytest.skip("no huge pages of 2MB, or no controller of them")
    cgroup.apply({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]})
    assert read(cgroup, "hugetlb", name) == str(4 * MIB)
    assert read(cgroup, "hugetlb", name.replace("2MB", "2MB.rsvd")) == str(4 * MIB)
    assert "2MB" in cgroup.stats()["hugetlb"]


def test_weights_of_block_devices(cgroup: Cgroup) -> None:
    """By bfq where it is there, otherwise by what the version has; a host with neither says so."""
    names = (
        ("blkio", "blkio.bfq.weight"),
        ("blkio", "blkio.weight"),
        ("", "io.bfq.weight"),
        ("", "io.weight"),
    )
    found = [
        (controller, name) for controller, name in names[:2] if VERSION == 1 and not lacks(controller, name)
    ]
    found += [
        (controller, name) for controller, name in names[2:] if VERSION == 2 and not lacks(controller, name)
    ]
    if not found:
        with pytest.raises(OSError, match="weight"):
            cgroup.apply({"blockIO": {"weight": 500}})
        return
    cgroup.apply({"blockIO": {"weight": 500}})
    wanted = {"io.weight": "default 4950", "io.bfq.weight": "default 500"}
    assert read(cgroup, *found[0]) == wanted.get(found[0][1], "500")


def test_unified_resources(cgroup: Cgroup) -> None:
    if VERSION == 1:
        with pytest.raises(OSError, match="cgroup version 2's, and this host has version 1"):
            cgroup.apply({"unified": {"memory.high": "1"}})
        return
    cgroup.apply({"pids": {"limit": 5}, "unified": {"memory.high": "1048576", "pids.max": "6"}})
    assert (read(cgroup, "", "memory.high"), read(cgroup, "", "pids.max")) == ("1048576", "6")
    for name, words in (
        ("nosuch.max", 'unified resource "nosuch.max" can\'t be set: controller "nosuch" not available'),
        ("memory.nosuch", 'unable to set unified resource "memory.nosuch"'),
        ("memory.max", 'unable to set unified resource "memory.max": Invalid argument'),
    ):
        with pytest.raises(OSError, match=words):
            cgroup.apply({"unified": {name: "nonsense"}})


def test_processes_in_a_parent_keep_controllers_from_its_children(cgroup: Cgroup) -> None:
    """The "no internal process" rule of version 2; version 1 has none."""
    inner = open_cgroup(f"{cgroup.path}/inner", find())

    def hold() -> None:
        cgroup.enter()
        inner.create()
        if VERSION == 1:
            inner.apply({"pids": {"limit": 5}})
        else:
            with pytest.raises(FileNotFoundError, match='controller "pids" is not available'):
                inner.apply({"pids": {"limit": 5}})

    assert in_child(hold) == 0
    remove(inner)


def test_a_threaded_cgroup_takes_no_container(cgroup: Cgroup) -> None:
    if VERSION == 1:
        hierarchy = Hierarchy(2, {}, find().unified) if find().unified else None
    else:
        hierarchy = find()
    if hierarchy is None:
        pytest.skip("no cgroup2 mount")
    outer = CgroupV2(f"{PARENT}-threaded", hierarchy)
    inner = CgroupV2(f"{outer.path}/inner", hierarchy)
    outer.create()
    Path(inner.paths()[""]).mkdir()
    Path(inner.paths()[""], "cgroup.type").write_text("threaded")
    with pytest.raises(OSError, match="it is in threaded mode"):
        inner.create()
    outer.remove()


def test_running_out_of_memory_is_counted(cgroup: Cgroup) -> None:
    cgroup.apply({"memory": {"limit": 8 * MIB, "swap": 8 * MIB}})
    assert cgroup.oom_kills() == 0

    def eat() -> None:
        cgroup.enter()
        memory(64 * MIB)

    assert in_child(eat) == -9
    assert cgroup.oom_kills() == 1
    stats = cgroup.stats()["memory"]
    assert stats["usage"]["limit"] == 8 * MIB
    if VERSION == 2:  # Linux 6.18 leaves version 1's failcnt at 0
        assert stats["usage"]["failcnt"] > 0


def test_statistics_have_the_same_shape_on_both_versions(cgroup: Cgroup) -> None:
    cgroup.apply({"pids": {"limit": 10}, "memory": {"limit": 512 * MIB}})

    def work() -> None:
        cgroup.enter()
        held = memory(8 * MIB)
        deadline = time.monotonic() + 60
        while not (stats := cgroup.stats())["cpu"]["usage"]["user"]:
            assert time.monotonic() < deadline
        assert stats["cpu"]["usage"]["total"] > 1_000_000
        assert 8 * MIB <= stats["memory"]["usage"]["usage"] <= stats["memory"]["usage"]["max"]
        # Its values may be two seconds old (mm/memcontrol.c, mem_cgroup_flush_stats_ratelimited).
        assert ("total_rss" if VERSION == 1 else "anon") in stats["memory"]["raw"]
        assert stats["pids"] == {"current": 1, "limit": 10}
        assert set(stats) == {"cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "rdma", "misc"}
        assert {"ioServiceBytesRecursive", "ioServicedRecursive"} <= set(stats["blkio"])
        assert set(stats["cpu"]) >= {"usage", "throttling"}
        assert set(stats["memory"]) >= {"cache", "usage", "swap", "kernel", "kernelTCP", "raw"}
        held.close()

    assert in_child(work) == 0


@pytest.mark.parametrize(
    ("rules", "flags", "allowed"),
    [
        (device_rules(), os.O_RDWR, True),
        ([{"allow": False}], os.O_RDONLY, False),
        ([{"allow": False}, {"allow": True, "type": "c", "major": 1, "access": "r"}], os.O_RDONLY, True),
        ([{"allow": False}, {"allow": True, "type": "c", "major": 1, "access": "r"}], os.O_RDWR, False),
        ([{"allow": False}, {"allow": True, "type": "a", "major": 1, "access": "rw"}], os.O_RDWR, True),
        ([{"allow": False}, {"allow": True, "type": "b"}], os.O_RDONLY, False),
        ([{"allow": True}, {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"}], os.O_RDWR, False),
        ([{"allow": True, "access": "rwm"}], os.O_RDWR, True),
        ([{"allow": False, "access": "rwm"}], os.O_RDONLY, False),
        ([{"allow": False}, {"allow": True, "type": "c", "access": "r"}], os.O_RDONLY, True),
        ([{"allow": False}, {"allow": True, "type": "c", "access": "r"}], os.O_RDWR, False),
        ([{"allow": True}, {"allow": False, "type": "c", "major": 1, "access": "w"}], os.O_RDWR, False),
        ([{"allow": False}, *({"allow": True, "type": "c", "major": n, "minor": n, "access": "r"} for n in range(500))], os.O_RDONLY, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["cgroup"] if VERSION == 2 else ["cgroup", "unified"])
def test_device_rules_are_kept(
    request: pytest.FixtureRequest, kind: str, rules: list[dict[str, Any]], flags: int, allowed: bool
) -> None:
    """By the host's version, and by version 2 where a host has both."""
    group: Cgroup = request.getfixturevalue(kind)
    group.apply({"devices": rules})

    def child() -> int:
        group.enter()
        try:
            os.close(os.open("/dev/null", flags))
        except PermissionError:
            return 1
        return 0

    assert in_child(child) == (0 if allowed else 1)


def test_a_hole_in_a_grant_is_kept_or_refused(cgroup: Cgroup) -> None:
    rules = [
        {"allow": False},
        {"allow": True, "type": "c", "major": 1, "access": "rw"},
        {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"},
    ]
    if VERSION == 1:
        with pytest.raises(OSError, match="cgroup version 1 cannot deny device"):
            cgroup.apply({"devices": rules})
        return
    cgroup.apply({"devices": rules})

    def child() -> int:
        cgroup.enter()
        os.close(os.open("/dev/zero", os.O_RDWR))
        try:
            os.open("/dev/null", os.O_RDWR)
        except PermissionError:
            return 0
        return 1

    assert in_child(child) == 0


def test_a_frozen_cgroup_is_killed(cgroup: Cgroup) -> None:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        cgroup.enter()
        os.write(write_end, b"x")
        while True:
            time.sleep(1000)
    assert os.read(read_end, 1) == b"x"
    os.close(read_end)
    os.close(write_end)
    cgroup.freeze()
    assert cgroup.frozen()
    cgroup.kill()
    cgroup.thaw()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    assert not cgroup.frozen()
