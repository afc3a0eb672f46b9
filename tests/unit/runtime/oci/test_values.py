"""What knarr-oci decides without the kernel: paths, resources, tables, starting configurations."""

import json
from typing import Any

import pytest

from knarr.model.errors import Invalid, KnarrError
from knarr.runtime.oci import bundle, resources, specimen
from knarr.runtime.oci.arguments import parse
from knarr.runtime.oci.cgroups import resolve, with_devices
from knarr.runtime.oci.commands import COMMANDS, OPTIONS
from knarr.runtime.oci.records import check_id
from knarr.runtime.oci.subcgroups import parse_places
from knarr.runtime.oci.verbs.events import duration
from knarr.runtime.oci.verbs.exec import as_user, with_capabilities
from knarr.runtime.oci.verbs.kill import parse_signal
from knarr.runtime.oci.verbs.list import table
from knarr.runtime.oci.verbs.ps import only

OWN = "9:pids:/mine\n4:memory:/other\n0::/user/slice\n"


@pytest.mark.parametrize("name", ["a", "A-b_c.1+2", "x" * 200])
def test_good_names(name: str) -> None:
    check_id(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ä", "a\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(Invalid, match="invalid container ID format"):
        check_id(name)


def test_an_absolute_cgroup_is_below_the_root() -> None:
    assert resolve("/a/../b//c", "id", OWN) == ("b/c", {})


@pytest.mark.parametrize(("wish", "path"), [("", "id"), ("x/y", "x/y"), ("../../x", "x")])
def test_any_other_is_below_the_callers(wish: str, path: str) -> None:
    found, below = resolve(wish, "id", OWN)
    assert found == path
    assert below == {"pids": "/mine", "memory": "/other", "": "/user"}


def test_devices_are_denied_first_and_the_usual_ones_last() -> None:
    asked = {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"}
    rules = with_devices({"devices": [asked], "pids": {"limit": 5}})
    assert rules["pids"] == {"limit": 5}
    assert rules["devices"][0] == {"allow": False, "access": "rwm"}
    assert rules["devices"][1] == asked
    assert {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"} in rules["devices"][2:]


def updated(*words: str) -> dict[str, Any]:
    return resources.from_flags(parse(["k", "update", *words, "name"], OPTIONS, COMMANDS))


def test_flags_become_resources() -> None:
    assert updated("--memory", "50M", "--memory-swap=-1", "--cpu-quota=-1", "--cpuset-cpus", "0-1") == {
        "memory": {"limit": 50 << 20, "swap": -1},
        "cpu": {"quota": -1, "cpus": "0-1"},
    }
    assert updated("--blkio-weight", "20", "--pids-limit", "0") == {
        "blockIO": {"weight": 20},
        "pids": {"limit": 0},
    }


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--memory", "much"], "invalid value for memory: invalid size: 'much'"),
        (["--memory", "5q"], "invalid value for memory: invalid size: '5q'"),
        (["--cpu-share", "-1"], "invalid value for cpu-share"),
        (["--cpu-quota", "x"], "invalid value for cpu-quota"),
    ],
)
def test_numbers_that_are_none(words: list[str], complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint):
        updated(*words)


@pytest.mark.parametrize(
    ("text", "size"), [("1024", 1024), ("1k", 1024), ("1.5g", 3 << 29), ("64KiB", 65536), ("2mb", 2 << 20)]
)
def test_sizes(text: str, size: int) -> None:
    assert updated("--memory", text)["memory"]["limit"] == size


def test_a_document_may_spell_its_names_as_go_allows() -> None:
    read = resources.from_document(
        {"CPU": {"Cpus": "1", "Mems": None}, "memory": None, "unified": {"A.b": "1"}}
    )
    assert read == {"cpu": {"cpus": "1"}, "unified": {"A.b": "1"}}
    with pytest.raises(Invalid):
        resources.from_document([])


def test_what_follows_from_an_update() -> None:
    assert resources.fitted({"memory": {"limit": -1}})["memory"] == {"limit": -1, "swap": -1}
    assert resources.fitted({"memory": {"limit": 5}})["memory"] == {"limit": 5}
    assert resources.fitted({"pids": {"limit": 0}})["pids"] == {"limit": 1}


def test_updates_join_what_holds() -> None:
    held = {
        "memory": {"limit": 100, "swap": 200},
        "cpu": {"quota": 5, "period": 10, "shares": 7},
        "blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 2, "rate": 3}]},
        "unified": {"a": "1"},
    }
    asked = {
        "memory": {"limit": 50},
        "cpu": {"period": 20},
        "blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 2, "rate": 9}]},
        "unified": {"b": "2"},
    }
    after = resources.joined(held, asked)
    assert after["memory"] == {"limit": 50, "swap": 200}
    assert after["blockIO"]["throttleReadBpsDevice"] == [{"major": 1, "minor": 2, "rate": 9}]
    assert after["unified"] == {"b": "2"}
    written = resources.to_apply(after, asked)
    assert written["memory"] == {"limit": 50, "swap": 200}
    assert written["cpu"] == {"period": 20, "quota": 5}
    assert resources.to_apply(resources.joined(held, {"pids": {"limit": 3}}), {"pids": {"limit": 3}}) == {
        "pids": {"limit": 3}
    }


def test_sub_cgroups_by_controller() -> None:
    assert parse_places([]) == {}
    assert parse_places(["below"]) == {"": "below"}
    assert parse_places(["memory:a", "cpu,cpuacct:b"]) == {"memory": "a", "cpu": "b", "cpuacct": "b"}
    for words in (["a", "b"], [":a"], ["cpu,:a"], ["cpu:a", "cpu:b"]):
        with pytest.raises(Invalid, match="invalid --cgroup argument"):
            parse_places(words)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("100ms", 0.1), ("1m30s", 90), ("1.5h", 5400), ("2us", 2e-6)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "s", "5 s", "-1s", "5x"])
