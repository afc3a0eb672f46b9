"""cgroup files: what is written for OCI resources, on either version, into a directory that stands in for the hierarchy."""

import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.kernel import bpf
from knarr.kernel.cgroups import hierarchy, units, v1, v1_settings, v2, v2_settings
from knarr.kernel.cgroups.hierarchy import Hierarchy
from knarr.kernel.cgroups.rules import CannotExcept, device_lines

HYBRID = """25 30 0:23 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
26 25 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
27 25 0:25 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
28 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
29 25 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
"""
RESOURCES = {
    "memory": {"limit": 1 << 26, "swap": 1 << 27, "reservation": 1 << 25},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
    "pids": {"limit": 77},
    "blockIO": {"weight": 100, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}]},
}


def test_beside_version_1_a_hybrid_host_has_the_same_path_in_the_tree_of_version_2(tmp_path: Path) -> None:
    host = Hierarchy(1, {"pids": str(tmp_path / "pids")}, str(tmp_path / "unified"))
    alone, both = v1.CgroupV1("a/one", host), v1.CgroupV1("a/one", host, beside=True)
    alone.create()
    assert alone.open_for_clone() == -1
    assert not (tmp_path / "unified").exists()
    both.create()
    fd = both.open_for_clone()
    assert os.readlink(f"/proc/self/fd/{fd}") == str(tmp_path / "unified/a/one")
    os.close(fd)
    both.remove()
    assert not (tmp_path / "unified/a/one").exists()
    assert not (tmp_path / "pids/a/one").exists()


def test_a_hybrid_host_is_version_1() -> None:
    found = hierarchy.parse(HYBRID)
    assert found.version == 1
    assert found.controllers["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert found.controllers["name=systemd"] == "/sys/fs/cgroup/systemd"
    assert found.mount_points() == [
        "/sys/fs/cgroup/cpu,cpuacct",
        "/sys/fs/cgroup/memory",
        "/sys/fs/cgroup/systemd",
    ]
    assert set(found.controllers) == {"cpu", "cpuacct", "memory", "name=systemd"}


def test_a_unified_host_is_version_2() -> None:
    found = hierarchy.parse("26 25 0:24 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    assert (found.version, found.mount_points()) == (2, ["/sys/fs/cgroup"])


def test_no_hierarchy_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        hierarchy.parse("")


def test_version_1_files() -> None:
    assert v1_settings.settings(RESOURCES) == [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "134217728"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("pids", "pids.max", "77"),
        ("blkio", "blkio.bfq.weight", "100"),
        ("blkio", "blkio.throttle.read_bps_device", "8:0 1000"),
    ]


EVERYTHING = {
    "memory": {
        "limit": 100,
        "swap": -1,
        "kernel": 3,
        "kernelTCP": 4,
        "swappiness": 0,
        "disableOOMKiller": True,
        "useHierarchy": True,
    },
    "cpu": {"idle": 0, "burst": 0, "realtimePeriod": 5, "realtimeRuntime": 6, "mems": "0"},
    "pids": {"limit": 0},
    "blockIO": {"leafWeight": 7, "weightDevice": [{"major": 8, "minor": 1, "weight": 9, "leafWeight": 10}]},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 11}],
    "network": {"classID": 12, "priorities": [{"name": "lo", "priority": 13}]},
    "rdma": {"mlx4_0": {"hcaHandles": 14, "hcaObjects": 15}, "mlx4_1": {"hcaObjects": 0}},
}


