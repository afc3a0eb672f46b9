"""Processes: what is asked for is checked and becomes numbers; what is not asked for is no step."""

from typing import Any

import pytest

from knarr.model.errors import Invalid
from knarr.runtime.plan import Step, plan_exec
from knarr.runtime.plan_process import scheduling
from knarr.runtime.plan_seccomp import filter_flags, has_notify


def process(**fields: Any) -> dict[str, Any]:
    return {"args": ["true"], "cwd": "/", "user": {"uid": 1, "gid": 2}, **fields}


def arguments(steps: tuple[Step, ...], act: str) -> list[tuple[Any, ...]]:
    return [step.arguments for step in steps if step.act == act]


def test_nothing_is_done_that_nobody_asked_for() -> None:
    acts = [step.act for step in plan_exec(process(), seccomp=False)]
    assert acts == [
        "protect", "enter-cgroup", "keyring", "join-container", "user-ids", "stdio", "cwd", "bounding", "identity",
        "capabilities", "command",
    ]  # fmt: skip


def test_an_exec_honours_what_an_init_does() -> None:
    asked = process(
        terminal=True,
        oomScoreAdj=3,
        apparmorProfile="p",
        selinuxLabel="l",
        execCPUAffinity={"initial": "0", "final": "1-2"},
        scheduler={"policy": "SCHED_IDLE"},
        ioPriority={"class": "IOPRIO_CLASS_IDLE"},
        rlimits=[{"type": "RLIMIT_CPU", "soft": 1, "hard": 2}],
        user={"uid": 1, "gid": 2, "umask": 0o777, "additionalGids": [3]},
    )
    linux = {"personality": {"domain": "LINUX32", "flags": ["x"]}, "memoryPolicy": {"mode": "MPOL_LOCAL"}}
    steps = plan_exec(asked, seccomp=True, linux=linux, no_keyring=True)
    acts = [step.act for step in steps]
    assert "keyring" not in acts
    for earlier, later in (
        ("affinity", "enter-cgroup"),
        ("procfs", "oom-score"),
        ("oom-score", "join-container"),
        ("apparmor", "join-container"),
        ("selinux", "join-container"),
        ("join-container", "terminal"),
        ("scheduler", "identity"),
        ("io-priority", "identity"),
        ("personality", "identity"),
        ("memory-policy", "identity"),
        ("rlimit", "identity"),
        ("umask", "identity"),
    ):
        assert acts.index(earlier) < acts.index(later), (earlier, later)
    assert arguments(steps, "affinity") == [((0,), True), ((1, 2), False)]
    assert acts.count("procfs") == 1
    assert arguments(steps, "warn") == [("ignoring unsupported personality flags",)]
    assert arguments(steps, "umask") == [(0o777,)]
    assert arguments(steps, "rlimit") == [("RLIMIT_CPU", 0, 1, 2)]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"policy": "SCHED_OTHER", "nice": -20}, (0, 0, -20, 0, 0, 0, 0)),
        ({"policy": "SCHED_RR", "priority": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}, (2, 1, 0, 5, 0, 0, 0)),
        ({"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3}, (6, 0, 0, 0, 1, 2, 3)),
        (
            {
                "policy": "SCHED_ISO",
                "flags": [f"SCHED_FLAG_{f}" for f in ("RECLAIM", "DL_OVERRUN", "KEEP_POLICY", "KEEP_PARAMS")],
            },
            (4, 0x1E, 0, 0, 0, 0, 0),
        ),
        (
            {"policy": "SCHED_IDLE", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"]},
            (5, 0x60, 0, 0, 0, 0, 0),
        ),
    ],
)
def test_schedulers(wish: dict[str, Any], words: tuple[int, ...]) -> None:
    (step,) = scheduling({"scheduler": wish}, {})
    assert step.arguments == words


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]}, (2 | 1 << 15, (0, 1))),
        ({"mode": "MPOL_PREFERRED"}, (1, ())),
        (
            {"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "3", "flags": ["MPOL_F_NUMA_BALANCING"]},
            (6 | 1 << 13, (3,)),
        ),
    ],
)
def test_memory_policies(wish: dict[str, Any], words: tuple[Any, ...]) -> None:
    (step,) = scheduling({}, {"memoryPolicy": wish})
    assert step.arguments == words


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"mode": "MPOL_MOON"}, 'invalid memory policy mode "MPOL_MOON"'),
        ({"mode": "MPOL_LOCAL", "nodes": "0,1"}, "requires 0 nodes but got 2"),
        ({"mode": "MPOL_INTERLEAVE"}, "requires at least one node but got 0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["X"]}, "invalid memory policy flag: X"),
        ({"mode": "MPOL_BIND", "nodes": "x"}, 'invalid memory policy nodes: invalid list "x"'),
    ],
)
def test_memory_policies_that_make_no_sense(wish: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        list(scheduling({}, {"memoryPolicy": wish}))


NOTIFY = [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]


@pytest.mark.parametrize(
    ("profile", "flags"),
    [
        ({}, 4),
        ({"flags": None}, 4),
        ({"flags": []}, 0),
        ({"flags": ["SECCOMP_FILTER_FLAG_TSYNC"]}, 0),
        (
            {
                "flags": [
                    "SECCOMP_FILTER_FLAG_LOG",
                    "SECCOMP_FILTER_FLAG_LOG",
                    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                ]
            },
            6,
        ),
        ({"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], "listenerPath": "/x", "syscalls": NOTIFY}, 32),
    ],
)
def test_flags_of_a_filter(profile: dict[str, Any], flags: int) -> None:
    assert filter_flags(profile) == flags


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"flags": ["SECCOMP_FILTER_FLAG_X"]}, "seccomp flag SECCOMP_FILTER_FLAG_X is not known"),
        ({"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}, "needs an SCMP_ACT_NOTIFY action"),
        ({"syscalls": NOTIFY}, "SCMP_ACT_NOTIFY needs a listenerPath"),
        ({"listenerMetadata": "x"}, "listenerMetadata is set, listenerPath is not"),
    ],
)
def test_filters_that_cannot_work(profile: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        filter_flags(profile)
        has_notify(profile)
