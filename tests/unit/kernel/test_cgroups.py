"""cgroup files: what is written for OCI resources, on either version, into a directory that stands in for the hierarchy."""

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.kernel import bpf
from knarr.kernel.cgroups import hierarchy, v1, v2
from knarr.kernel.cgroups.hierarchy import Hierarchy

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
    assert v2.settings({"memory": {"limit": 0, "swap": 0}, "cpu": {"shares": 1}}) == [("cpu.weight", "1")]
    assert v2.settings({"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}}) == [
        ("memory.max", "max"),
        ("memory.swap.max", "max"),
        ("pids.max", "max"),
    ]


def test_a_limit_of_swap_alone_means_nothing_on_version_2() -> None:
    with pytest.raises(OSError, match="needs a limit of memory"):
        v2.settings({"memory": {"swap": 1 << 20}})


@pytest.mark.parametrize(
    ("shares", "weight"), [(1, 1), (2, 1), (1024, 39), (262144, 10000), (1 << 30, 10000)]
)
def test_shares_become_weights(shares: int, weight: int) -> None:
    assert v2.cpu_weight(shares) == weight


@pytest.mark.parametrize(
    ("bfq", "generic"), [("10", "default 1"), ("1000", "default 10000"), ("8:16 500", "8:16 4950")]
)
def test_bfq_weights_become_generic_ones(bfq: str, generic: str) -> None:
    assert v2.generic_weight(bfq) == generic


def test_version_1_has_no_unified_resources() -> None:
    with pytest.raises(OSError, match="version 2"):
        v1.CgroupV1("one", Hierarchy(1, {})).apply({"unified": {"memory.high": "1"}})


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
        "access": st.sampled_from(["r", "w", "m", "rw", "wm", "rwm", ""]),
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
            and bit in (BITS[letter] for letter in rule.get("access") or "rwm")
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