def test_every_resource_of_version_1() -> None:
    assert v1_settings.settings(EVERYTHING) == [
        ("memory", "memory.memsw.limit_in_bytes", "-1"),
        ("memory", "memory.limit_in_bytes", "100"),
        ("memory", "memory.kmem.limit_in_bytes", "3"),
        ("memory", "memory.kmem.tcp.limit_in_bytes", "4"),
        ("memory", "memory.swappiness", "0"),
        ("memory", "memory.use_hierarchy", "1"),
        ("memory", "memory.oom_control", "1"),
        ("cpu", "cpu.cfs_burst_us", "0"),
        ("cpu", "cpu.idle", "0"),
        ("cpu", "cpu.rt_period_us", "5"),
        ("cpu", "cpu.rt_runtime_us", "6"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "1"),
        ("blkio", "blkio.leaf_weight", "7"),
        ("blkio", "blkio.bfq.weight_device", "8:1 9"),
        ("blkio", "blkio.leaf_weight_device", "8:1 10"),
        ("hugetlb", "hugetlb.2MB.limit_in_bytes", "11"),
        ("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "11"),
        ("net_cls", "net_cls.classid", "12"),
        ("net_prio", "net_prio.ifpriomap", "lo 13"),
        ("rdma", "rdma.max", "mlx4_0 hca_handle=14 hca_object=15"),
        ("rdma", "rdma.max", "mlx4_1 hca_object=0"),
    ]


@pytest.mark.parametrize(
    ("now", "limit", "swap", "first"),
    [
        (None, 10, 20, v1_settings.LIMIT),
        (5, 10, 20, v1_settings.SWAP),
        (30, 10, 20, v1_settings.LIMIT),
        (30, 10, -1, v1_settings.SWAP),
    ],
)
def test_of_memory_and_swap_the_one_that_grows_goes_first(
    now: int | None, limit: int, swap: int, first: str
) -> None:
    wanted = v1_settings.settings({"memory": {"limit": limit, "swap": swap}}, now)
    assert [name for _, name, _ in wanted].index(first) == 0
    assert len(wanted) == 2


sizes = st.one_of(st.just(-1), st.integers(1, 1 << 50))


@given(now=st.one_of(st.none(), st.tuples(sizes, sizes)), limit=sizes, swap=sizes)
def test_the_kernel_takes_memory_and_swap_in_that_order(
    now: tuple[int, int] | None, limit: int, swap: int
) -> None:
    """memory <= memory+swap must hold after each write (cgroup-v1/memory.rst), from whatever held before."""
    endless = 1 << 60
    files = dict(
        zip(
            (v1_settings.LIMIT, v1_settings.SWAP),
            (endless if size < 0 else size for size in now or (-1, -1)),
            strict=True,
        )
    )
    if 0 < swap < (limit if limit > 0 else endless) or files[v1_settings.LIMIT] > files[v1_settings.SWAP]:
        return
    present = files[v1_settings.LIMIT]
    for _, name, value in v1_settings.settings({"memory": {"limit": limit, "swap": swap}}, present):
        files[name] = endless if value == "-1" else int(value)
        assert files[v1_settings.LIMIT] <= files[v1_settings.SWAP]


def test_an_impossible_swappiness_is_refused() -> None:
    with pytest.raises(ValueError, match=r"swappiness value: 101 \(valid range is 0-100\)"):
        v1_settings.settings({"memory": {"swappiness": 101}})
    assert v1_settings.settings({"memory": {"swappiness": -1}}) == []


def test_version_2_files() -> None:
    assert v2_settings.settings(RESOURCES) == [
        ("memory.swap.max", "67108864"),
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("cpu.weight", "59"),
        ("cpu.max", "50000 100000"),
        ("cpuset.cpus", "0"),
        ("pids.max", "77"),
        ("io.bfq.weight", "100"),
        ("io.max", "8:0 rbps=1000"),
    ]
    assert v2_settings.settings({"memory": {"limit": 0, "swap": 0}, "cpu": {"shares": 1}}) == [
        ("cpu.weight", "1")
    ]
    assert v2_settings.settings({"memory": {"limit": -1}, "pids": {"limit": -1}}) == [
        ("memory.swap.max", "max"),
        ("memory.max", "max"),
        ("pids.max", "max"),
    ]
    assert v2_settings.settings(
        {
            "cpu": {"idle": 1, "burst": 0, "quota": 5000},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
            "rdma": {"mlx4_0": {"hcaHandles": 1}},
        }
    ) == [
        ("cpu.idle", "1"),
        ("cpu.max.burst", "0"),
        ("cpu.max", "5000"),
        ("hugetlb.2MB.max", "0"),
        ("hugetlb.2MB.rsvd.max", "0"),
        ("rdma.max", "mlx4_0 hca_handle=1"),
    ]


def test_what_is_there_completes_half_a_wish() -> None:
    assert v2_settings.settings({"cpu": {"period": 5000}}, quota_now="777") == [("cpu.max", "777 5000")]
    assert v2_settings.settings({"memory": {"swap": 30}}, memory_now=10) == [("memory.swap.max", "20")]


@pytest.mark.parametrize(
    "resources",
    [
        {"memory": {"kernel": 1}},
        {"memory": {"kernelTCP": 1}},
        {"memory": {"swappiness": 0}},
        {"memory": {"disableOOMKiller": True}},
        {"cpu": {"realtimePeriod": 1}},
        {"cpu": {"realtimeRuntime": 1}},
        {"blockIO": {"leafWeight": 10}},
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}},
        {"network": {"classID": 1}},
        {"network": {"priorities": [{"name": "lo", "priority": 1}]}},
    ],
)
def test_what_version_2_does_not_have_is_an_error_that_names_it(resources: dict[str, Any]) -> None:
    group, names = next(iter(resources.items()))
    with pytest.raises(ValueError, match=f"cgroup version 2 does not have .*{group}.{next(iter(names))}"):
        v2_settings.settings(resources)


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        ({"swap": 1 << 20}, "unable to set swap limit without memory limit"),
        ({"limit": 20, "swap": 10}, r"memory\+swap limit should be >= memory limit"),
        ({"limit": -2, "swap": 10}, "invalid memory value: -2"),
    ],
)
def test_impossible_limits_of_swap(memory: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        v2_settings.settings({"memory": memory})


@pytest.mark.parametrize(
    ("shares", "weight"), [(1, 1), (2, 1), (1024, 100), (2048, 174), (262144, 10000), (1 << 30, 10000)]
)
def test_shares_become_weights(shares: int, weight: int) -> None:
    assert units.cpu_weight(shares) == weight


@given(st.integers(2, 262143))
def test_more_shares_never_weigh_less(shares: int) -> None:
    assert 1 <= units.cpu_weight(shares) <= units.cpu_weight(shares + 1) <= 10000


@given(st.integers(10, 999))
def test_block_weights_stay_in_their_range_and_order(weight: int) -> None:
    assert 1 <= units.io_weight(weight) < units.io_weight(weight + 1) <= 10000
    assert (units.io_weight(10), units.io_weight(1000), units.io_weight(500)) == (1, 10000, 4950)


@given(memory=sizes, swap=sizes)
def test_swap_alone_and_memory_are_both_together(memory: int, swap: int) -> None:
    if swap > 0 and memory > 0 and swap < memory:
        with pytest.raises(ValueError):
            units.swap_alone(swap, memory)
    else:
        alone = units.swap_alone(swap, memory)
        assert alone is not None
        assert alone == (swap if swap < 0 or memory < 0 else swap - memory)


def test_version_1_has_no_unified_resources() -> None:
    with pytest.raises(OSError, match="version 2"):
        v1.CgroupV1("one", Hierarchy(1, {})).apply({"unified": {"memory.high": "1"}})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../x", r"must be a file name \(no slashes\)"),
        ("memory", "must be in the form CONTROLLER.PARAMETER"),
        ("nosuch.max", 'unified resource "nosuch.max" can\'t be set: controller "nosuch" not available'),
    ],
)
def test_unified_names_are_checked(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        v2_settings.unified({"unified": {name: "1"}}, frozenset(("memory",)))


def test_unified_values_are_written_line_by_line() -> None:
    wanted = {"unified": {"io.max": "8:0 rbps=1\n8:16 rbps=2\n", "cgroup.type": "threaded"}}
    assert v2_settings.unified(wanted, frozenset(("io",))) == [
        ("io.max", "8:0 rbps=1"),
        ("io.max", "8:16 rbps=2"),
        ("cgroup.type", "threaded"),
    ]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({"allow": False}, [(False, "a *:* rwm")]),
        ({"allow": True, "type": "c", "major": 1, "minor": 3, "access": "mr"}, [(True, "c 1:3 rm")]),
        ({"allow": True, "type": "b", "major": 8}, [(True, "b 8:* rwm")]),
        ({"allow": True, "type": "a", "major": 8, "minor": -1}, [(True, "b 8:* rwm"), (True, "c 8:* rwm")]),
        ({"allow": True, "access": "r"}, [(True, "b *:* r"), (True, "c *:* r")]),
        ({"allow": True, "type": "u", "major": 1, "minor": 3}, [(True, "c 1:3 rwm")]),
    ],
)
def test_device_rules(rule: dict[str, object], wanted: list[tuple[bool, str]]) -> None:
    assert device_lines([rule]) == wanted


