"""Lives of containers: run, exit codes, stop, kill, restart, policies, removal, names, events, nothing left."""

import asyncio
import contextlib

import pytest

from knarr.engine.errors import (
    AlreadyStarted,
    CannotRemove,
    NameTaken,
    NoSuchContainer,
    NotRunning,
    NotStarted,
)
from knarr.engine.values import NetworkSpec
from knarr.model.container import ContainerSpec, RestartPolicy, Status
from knarr.model.errors import CannotExecute, Conflict, NoSuchCommand, NotFound
from tests.support import host
from tests.system.engine.conftest import Lab, until, within


async def test_run_says_what_it_says_and_ends_as_it_ends(lab: Lab) -> None:
    made, waited = await lab.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert waited.code == 3
    lines = {(line.stream, line.data) for line in await lab.lines(made)}
    assert lines == {("stdout", b"out\n"), ("stderr", b"err\n")}
    view = await lab.containers.inspect(made)
    assert view.state.status is Status.EXITED
    assert view.state.exit_code == 3
    assert view.state.finished_at >= view.state.started_at > 0


async def test_events_of_a_run_come_in_dockers_order(lab: Lab) -> None:
    seen = await lab.events()
    await lab.run("true", name="one", auto_remove=True)
    events = await seen.until("container destroy")
    assert [f"{event.type} {event.action}" for event in events] == [
        "container create",
        "network connect",
        "container start",
        "network disconnect",
        "container die",
        "container destroy",
    ]
    assert events[4].attributes["exitCode"] == "0"
    assert events[0].attributes["name"] == "one"
    assert events[0].attributes["image"] == "busybox"
    assert [event.number for event in events] == sorted(event.number for event in events)


async def test_nothing_is_left_of_many(lab: Lab) -> None:
    """Twenty at a time, with ports, volumes and --rm."""

    async def one(number: int) -> None:
        made, waited = await lab.run(
            "sh", "-c", f"exit {number}", volumes=("/v",), auto_remove=number % 2 == 0
        )
        assert waited.code == number
        if number % 2:
            await lab.containers.remove(made, volumes=True)

    await asyncio.gather(*(one(number) for number in range(20)))
    await asyncio.gather(*(lab.start("sleep", "1000", name=f"long{number}") for number in range(5)))
    await asyncio.gather(*(lab.containers.remove(f"long{number}", force=True) for number in range(5)))
    assert await lab.containers.list(all=True) == []
    assert await lab.engine.volumes.list() == []
    await asyncio.to_thread(host.settle, lab.home.left)


async def test_a_missing_command_is_127_and_leaves_nothing(lab: Lab) -> None:
    made = await lab.create("nonsuch")
    with pytest.raises(NoSuchCommand, match=r'exec: "nonsuch": executable file not found in \$PATH'):
        await lab.containers.start(made)
    view = await lab.containers.inspect(made)
    assert view.state.status is Status.CREATED
    assert view.state.exit_code == 127
    assert "nonsuch" in view.state.error
    refused = await lab.create("/bin/noexec")
    with pytest.raises(CannotExecute):
        await lab.containers.start(refused)
    assert (await lab.containers.inspect(refused)).state.exit_code == 126
    await lab.containers.remove(made)
    await lab.containers.remove(refused)
    await asyncio.to_thread(host.settle, lab.home.left)


async def test_a_start_that_fails_removes_what_asked_for_it(lab: Lab) -> None:
    made = await lab.create("nonsuch", auto_remove=True)
    waiting = await lab.containers.begin_wait(made, "removed")
    with pytest.raises(NoSuchCommand):
        await lab.containers.start(made)
    assert (await within(waiting)).code == 127
    with pytest.raises(NoSuchContainer):
        await lab.containers.inspect(made)


async def test_stop_is_a_signal_then_a_kill(lab: Lab) -> None:
    seen = await lab.events()
    await lab.start("sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done", name="soft")
    await until(lambda: lab.log("soft"), "the trap is set")
    await lab.containers.stop("soft")
    assert (await lab.containers.inspect("soft")).state.exit_code == 7
    actions = [event.action for event in await seen.until("container stop") if event.type == "container"]
    assert actions == ["create", "start", "kill", "die", "stop"]
    with pytest.raises(NotStarted):
        await lab.containers.stop("soft")
    await lab.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done", name="hard")
    await until(lambda: lab.log("hard"), "the trap is set")
    await lab.containers.stop("hard", timeout=0)
    assert (await lab.containers.inspect("hard")).state.exit_code == 137


async def test_kill(lab: Lab) -> None:
    await lab.start("sleep", "1000", name="one")
    await lab.containers.kill("one", "KILL")
    waited = await lab.containers.wait("one")
    assert waited.code == 137
    with pytest.raises(NotRunning, match="is not running"):
        await lab.containers.kill("one")


async def test_start_twice_and_restart(lab: Lab) -> None:
    made = await lab.start("sleep", "1000", name="one")
    with pytest.raises(AlreadyStarted):
        await lab.containers.start("one")
    first = (await lab.containers.inspect("one")).state
    await lab.containers.restart("one", timeout=0)
    second = (await lab.containers.inspect(made)).state
    assert second.status is Status.RUNNING
    assert second.pid != first.pid


