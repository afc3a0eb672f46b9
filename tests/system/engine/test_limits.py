"""Docker's limits as a container finds them in its own cgroup, on whichever version this host has."""

from pathlib import Path

from knarr.kernel.cgroups.hierarchy import find
from knarr.model.container import MountSpec, Resources, Status
from tests.system.engine.conftest import Lab, until, within
from tests.system.engine.test_streams import exec_output

VERSION = find().version
MIB = 1 << 20
LIMITS = Resources(
    memory=64 * MIB,
    memory_swap=128 * MIB,
    memory_reservation=32 * MIB,
    cpu_shares=512,
    cpu_quota=50000,
    cpu_period=200000,
    cpuset_cpus="0",
    pids_limit=77,
)
FILES = {
    1: {
        "memory/memory.limit_in_bytes": "67108864",
        "memory/memory.memsw.limit_in_bytes": "134217728",
        "memory/memory.soft_limit_in_bytes": "33554432",
        "cpu/cpu.shares": "512",
        "cpu/cpu.cfs_quota_us": "50000",
        "cpu/cpu.cfs_period_us": "200000",
        "cpuset/cpuset.cpus": "0",
        "pids/pids.max": "77",
    },
    2: {
        "memory.max": "67108864",
        "memory.swap.max": "67108864",
        "memory.low": "33554432",
        "cpu.weight": "59",
        "cpu.max": "50000 200000",
        "cpuset.cpus": "0",
        "pids.max": "77",
    },
}[VERSION]
UPDATED = {
    1: {"memory/memory.limit_in_bytes": "268435456", "cpu/cpu.cfs_quota_us": "70000", "pids/pids.max": "max"},
    2: {"memory.max": "268435456", "cpu.max": "70000 200000", "pids.max": "max"},
}[VERSION]


def shown(files: dict[str, str]) -> str:
    return f"cd /sys/fs/cgroup; cat {' '.join(files)}"


async def test_limits_reach_the_files(lab: Lab) -> None:
    said = await lab.output("sh", "-c", f"{shown(FILES)}; cat /proc/self/cgroup", resources=LIMITS)
    lines = said.splitlines()
    assert dict(zip(FILES, lines, strict=False)) == FILES
    # Its own cgroup is the root of what it sees.
    assert {line.split(":", 2)[2] for line in lines[len(FILES) :]} == {"/"}


async def test_limits_change_while_it_runs(lab: Lab, tmp_path: Path) -> None:
    mount = MountSpec(type="bind", source=str(tmp_path), target="/m")
    waiting = f"while ! [ -e /m/go ]; do sleep 0.05; done; {shown(UPDATED)}"
    made = await lab.start("sh", "-c", waiting, resources=LIMITS, mounts=(mount,))
    ended = await lab.containers.begin_wait(made, "not-running")
    changes = Resources(memory=256 * MIB, memory_swap=512 * MIB, cpu_quota=70000, pids_limit=-1)
    assert await lab.containers.update(made, changes) == ()
    (tmp_path / "go").touch()
    assert (await within(ended)).code == 0
    assert (await lab.log(made)).splitlines() == list(UPDATED.values())
    resources = (await lab.containers.inspect(made)).spec.resources
    assert (resources.memory, resources.cpu_period, resources.pids_limit) == (256 * MIB, 200000, -1)


async def test_out_of_memory_is_told(lab: Lab) -> None:
    made, waited = await lab.run(
        "sh",
        "-c",
        "x=a; while :; do x=$x$x; done",
        resources=Resources(memory=16 * MIB, memory_swap=16 * MIB),
    )
    state = (await lab.containers.inspect(made)).state
    assert (waited.code, state.oom_killed) == (137, True)


async def test_what_a_version_cannot_do_is_discarded_with_a_warning(lab: Lab) -> None:
    made = await lab.containers.create(
        lab.spec("true", resources=Resources(memory=64 * MIB, oom_kill_disable=True, memory_swappiness=0)),
        name=None,
    )
    assert len(made.warnings) == (0 if VERSION == 1 else 2)
    ended = await lab.containers.begin_wait(made.id, "next-exit")
    await lab.containers.start(made.id)
    assert (await within(ended)).code == 0


async def test_info_and_the_namespace_tell_the_version(lab: Lab) -> None:
    info = await lab.engine.system.info()
    assert (info.cgroup_driver, info.cgroup_version) == ("cgroupfs", str(VERSION))
    assert (info.memory_limit, info.cpu_cfs, info.pids_limit, info.oom_kill_disable) == (
        True,
        True,
        True,
        VERSION == 1,
    )
    private, privileged = [await lab.create("true", privileged=each) for each in (False, True)]
    modes = [(await lab.containers.inspect(each)).spec.cgroupns_mode for each in (private, privileged)]
    assert modes == ["private", "host" if VERSION == 1 else "private"]


async def test_a_paused_container_ends_by_every_way(lab: Lab) -> None:
    for end in (lab.containers.kill, lab.containers.stop):
        made = await lab.start("sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done")
        await lab.containers.pause(made)
        ended = await lab.containers.begin_wait(made, "not-running")
        await end(made)
        assert (await within(ended)).code in (3, 137)
        assert (await lab.containers.inspect(made)).state.status is Status.EXITED


async def test_a_container_with_cgroups_of_its_own_takes_execs_and_goes(lab: Lab) -> None:
    """On version 2 it may then hold no process itself."""
    root = "/sys/fs/cgroup" if VERSION == 2 else "/sys/fs/cgroup/pids"
    hand_on = "echo +pids > ../cgroup.subtree_control" if VERSION == 2 else "true"
    script = (
        f"mkdir {root}/inner; cd {root}/inner; echo 1 > cgroup.procs; {hand_on} && echo done; exec sleep 1000"
    )
    made = await lab.start("sh", "-c", script, privileged=True, cgroupns_mode="private")

    async def done() -> bool:
        return await lab.log(made) == "done\n"

    await until(done, "a cgroup within")
    text, code = await exec_output(lab, made, "cat", "/proc/self/cgroup")
    assert code == 0
    if VERSION == 2:
        assert text == "0::/inner\n"
    await lab.containers.remove(made, force=True)

    async def gone() -> bool:
        return "cgroups" not in lab.home.left()

    await until(gone, "the end of its cgroups")