def test_devices_of_other_types_have_no_rules() -> None:
    for compile_ in (device_lines, bpf.device_program):
        with pytest.raises(ValueError, match="no cgroup has rules for devices of type 'p'"):
            compile_([{"allow": True, "type": "p"}])


@pytest.mark.parametrize("version", [1, 2])
def test_a_wish_that_lacks_a_part_is_an_error(version: int, tmp_path: Path) -> None:
    group = v1.CgroupV1("one", Hierarchy(1, {})) if version == 1 else v2.CgroupV2("one", unified(tmp_path))
    for resources in (
        {"hugepageLimits": [{"limit": 1}]},
        {"blockIO": {"throttleReadBpsDevice": [{"rate": 1}]}},
    ):
        with pytest.raises(OSError, match=r"resources lack '(pagesize|major)'"):
            group.apply(resources)


def test_keys_of_huge_pages_in_any_case() -> None:
    resources = {"hugepageLimits": [{"pagesize": "1GB", "limit": 1}]}
    assert v2_settings.settings(resources)[0] == ("hugetlb.1GB.max", "1")
    assert v1_settings.settings(resources)[0] == ("hugetlb", "hugetlb.1GB.limit_in_bytes", "1")


DENY_ALL: dict[str, Any] = {"allow": False}
NULL: dict[str, Any] = {"type": "c", "major": 1, "minor": 3}