async def test_names(lab: Lab) -> None:
    made = await lab.create("true", name="one")
    with pytest.raises(NameTaken) as caught:
        await lab.create("true", name="/one")
    assert str(caught.value) == (
        f'Conflict. The container name "/one" is already in use by container "{made}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
    other = await lab.create("true", name="two")
    with pytest.raises(NameTaken):
        await lab.containers.rename("one", "two")
    await lab.containers.rename("one", "three")
    assert (await lab.containers.inspect("three")).id == made
    assert (await lab.containers.inspect(made[:12])).name == "three"
    with pytest.raises(NoSuchContainer, match="No such container: one"):
        await lab.containers.inspect("one")
    await lab.containers.rename(other, "one")


async def test_of_many_who_want_a_name_one_gets_it(lab: Lab) -> None:
    found = await asyncio.gather(*(lab.create("true", name="one") for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(each, str) for each in found) == 1
    assert sum(isinstance(each, NameTaken) for each in found) == 9
    assert len(await lab.containers.list(all=True)) == 1


async def test_an_unknown_image(lab: Lab) -> None:
    with pytest.raises(NotFound, match="No such image: nothing"):
        await lab.containers.create(ContainerSpec(image="nothing"), name="xx")
    await lab.create("true", name="xx")


async def test_removal_needs_force_while_it_runs(lab: Lab) -> None:
    await lab.start("sleep", "1000", name="one")
    with pytest.raises(CannotRemove) as caught:
        await lab.containers.remove("one")
    assert str(caught.value) == (
        'cannot remove container "one": container is running: stop the container before removing or force remove'
    )
    waiting = await lab.containers.begin_wait("one", "removed")
    await lab.containers.remove("one", force=True)
    assert (await within(waiting)).code == 137


async def test_pause(lab: Lab) -> None:
    await lab.start("sleep", "1000", name="one")
    await lab.containers.pause("one")
    assert (await lab.containers.inspect("one")).state.status is Status.PAUSED
    with pytest.raises(Conflict):
        await lab.containers.pause("one")
    await lab.containers.unpause("one")
    with pytest.raises(Conflict, match="is not paused"):
        await lab.containers.unpause("one")
    await lab.containers.pause("one")
    await lab.containers.remove("one", force=True)


async def test_on_failure_retries_so_often(lab: Lab) -> None:
    policy = RestartPolicy(name="on-failure", maximum_retries=2)
    made, waited = await lab.run("sh", "-c", "echo x; exit 5", restart=policy)
    assert waited.code == 5

    async def given_up() -> bool:
        state = (await lab.containers.inspect(made)).state
        ended = state.status is Status.EXITED and state.restart_count == 2
        return ended and await lab.log(made) == "x\nx\nx\n"

    await until(given_up, "the last retry's end")


async def test_always_goes_on_until_it_is_stopped(lab: Lab) -> None:
    made = await lab.start("sh", "-c", "echo x", restart=RestartPolicy(name="always"))

    async def lived_twice() -> bool:
        return (await lab.log(made)).count("x") >= 2

    await until(lived_twice, "a second life")
    with contextlib.suppress(NotStarted):
        await lab.containers.stop(made)
    assert (await lab.containers.inspect(made)).state.status is Status.EXITED


async def test_wait_conditions(lab: Lab) -> None:
    made = await lab.create("sh", "-c", "exit 4")
    assert (await lab.containers.wait(made)).code == 0
    exits = await lab.containers.begin_wait(made, "next-exit")
    gone = await lab.containers.begin_wait(made, "removed")
    await lab.containers.start(made)
    assert (await within(exits)).code == 4
    await lab.containers.remove(made)
    assert (await within(gone)).code == 4


async def test_explained_steps(lab: Lab) -> None:
    made = await lab.create("true")
    steps = await lab.containers.start(made, explain=True)
    rooms = {step.room for step in steps}
    assert {"engine", "network", "runtime"} <= rooms
    assert all(step.reason for step in steps)


async def test_prune_takes_the_stopped(lab: Lab) -> None:
    running = await lab.start("sleep", "1000")
    ended, _ = await lab.run("true", labels={"keep": "no"})
    pruned = await lab.containers.prune({"label": ["keep"]})
    assert pruned.ids == (ended,)
    assert [view.id for view in await lab.containers.list(all=True)] == [running]


async def test_list_filters(lab: Lab) -> None:
    one = await lab.start("sleep", "1000", name="one", labels={"a": "1"})
    two, _ = await lab.run("sh", "-c", "exit 2", name="two")

    async def ids(**filters: list[str]) -> set[str]:
        return {view.id for view in await lab.containers.list(all=True, filters=filters)}

    assert {view.id for view in await lab.containers.list()} == {one}
    assert await ids() == {one, two}
    assert await ids(label=["a=1"]) == {one}
    assert await ids(status=["exited"]) == {two}
    assert await ids(exited=["2"]) == {two}
    assert await ids(name=["tw"]) == {two}
    assert await ids(ancestor=["busybox"]) == {one, two}
    assert await ids(since=["one"]) == {two}


async def test_a_view_is_kept_while_its_row_and_the_networks_are(lab: Lab) -> None:
    await lab.create("true", name="one")
    (first,) = await lab.containers.list(all=True)
    (second,) = await lab.containers.list(all=True)
    assert second is first
    await lab.containers.rename("one", "two")
    (renamed,) = await lab.containers.list(all=True)
    assert (renamed.name, first.name) == ("two", "one")
    await lab.engine.networks.create(NetworkSpec(name="front"))
    (third,) = await lab.containers.list(all=True)
    assert third is not renamed
    await lab.engine.networks.remove("front")