def test_no_durations(text: str) -> None:
    with pytest.raises(Invalid):
        duration(text)


def test_a_user_for_an_exec() -> None:
    assert as_user({"uid": 1, "gid": 2, "umask": 5}, "7:8", ["9"]) == {
        "uid": 7,
        "gid": 8,
        "umask": 5,
        "additionalGids": [9],
    }
    assert as_user({"uid": 1, "gid": 2}, "7", []) == {"uid": 7, "gid": 2}
    with pytest.raises(Invalid, match="bad uid"):
        as_user({}, "root", [])
    with pytest.raises(Invalid, match="must be a positive number"):
        as_user({}, "", ["-1"])


def test_capabilities_are_ambient_only_beside_inheritable_ones() -> None:
    assert "ambient" not in with_capabilities({"bounding": ["A"]}, ["B"])
    made = with_capabilities({"bounding": ["A"], "inheritable": []}, ["B"])
    assert made["bounding"] == ["A", "B"]
    assert made["ambient"] == ["B"]


@pytest.mark.parametrize(("word", "number"), [("9", 9), ("KILL", 9), ("SIGTERM", 15), ("hup", 1), ("0", 0)])
def test_signals(word: str, number: int) -> None:
    assert parse_signal(word) == number


@pytest.mark.parametrize("word", ["NOPE", "SIG", "", "SIG_IGN"])
def test_no_signals(word: str) -> None:
    with pytest.raises(Invalid, match="unknown signal"):
        parse_signal(word)


def test_the_table_of_containers() -> None:
    row = {
        "id": "a-long-container-name",
        "pid": 7,
        "status": "running",
        "bundle": "/b",
        "created": "now",
        "owner": "root",
    }
    header, line = table([row]).splitlines()
    assert header == "ID                      PID         STATUS      BUNDLE      CREATED     OWNER"
    assert line == "a-long-container-name   7           running     /b          now         root"


def test_only_the_containers_processes() -> None:
    output = "UID PID CMD\nroot 1 init\nroot 22 sh\n"
    assert only(output, {22}) == "UID PID CMD\nroot 22 sh\n"
    with pytest.raises(KnarrError, match="couldn't find PID field"):
        only("no header\n", set())


def test_the_starting_configuration() -> None:
    config = specimen.specimen("knarr-oci", 1)
    assert config["hostname"] == "knarr-oci"
    assert {"type": "cgroup"} not in config["linux"]["namespaces"]
    assert {"type": "cgroup"} in specimen.specimen("x", 2)["linux"]["namespaces"]
    bundle.check_process(config["process"])
    bundle.check(config, 1)


def test_the_same_for_somebody_who_is_not_root() -> None:
    config = specimen.rootless(specimen.specimen("x", 1), 1000, 1001)
    kinds = {entry["type"] for entry in config["linux"]["namespaces"]}
    assert "user" in kinds
    assert "network" not in kinds
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert "resources" not in config["linux"]
    assert "gid=5" not in json.dumps(config)
    sys = next(mount for mount in config["mounts"] if mount["destination"] == "/sys")
    assert sys["options"][0] == "rbind"
    bundle.check(config, 1)


@pytest.mark.parametrize(
    ("process", "complaint"),
    [
        (None, "process property must not be empty"),
        ({"args": ["a"]}, "Cwd property must not be empty"),
        ({"args": ["a"], "cwd": "x"}, "Cwd must be an absolute path"),
        ({"args": [], "cwd": "/"}, "args must not be empty"),
    ],
)
def test_processes_that_cannot_be_started(process: Any, complaint: str) -> None:
    with pytest.raises(Invalid) as raised:
        bundle.check_process(process)
    assert str(raised.value) == complaint


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"hostname": "x"}, "unable to set hostname without a private UTS namespace"),
        ({"linux": {"maskedPaths": ["/x"]}}, "unable to restrict sys entries"),
        ({"linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}}, "duplicated ns"),
        ({"linux": {"uidMappings": [{}]}}, "user namespace isn't enabled"),
        ({"linux": {"namespaces": [{"type": "user"}]}}, "nor mappings to apply"),
        ({"linux": {"timeOffsets": {"monotonic": {}}}}, "time namespace isn't enabled"),
        ({"linux": {"resources": {"unified": {"a": "b"}}}}, "invalid configuration"),
    ],
)
def test_configurations_that_contradict_themselves(config: Any, complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint):
        bundle.check(config, 1)