def test_a_hole_that_version_1_would_forget_is_refused() -> None:
    wide = {"allow": True, "type": "c", "major": 1, "access": "rw"}
    with pytest.raises(CannotExcept, match=r"cannot deny device 'c 1:3 w' within 'c 1:\* rw'"):
        device_lines([DENY_ALL, wide, {**NULL, "allow": False, "access": "w"}])
    with pytest.raises(CannotExcept, match="cannot allow device"):
        device_lines([{"allow": True}, {**wide, "allow": False}, {**NULL, "allow": True}])
    assert len(device_lines([DENY_ALL, wide, {**NULL, "allow": False, "access": "m"}])) == 2
    with pytest.raises(CannotExcept, match=r"cannot deny device 'c \*:3 rwm' within 'c 1:\* rw'"):
        device_lines([DENY_ALL, wide, {"allow": False, "type": "c", "minor": 3}])


def test_a_wider_refusal_takes_back_each_grant_within() -> None:
    rules = [DENY_ALL, {**NULL, "allow": True, "access": "rw"}, {"allow": False, "type": "c", "major": 1}]
    assert device_lines(rules) == [(False, "a *:* rwm"), (True, "c 1:3 rw"), (False, "c 1:3 rw")]


def unified(root: Path) -> Hierarchy:
    (root / "cgroup.controllers").write_text("cpu memory pids\n")
    (root / "cgroup.subtree_control").write_text("")
    return Hierarchy(2, {}, str(root))


