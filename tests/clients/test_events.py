"""Events of a whole session, action by action and attribute by attribute, as dockerd tells them; and every filter."""

import json
import re
import time
from pathlib import Path
from typing import Any

from tests.support.daemons import Daemon
from tests.support.host import wait_for

_HEX = re.compile(r"\b[0-9a-f]{64}\b")


def _now(daemon: Daemon) -> str:
    return daemon.docker("info", "-f", "{{.SystemTime}}").stdout.strip()


def _events(daemon: Daemon, since: str, *filters: str) -> list[dict[str, Any]]:
    words = [word for each in filters for word in ("--filter", each)]
    out = daemon.docker(
        "events", "--since", since, "--until", _now(daemon), "--format", "{{json .}}", *words
    ).stdout
    return [json.loads(line) for line in out.splitlines()]


class Names:
    """Ids that a session makes, by the order in which they appear."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def plain(self, text: str) -> str:
        """The text with its ids numbered."""
        return _HEX.sub(lambda found: self._known.setdefault(found[0], f"<{len(self._known)}>"), text)


def _told(names: Names, event: dict[str, Any]) -> str:
    attributes = event["Actor"]["Attributes"]
    hidden = {"execDuration"} | ({"size"} if event["Type"] == "image" else set())
    words = [f"{key}={attributes[key]}" for key in sorted(attributes) if key not in hidden]
    return names.plain(" ".join([event["Type"], event["Action"], event["Actor"]["ID"], *words]))


def _session(daemon: Daemon, place: Path, since: str) -> None:
    docker = daemon.docker
    docker("network", "create", "--label", "a=b", "yard")
    docker("volume", "create", "store")
    docker(
        "create",
        "--name",
        "one",
        "--label",
        "team=x",
        "-v",
        "store:/data",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 3' TERM; while :; do sleep 0.05; done",
    )
    docker("start", "one")
    docker("exec", "one", "sh", "-c", "exit 7", check=False)
    docker("exec", "-d", "one", "true")
    wait_for(lambda: len(_events(daemon, since, "container=one", "event=exec_die")) == 2, "the exec's end")
    docker("top", "one")
    docker("pause", "one")
    docker("unpause", "one")
    docker("rename", "one", "first")
    docker("update", "--memory", "64m", "--memory-swap", "64m", "first")
    (place / "file").write_text("x")
    docker("cp", str(place / "file"), "first:/tmp/file")
    docker("cp", "first:/tmp/file", str(place / "back"))
    docker("network", "connect", "yard", "first")
    docker("network", "disconnect", "yard", "first")
    docker("commit", "first", "copy:1")
    docker("kill", "-s", "USR1", "first")
    docker("restart", "-t", "20", "first")
    docker("stop", "-t", "20", "first")
    docker("export", "-o", str(place / "export.tar"), "first")
    docker("tag", "copy:1", "copy:2")
    docker("save", "-o", str(place / "save.tar"), "copy:2")
    docker("rmi", "copy:2")
    docker("rmi", "copy:1")
    docker("load", "-i", str(place / "save.tar"))
    docker("run", "--rm", "--name", "gone", "busybox", "sh", "-c", "exit 5", check=False)
    docker("run", "--name", "wrong", "busybox", "/nothing", check=False)
    docker("rm", "wrong")
    docker("rm", "-f", "first")
    docker("volume", "rm", "store")
    docker("network", "rm", "yard")
    docker("rmi", "copy:2")


def _comparable(lines: list[str]) -> list[str]:
    """Without what dockerd mounts to copy, and unwires of what it could not start; "stop" and "die" race there."""
    out: list[str] = []
    for number, line in enumerate(lines):
        near = " ".join(lines[max(number - 3, 0) : number + 4])
        if (
            line.startswith("volume ")
            and ("archive-path" in near or "extract-to-dir" in near)
            and "network connect" not in line
        ):
            continue
        if line.startswith("network disconnect <2> container=<7>"):
            continue
        if line.startswith("container die ") and out and out[-1].startswith("container stop "):
            out.insert(-1, line)
        else:
            out.append(line)
    return out


def test_a_session(daemon: Daemon, tmp_path: Path) -> None:
    since = _now(daemon)
    _session(daemon, tmp_path, since)
    names = Names()
    found = [_told(names, event) for event in _events(daemon, since)]
    assert _comparable(found) == SESSION.splitlines()


_FILTERS = [
    (["type=container"], {"create", "start", "die", "destroy", "attach"}),
    (["event=start"], {"start"}),
    (["event=start", "event=die"], {"start", "die"}),
    (["container=filtered", "event=exec_create"], set()),
    (["label=team"], {"create", "start", "die", "destroy", "attach"}),
    (["label=team=x", "event=start"], {"start"}),
    (["label=team=y"], set()),
    (["image=busybox", "event=create"], {"create"}),
    (["image=busybox:latest", "event=create"], set()),
    (["type=network"], {"connect", "disconnect"}),
    (["network=bridge", "event=connect"], {"connect"}),
    (["volume=nothing"], set()),
    (["type=volume"], set()),
    (["daemon=nobody"], set()),
    (["scope=local", "event=die"], {"die"}),
    (["scope=swarm"], set()),
]


def test_filters(daemon: Daemon) -> None:
    since = _now(daemon)
    daemon.docker("run", "--rm", "--name", "filtered", "--label", "team=x", "busybox", "true")
    found = {
        " ".join(each): {event["Action"] for event in _events(daemon, since, *each)} for each, _ in _FILTERS
    }
    assert found == {" ".join(each): wanted for each, wanted in _FILTERS}


def test_a_filter_that_is_none_matches_all(daemon: Daemon) -> None:
    since = _now(daemon)
    daemon.docker("volume", "create", "thing")
    daemon.docker("volume", "rm", "thing")
    assert [event["Action"] for event in _events(daemon, since, "colour=red")] == ["create", "destroy"]


def test_since_and_until_to_the_nanosecond(daemon: Daemon) -> None:
    since = _now(daemon)
    daemon.docker("run", "--rm", "--name", "moment", "busybox", "true")
    events = _events(daemon, since, "type=container")
    start = next(event for event in events if event["Action"] == "start")["timeNano"]

    def between(first: int, last: int) -> list[str]:
        words = [f"{moment // 10**9}.{moment % 10**9:09d}" for moment in (first, last)]
        out = daemon.docker(
            "events",
            "--since",
            words[0],
            "--until",
            words[1],
            "--filter",
            "container=moment",
            "--format",
            "{{.Action}}",
        ).stdout
        return out.splitlines()

    assert between(start, start) == ["start"]
    assert "start" not in between(start + 1, events[-1]["timeNano"])
    assert between(start - 10**12, start - 1)[-1] != "start"
    # The client cuts a relative time to whole seconds: what happened in this very second is after "0s".
    wait_for(lambda: time.time() // 1 > start // 10**9, "the second after the start")
    out = daemon.docker(
        "events", "--since", "1h", "--until", "0s", "--filter", "container=moment", "--format", "{{.Action}}"
    ).stdout
    assert "start" in out.split()


SESSION = """\
network create <0> name=yard type=bridge
volume create store driver=local
container create <1> image=busybox name=one team=x
volume mount store container=<1> destination=/data driver=local propagation= read/write=true
network connect <2> container=<1> name=bridge type=bridge
container start <1> image=busybox name=one team=x
container exec_create: sh -c exit 7 <1> execID=<3> image=busybox name=one team=x
container exec_start: sh -c exit 7 <1> execID=<3> image=busybox name=one team=x
container exec_die <1> execID=<3> exitCode=7 image=busybox name=one team=x
container exec_create: true  <1> execID=<4> image=busybox name=one team=x
container exec_start: true  <1> execID=<4> image=busybox name=one team=x
container exec_die <1> execID=<4> exitCode=0 image=busybox name=one team=x
container top <1> image=busybox name=one team=x
container pause <1> image=busybox name=one team=x
container unpause <1> image=busybox name=one team=x
container rename <1> image=busybox name=first oldName=/one team=x
container update <1> image=busybox name=first team=x
container extract-to-dir <1> image=busybox name=first team=x
container archive-path <1> image=busybox name=first team=x
network connect <0> container=<1> name=yard type=bridge
network disconnect <0> container=<1> name=yard type=bridge
container pause <1> image=busybox name=first team=x
image create sha256:<5> name=sha256:<5> team=x
image tag sha256:<5> name=copy:1 team=x
container commit <1> comment= image=busybox imageID=sha256:<5> imageRef=copy:1 name=first team=x
container unpause <1> image=busybox name=first team=x
container kill <1> image=busybox name=first signal=10 team=x
container kill <1> image=busybox name=first signal=15 team=x
network disconnect <2> container=<1> name=bridge type=bridge
volume unmount store container=<1> driver=local
container die <1> exitCode=3 image=busybox name=first team=x
container stop <1> image=busybox name=first team=x
volume mount store container=<1> destination=/data driver=local propagation= read/write=true
network connect <2> container=<1> name=bridge type=bridge
container start <1> image=busybox name=first team=x
container restart <1> image=busybox name=first team=x
container kill <1> image=busybox name=first signal=15 team=x
network disconnect <2> container=<1> name=bridge type=bridge
volume unmount store container=<1> driver=local
container die <1> exitCode=3 image=busybox name=first team=x
container stop <1> image=busybox name=first team=x
container export <1> image=busybox name=first team=x
image tag sha256:<5> name=copy:2 team=x
image save sha256:<5> name=sha256:<5> team=x
image untag sha256:<5> name=sha256:<5> team=x
image untag sha256:<5> name=sha256:<5> team=x
image delete sha256:<5> name=sha256:<5>
image load sha256:<5> name=sha256:<5> team=x
container create <6> image=busybox name=gone
container attach <6> image=busybox name=gone
network connect <2> container=<6> name=bridge type=bridge
container start <6> image=busybox name=gone
network disconnect <2> container=<6> name=bridge type=bridge
container die <6> exitCode=5 image=busybox name=gone
container destroy <6> image=busybox name=gone
container create <7> image=busybox name=wrong
container attach <7> image=busybox name=wrong
container destroy <7> image=busybox name=wrong
container destroy <1> image=busybox name=first team=x
volume destroy store driver=local
network destroy <0> name=yard type=bridge
image untag sha256:<5> name=sha256:<5> team=x
image delete sha256:<5> name=sha256:<5>"""
