"""Limits that a host cannot keep: discarded with Docker's warnings, never in silence."""

from typing import Any

import pytest

from knarr.engine import plan
from knarr.engine.limits import ALL, Ability, info_warnings, settle, updated
from knarr.model.container import BlockLimit, ContainerSpec, Resources
from knarr.model.errors import Conflict
from knarr.model.image import ImageConfig

DISK = (BlockLimit(path="/dev/sda", rate=100),)
WISHES: list[tuple[Ability, dict[str, Any], str]] = [
    (Ability.MEMORY, {"memory": 1 << 30, "memory_swap": 1 << 31}, "memory limit capabilities"),
    (Ability.SWAP, {"memory": 1 << 30, "memory_swap": 1 << 31}, "Memory limited without swap"),
    (Ability.SWAPPINESS, {"memory_swappiness": 0}, "Memory swappiness discarded"),
    (Ability.RESERVATION, {"memory_reservation": 1 << 30}, "memory soft limit"),
    (Ability.OOM_KILL_DISABLE, {"memory": 1 << 30, "memory_swap": -1, "oom_kill_disable": True}, "OomKillDisable"),
    (Ability.PIDS, {"pids_limit": 10}, "PIDs limit discarded"),
    (Ability.CPU_SHARES, {"cpu_shares": 10}, "Shares discarded"),
    (Ability.CPU_CFS, {"cpu_quota": 1000}, "CPU period/quota discarded"),
    (Ability.CPUSET, {"cpuset_mems": "0"}, "Cpuset discarded"),
    (Ability.WEIGHT, {"blkio_weight": 10}, "Weight discarded"),
    (Ability.WEIGHT_DEVICE, {"blkio_weight_devices": DISK}, "Weight-device discarded"),
    (Ability.READ_BPS, {"blkio_read_bps": DISK}, "BPS read limit discarded"),
    (Ability.WRITE_BPS, {"blkio_write_bps": DISK}, "BPS write limit discarded"),
    (Ability.READ_IOPS, {"blkio_read_iops": DISK}, "IOPS read limit discarded"),
    (Ability.WRITE_IOPS, {"blkio_write_iops": DISK}, "IOPS write limit discarded"),
]  # fmt: skip


@pytest.mark.parametrize(("ability", "wish", "words"), WISHES)
def test_a_limit_that_cannot_be_kept_is_discarded_with_a_warning(
    ability: Ability, wish: dict[str, Any], words: str
) -> None:
    asked = Resources(**wish)
    assert settle(asked, ALL) == (asked, ())
    got, warnings = settle(asked, ALL - {ability})
    assert got != asked
    assert [words in warning for warning in warnings] == [True]
    assert settle(got, ALL - {ability}) == (got, ())


def test_every_ability_is_tried() -> None:
    assert {ability for ability, _, _ in WISHES} == ALL


def test_a_create_tells_the_warnings() -> None:
    host = plan.Host(cpus=4, hostname="host", abilities=ALL - {Ability.SWAP})
    asked = ContainerSpec(image="i", command=("true",), resources=Resources(memory=1 << 30))
    planned = plan.plan_container("0" * 64, asked, ImageConfig(), host)
    assert planned.spec.resources.memory_swap == -1
    assert ["without swap" in warning for warning in planned.warnings] == [True]


def test_no_oom_killer_without_a_limit_is_warned_of() -> None:
    asked = Resources(oom_kill_disable=True)
    got, (warning,) = settle(asked, ALL)
    assert got == asked
    assert "no memory limit is set" in warning


def test_info_warns() -> None:
    assert info_warnings(ALL, 1) == ()
    assert info_warnings(ALL - {Ability.SWAP}, 2) == ("WARNING: No swap limit support",)
    assert len(info_warnings(frozenset(), 1)) == len(info_warnings(frozenset(), 2)) + 1 == 7


@pytest.mark.parametrize(
    ("present", "asked", "words"),
    [
        ({"cpu_period": 5000}, {"nano_cpus": 1}, "Nano CPUs cannot be updated as CPU Period has already been set"),
        ({"cpu_quota": 5000}, {"nano_cpus": 1}, "Nano CPUs cannot be updated as CPU Quota has already been set"),
        ({"nano_cpus": 1}, {"cpu_period": 5000}, "CPU Period cannot be updated as NanoCPUs has already been set"),
        ({"nano_cpus": 1}, {"cpu_quota": 5000}, "CPU Quota cannot be updated as NanoCPUs has already been set"),
        ({"memory": 9, "memory_swap": 10}, {"memory": 11}, "update the memoryswap at the same time"),
    ],
)  # fmt: skip
def test_updates_that_conflict(present: dict[str, Any], asked: dict[str, Any], words: str) -> None:
    with pytest.raises(Conflict, match=words):
        updated(Resources(**present), Resources(**asked))


def test_an_update_keeps_what_it_does_not_name() -> None:
    present = Resources(memory=9, memory_swap=10, cpu_shares=3, pids_limit=4)
    assert updated(present, Resources(memory=11, memory_swap=12, pids_limit=-1)) == Resources(
        memory=11, memory_swap=12, cpu_shares=3, pids_limit=-1
    )