def test_version_2_in_a_directory(tmp_path: Path) -> None:
    group = v2.CgroupV2("knarr/one", unified(tmp_path))
    (tmp_path / "knarr").mkdir()
    (tmp_path / "knarr" / "cgroup.subtree_control").write_text("cpu memory pids\n")
    group.create()
    directory = tmp_path / "knarr" / "one"
    for name, text in (
        ("memory.max", "max\n"),
        ("cgroup.procs", ""),
        ("memory.events", "oom 1\noom_kill 3\n"),
    ):
        (directory / name).write_text(text)
    group.apply({"memory": {"limit": 4096}})
    assert (directory / "memory.max").read_text() == "4096"
    assert group.oom_kills() == 3
    assert group.pids() == []
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"


def test_a_kernel_without_swap_keeps_the_promise_of_none(tmp_path: Path) -> None:
    group = v2.CgroupV2("one", unified(tmp_path))
    group.create()
    (tmp_path / "one" / "memory.max").write_text("")
    group.apply({"memory": {"limit": 4096, "swap": 4096}})
    with pytest.raises(FileNotFoundError):
        group.apply({"memory": {"limit": 4096, "swap": 8192}})


def test_a_kernel_without_bfq_gets_generic_weights(tmp_path: Path) -> None:
    group = v2.CgroupV2("one", unified(tmp_path))
    group.create()
    (tmp_path / "one" / "io.weight").write_text("")
    group.apply({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 10}]}})
    assert (tmp_path / "one" / "io.weight").read_text() == "8:0 1"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    group = v2.CgroupV2("one", unified(tmp_path))
    group.create()
    with pytest.raises(FileNotFoundError) as caught:
        group.apply({"pids": {"limit": 1}})
    assert str(caught.value.filename).endswith("one/pids.max")


def test_a_missing_controller_is_named() -> None:
    group = v1.CgroupV1("one", Hierarchy(1, {"memory": "/nowhere"}))
    with pytest.raises(OSError, match="no pids cgroup controller"):
        group.apply({"pids": {"limit": 1}})


