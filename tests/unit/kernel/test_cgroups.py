"""cgroup files: what is written for OCI resources, on either version, into a directory that stands in for the hierarchy."""

import struct
from pathlib import Path

import pytest

from knarr.kernel import bpf
from knarr.kernel.cgroups import hierarchy, v1, v2
from knarr.kernel.cgroups.hierarchy import Hierarchy

HYBRID = """25 30 0:23 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
26 25 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
27 25 0:25 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
28 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
29 25 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
"""
RESOURCES = {
    "memory": {"limit": 1 << 26, "swap": 1 << 27, "reservation": 1 << 25},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
    "pids": {"limit": 77},
    "blockIO": {"weight": 100, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}]},
}


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


def test_a_unified_host_is_version_2() -> None:
    found = hierarchy.parse("26 25 0:24 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    assert (found.version, found.mount_points()) == (2, ["/sys/fs/cgroup"])


def test_no_hierarchy_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        hierarchy.parse("")


def test_version_1_files() -> None:
    assert v1.settings(RESOURCES) == [
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


def test_version_2_files() -> None:
    assert v2.settings(RESOURCES) == [
        ("memory.max", "67108864"),
        ("memory.swap.max", "67108864"),
        ("memory.low", "33554432"),
        ("cpu.weight", "20"),
        ("cpu.max", "50000 100000"),
        ("cpuset.cpus", "0"),
        ("pids.max", "77"),
        ("io.bfq.weight", "100"),
        ("io.max", "8:0 rbps=1000"),
    ]
    assert v2.settings({"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}}) == [
        ("memory.max", "max"),
        ("memory.swap.max", "max"),
        ("pids.max", "max"),
    ]


def test_unified_names_cannot_leave_the_directory() -> None:
    with pytest.raises(OSError, match="not a file name"):
        v2.settings({"unified": {"../x": "1"}})


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({"allow": False}, "a *:* rwm"),
        ({"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rm"}, "c 1:3 rm"),
        ({"allow": True, "type": "b", "major": 8}, "b 8:* rwm"),
    ],
)
def test_device_rules(rule: dict[str, object], wanted: str) -> None:
    assert v1.device_rule(rule) == wanted


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
    assert (tmp_path / "cgroup.subtree_control").read_text().startswith("+pids")


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
        elif code == 0x5D:
            at += offset if registers[dst] != registers[src] else 0
        elif code == 0x95:
            return registers[0]
        else:
            raise AssertionError(hex(code))


def test_the_device_program_decides_as_version_1_does() -> None:
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": True, "type": "c", "major": 136, "access": "rw"},
        {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"},
    ]
    program = bpf.device_program(rules)
    char, block, mknod, read, write = 2, 1, 1, 2, 4
    assert run_device_program(program, char, read, 1, 3) == 1
    assert run_device_program(program, char, write, 1, 3) == 0
    assert run_device_program(program, char, mknod, 9, 9) == 1
    assert run_device_program(program, block, mknod, 9, 9) == 0
    assert run_device_program(program, char, read | write, 136, 5) == 1
    assert run_device_program(program, char, read | write | mknod, 136, 5) == 0
