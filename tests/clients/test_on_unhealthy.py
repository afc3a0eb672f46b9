"""`--on-unhealthy restart`, which Docker does not have: a container that fails its checks is ended, and its policy decides."""

import json

import pytest

from tests.support import host
from tests.support.daemons import Daemon, Knarrd

_CHECK = ("--health-cmd", "test ! -e /run/sick", "--health-interval", "50ms", "--health-retries", "2")


@pytest.fixture
def knarrd(daemon: Daemon) -> Knarrd:
    """Only knarr has it."""
    if not isinstance(daemon, Knarrd):
        pytest.skip("Docker has no --on-unhealthy")
    return daemon


def _ids(knarrd: Knarrd) -> tuple[int, int]:
    state = knarrd.inspect("box")
    return state["RestartCount"], state["State"]["Pid"]


@pytest.mark.parametrize("policy", ["always", "on-failure:3"])
def test_it_begins_again(knarrd: Knarrd, policy: str) -> None:
    since = knarrd.docker("info", "-f", "{{.SystemTime}}").stdout.strip()
    flags = (
        "--tmpfs",
        "/run",
        "--stop-timeout",
        "1",
        "--restart",
        policy,
        *_CHECK,
        "--on-unhealthy",
        "restart",
    )
    knarrd.knarr(
        "run",
        "-d",
        "--name",
        "box",
        *flags,
        "busybox",
        "sh",
        "-c",
        "trap 'exit 0' TERM; while :; do sleep 0.05; done",
    )
    assert knarrd.inspect("box")["HostConfig"]["OnUnhealthy"] == "restart"
    before = _ids(knarrd)
    host.wait_for(lambda: knarrd.inspect("box")["State"]["Health"]["Status"] == "healthy", "health")
    knarrd.docker("exec", "box", "touch", "/run/sick")
    host.wait_for(lambda: _ids(knarrd)[0] == 1 and _ids(knarrd)[1] not in (0, before[1]), "the next life")
    host.wait_for(lambda: knarrd.inspect("box")["State"]["Health"]["Status"] == "healthy", "health again")
    until = knarrd.docker("info", "-f", "{{.SystemTime}}").stdout.strip()
    words = (
        "events",
        "--since",
        since,
        "--until",
        until,
        "--filter",
        "container=box",
        "--format",
        "{{json .Action}}",
    )
    actions = [json.loads(line) for line in knarrd.docker(*words).stdout.splitlines()]
    told = [action for action in actions if action in ("health_status: unhealthy", "kill", "die", "start")]
    assert told == ["start", "health_status: unhealthy", "kill", "die", "start"]


def test_update_turns_it_on_and_off(knarrd: Knarrd) -> None:
    knarrd.docker("run", "-d", "--name", "box", "--restart", "always", "busybox", "sleep", "1000")
    for word in ("restart", "none"):
        assert knarrd.api("POST", "/containers/box/update", {"OnUnhealthy": word})[0] == 200
        assert knarrd.inspect("box")["HostConfig"]["OnUnhealthy"] == word
    knarrd.api("POST", "/containers/box/update", {"RestartPolicy": {"Name": "no"}})
    status, body = knarrd.api("POST", "/containers/box/update", {"OnUnhealthy": "restart"})
    assert (status, "needs a restart policy" in body["message"]) == (400, True)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--on-unhealthy", "restart"), "needs a restart policy"),
        (("--on-unhealthy", "dance", "--restart", "always"), 'invalid OnUnhealthy: "dance"'),
    ],
)
def test_what_is_refused(knarrd: Knarrd, flags: tuple[str, ...], words: str) -> None:
    done = knarrd.knarr("create", *flags, "busybox", check=False)
    assert done.returncode == 125 or done.returncode == 1
    assert words in done.stderr