def run_device_program(program: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """The few BPF instructions that the compiler emits, interpreted: an oracle that shares no code with it."""
    registers = [0] * 11
    context = {0: access << 16 | kind, 4: major, 8: minor}
    at = 0
    while True:
        code, operands, offset, immediate = struct.unpack_from("<BBhi", program, at * 8)
        dst, src = operands & 15, operands >> 4
        at += 1
        if code == 0x61:
            registers[dst] = context[offset]
        elif code == 0xBC:
            registers[dst] = registers[src] & 0xFFFFFFFF
        elif code == 0x54:
            registers[dst] &= immediate
        elif code == 0x74:
            registers[dst] >>= immediate
        elif code == 0xB7:
            registers[dst] = immediate
        elif code == 0x55:
            at += offset if registers[dst] != immediate else 0
        elif code == 0x15:
            at += offset if registers[dst] == immediate else 0
        elif code == 0x95:
            return registers[0]
        else:
            raise AssertionError(hex(code))


CHAR, BLOCK, MKNOD, READ, WRITE = 2, 1, 1, 2, 4
BITS = {"m": MKNOD, "r": READ, "w": WRITE}


def test_the_last_rule_decides_each_access() -> None:
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": True, "type": "c", "major": 136, "access": "rw"},
        {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"},
        {"allow": True, "type": "b", "major": 8, "access": "r"},
        {"allow": True, "type": "b", "major": 8, "access": "w"},
    ]
    program = bpf.device_program(rules)
    assert run_device_program(program, CHAR, READ, 1, 3) == 1
    assert run_device_program(program, CHAR, WRITE, 1, 3) == 0
    assert run_device_program(program, CHAR, READ | WRITE, 1, 3) == 0
    assert run_device_program(program, CHAR, MKNOD, 9, 9) == 1
    assert run_device_program(program, BLOCK, MKNOD, 9, 9) == 0
    assert run_device_program(program, CHAR, READ | WRITE, 136, 5) == 1
    assert run_device_program(program, CHAR, READ | WRITE | MKNOD, 136, 5) == 1
    assert run_device_program(program, BLOCK, READ | WRITE, 8, 1) == 1
    assert run_device_program(program, BLOCK, READ | MKNOD, 8, 1) == 0


numbers = st.sampled_from([None, -1, 1, 3, 8])
device_rules = st.fixed_dictionaries(
    {"allow": st.booleans()},
    optional={
        "type": st.sampled_from(["a", "b", "c"]),
        "major": numbers,
        "minor": numbers,
        "access": st.sampled_from(["r", "w", "m", "rw", "wm", "rwm", "", "ra", "x"]),
    },
)


def decided(rules: list[dict[str, Any]], kind: int, bit: int, major: int, minor: int) -> bool:
    """What the last rule that is about one access says."""
    verdict = False
    for rule in rules:
        about = (
            rule.get("type", "a") in ("a", "c" if kind == CHAR else "b")
            and rule.get("major") in (None, -1, major)
            and rule.get("minor") in (None, -1, minor)
            and bit in (BITS.get(letter) for letter in rule.get("access") or "rwm")
        )
        verdict = rule["allow"] if about else verdict
    return verdict


@given(
    st.lists(device_rules, max_size=8),
    st.sampled_from([CHAR, BLOCK]),
    st.integers(1, 7),
    st.sampled_from([1, 3, 8]),
    st.sampled_from([1, 3, 8]),
)
def test_device_programs_decide_as_their_rules(
    rules: list[dict[str, Any]], kind: int, access: int, major: int, minor: int
) -> None:
    wanted = all(decided(rules, kind, bit, major, minor) for bit in BITS.values() if access & bit)
    assert run_device_program(bpf.device_program(rules), kind, access, major, minor) == wanted


class KernelV1:
    """device_cgroup.c's state machine, in which "a" is everything and exceptions are exact: the oracle for version 1."""

    def __init__(self) -> None:
        self.default = True
        self.exceptions: dict[tuple[str, ...], set[str]] = {}

    def write(self, allow: bool, line: str) -> None:
        kind, numbers, access = line.split()
        if kind == "a":
            self.default, self.exceptions = allow, {}
            return
        key = (kind, *numbers.split(":"))
        have = self.exceptions.get(key, set())
        self.exceptions[key] = have - set(access) if allow == self.default else have | set(access)

    def allows(self, kind: int, bit: int, major: int, minor: int) -> bool:
        letter = next(letter for letter, value in BITS.items() if value == bit)
        found = any(
            name == ("c" if kind == CHAR else "b")
            and have_major in ("*", str(major))
            and have_minor in ("*", str(minor))
            and letter in access
            for (name, have_major, have_minor), access in self.exceptions.items()
        )
        return found != self.default


@settings(max_examples=1000)
@given(
    st.lists(device_rules, max_size=8),
    st.sampled_from([CHAR, BLOCK]),
    st.sampled_from([MKNOD, READ, WRITE]),
    st.sampled_from([1, 3, 8]),
    st.sampled_from([1, 3, 8]),
)
def test_version_1_decides_as_the_rules_or_refuses_them(
    rules: list[dict[str, Any]], kind: int, bit: int, major: int, minor: int
) -> None:
    rules = [DENY_ALL, *rules]
    try:
        lines = device_lines(rules)
    except CannotExcept:
        return
    kernel = KernelV1()
    for allow, line in lines:
        kernel.write(allow, line)
    assert kernel.allows(kind, bit, major, minor) == decided(rules, kind, bit, major, minor)


@given(st.lists(device_rules, max_size=8))
def test_every_instruction_can_be_reached(rules: list[dict[str, Any]]) -> None:
    """The verifier refuses a program with a dead instruction, or one that runs past its end."""
    program = bpf.device_program(rules)
    count = len(program) // 8
    reached, left = set(), [0]
    while left:
        at = left.pop()
        if at in reached:
            continue
        assert at < count
        reached.add(at)
        code, _, offset, _ = struct.unpack_from("<BBhi", program, at * 8)
        if code != 0x95:
            left.append(at + 1)
        if code in (0x15, 0x55):
            left.append(at + 1 + offset)
    assert reached == set(range(count))
