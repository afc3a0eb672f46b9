"""The Container Device Interface: what a file must be, who wins, what is edited."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from knarr.engine import cdi, devicedrivers
from knarr.model.container import DeviceRequest
from knarr.model.errors import Invalid, KnarrError

ONE = {"name": "one", "containerEdits": {"env": ["ONE=1"]}}


def spec(*devices: dict[str, Any], kind: str = "vendor.com/device", **more: Any) -> dict[str, Any]:
    """A file."""
    return {"cdiVersion": "0.6.0", "kind": kind, "devices": list(devices or (ONE,)), **more}


def write(directory: Path, name: str, value: dict[str, Any]) -> None:
    """JSON is YAML too."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(json.dumps(value))


def bundle() -> dict[str, Any]:
    """A configuration as small as `apply` takes it."""
    return {
        "process": {"env": ["PATH=/bin", "ONE=0"], "user": {"groups": []}},
        "mounts": [
            {"destination": "/a/b", "type": "bind", "source": "/x", "options": []},
            {"destination": "/proc", "type": "proc", "source": "proc", "options": []},
        ],
        "linux": {
            "devices": [{"path": "/dev/mine", "type": "c"}],
            "resources": {"devices": []},
            "namespaces": [],
        },
    }


def test_files_of_both_forms_are_read(tmp_path: Path) -> None:
    write(tmp_path, "a.json", spec())
    (tmp_path / "b.yaml").write_text(
        "cdiVersion: 0.6.0\nkind: vendor.com/other\ndevices:\n- name: two\n  containerEdits:\n    env: [TWO=2]\n"
    )
    (tmp_path / "c.txt").write_text("not a spec")
    found = devicedrivers.read([str(tmp_path), str(tmp_path / "missing")])
    assert list(found.devices) == ["vendor.com/device=one", "vendor.com/other=two"]
    assert found.vendors == {"vendor.com"}
    assert not found.errors


@pytest.mark.parametrize(
    "value",
    [
        spec(kind="vendor"),
        spec(kind="1vendor/device"),
        {**spec(), "cdiVersion": "9.9"},
        {**spec(), "devices": []},
        spec(ONE, ONE),
        spec({"name": "-", "containerEdits": {"env": ["A=1"]}}),
        spec({"name": "one", "containerEdits": {}}),
        spec({"name": "one", "containerEdits": {"env": ["nothing"]}}),
        spec({"name": "one", "containerEdits": {"unknown": []}}),
        spec({"name": "one", "containerEdits": {"deviceNodes": [{"path": "/dev/x", "type": "z"}]}}),
        spec({"name": "one", "containerEdits": {"hooks": [{"hookName": "never", "path": "/x"}]}}),
        spec({"name": "one", "containerEdits": {"mounts": [{"hostPath": "", "containerPath": "/x"}]}}),
    ],
)
def test_a_bad_file_is_told_and_its_devices_are_not_there(tmp_path: Path, value: dict[str, Any]) -> None:
    write(tmp_path, "bad.json", value)
    found = devicedrivers.read([str(tmp_path)])
    assert not found.devices
    assert found.errors[f"{tmp_path}/bad.json"].startswith("failed to load CDI Spec")


def test_the_later_directory_wins_and_equals_spoil_each_other(tmp_path: Path) -> None:
    first, last = tmp_path / "first", tmp_path / "last"
    write(first, "a.json", spec())
    write(last, "a.json", spec({"name": "one", "containerEdits": {"env": ["ONE=last"]}}))
    found = devicedrivers.read([str(first), str(last)])
    assert found.devices["vendor.com/device=one"][0] == f"{last}/a.json"
    write(last, "b.json", spec())
    found = devicedrivers.read([str(first), str(last)])
    assert "vendor.com/device=one" not in found.devices
    assert set(found.errors) == {f"{last}/a.json", f"{last}/b.json"}


def test_edits(tmp_path: Path) -> None:
    device = {
        "name": "one",
        "containerEdits": {
            "env": ["ONE=1"],
            "deviceNodes": [{"path": "/dev/mine", "hostPath": "/dev/null", "permissions": "r"}],
            "mounts": [
                {"hostPath": "/lib", "containerPath": "/a", "type": "bind", "options": ["bind", "ro"]},
                {"hostPath": "/new", "containerPath": "/a/b", "type": "bind", "options": ["bind"]},
            ],
            "hooks": [{"hookName": "createRuntime", "path": "/bin/hook", "args": ["hook"], "timeout": 3}],
            "netDevices": [{"hostInterfaceName": "eth7", "name": "fast"}],
            "intelRdt": {"closID": "x"},
            "additionalGids": [0, 44],
        },
    }
    write(tmp_path, "a.json", spec(device, containerEdits={"env": ["ALL=1"]}))
    made = bundle()
    names = ["vendor.com/device=one"]
    cdi.apply(made, devicedrivers.edits([DeviceRequest(driver="cdi", ids=tuple(names))], [str(tmp_path)]))
    assert made["process"]["env"] == ["PATH=/bin", "ALL=1", "ONE=1"]
    assert made["process"]["user"]["groups"] == ["44"]
    (node,) = made["linux"]["devices"]
    assert (node["path"], node["type"], node["major"], node["minor"]) == ("/dev/mine", "c", 1, 3)
    assert made["linux"]["resources"]["devices"] == [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}
    ]
    assert [each["destination"] for each in made["mounts"]] == ["/proc", "/a", "/a/b"]
    assert made["mounts"][-1]["source"] == "/new"
    assert made["hooks"]["createRuntime"][0]["timeout"] == 3
    assert made["linux"]["netDevices"] == {"eth7": {"name": "fast"}}
    assert made["linux"]["intelRdt"] == {"closID": "x"}


def test_the_edits_of_a_file_come_once(tmp_path: Path) -> None:
    two = {"name": "two", "containerEdits": {"env": ["TWO=2"]}}
    write(
        tmp_path, "a.json", spec(ONE, two, containerEdits={"hooks": [{"hookName": "poststop", "path": "/x"}]})
    )
    found = cdi.resolve(
        devicedrivers.read([str(tmp_path)]), ["vendor.com/device=one", "vendor.com/device=two"]
    )
    assert sum(len(each.hooks) for each in found) == 1


def test_in_a_user_namespace_nodes_are_bound(tmp_path: Path) -> None:
    node = {"path": "/dev/mine", "hostPath": "/dev/null"}
    write(tmp_path, "a.json", spec({"name": "one", "containerEdits": {"deviceNodes": [node]}}))
    made = bundle()
    made["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 1000, "size": 1}]
    request = DeviceRequest(driver="cdi", ids=("vendor.com/device=one",))
    cdi.apply(made, devicedrivers.edits([request], [str(tmp_path)]))
    assert {"destination": "/dev/mine", "type": "bind", "source": "/dev/null", "options": ["bind", "rprivate"]} in made["mounts"]  # fmt: skip


def test_a_node_that_is_not_on_the_host(tmp_path: Path) -> None:
    missing = cdi.Edits(device_nodes=[cdi.DeviceNode(path="/dev/none-such")])
    with pytest.raises(KnarrError, match='failed to stat CDI host device "/dev/none-such"'):
        devicedrivers.filled(missing)
    whole = cdi.DeviceNode(path="/dev/none-such", type="c", major=10, minor=200)
    (node,) = devicedrivers.filled(cdi.Edits(device_nodes=[whole])).device_nodes
    assert (node.type, node.major, node.minor) == ("c", 10, 200)
    wrong = cdi.DeviceNode(path="/dev/null", type="b")
    with pytest.raises(KnarrError, match="host type mismatch"):
        devicedrivers.filled(cdi.Edits(device_nodes=[wrong]))
    os.mkfifo(tmp_path / "pipe")
    fifo = cdi.DeviceNode(path="/pipe", host_path=f"{tmp_path}/pipe")
    assert devicedrivers.filled(cdi.Edits(device_nodes=[fifo])).device_nodes[0].type == "p"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (DeviceRequest(count=-1, capabilities=(("gpu",),)), 'device driver "" with capabilities: [[gpu]]'),
        (DeviceRequest(driver="foo", count=1, capabilities=(("gpu", "x"),)), 'driver "foo" with capabilities: [[gpu x]]'),
        (DeviceRequest(driver="cdi", count=1), "unexpected count in CDI device request"),
        (DeviceRequest(driver="cdi", options={"a": "b"}), "unexpected options in CDI device request"),
        (DeviceRequest(driver="cdi", ids=("v.com/c=n",)), "unresolvable CDI devices v.com/c=n"),
    ],
)  # fmt: skip
def test_what_cannot_be_had(request_: DeviceRequest, words: str) -> None:
    with pytest.raises(KnarrError) as caught:
        devicedrivers.edits([request_], ["/nowhere"])
    assert words in str(caught.value)


def test_gpus_by_number_name_and_all(tmp_path: Path) -> None:
    devices = [{"name": name, "containerEdits": {"env": [f"GPU{name}=1"]}} for name in ("0", "1", "all")]
    write(tmp_path, "gpu.json", spec(*devices, kind="nvidia.com/gpu"))

    def found(**asked: Any) -> list[str]:
        request = DeviceRequest(capabilities=(("gpu",),), **asked)
        return [text for each in devicedrivers.edits([request], [str(tmp_path)]) for text in each.env]

    assert found(count=-1) == ["GPUall=1"]
    assert found(count=2) == ["GPU0=1", "GPU1=1"]
    assert found(ids=("1",)) == found(driver="nvidia", ids=("nvidia.com/gpu=1",)) == ["GPU1=1"]
    with pytest.raises(Invalid, match="cannot set both Count and DeviceIDs"):
        found(count=1, ids=("1",))
    with pytest.raises(KnarrError, match=r"unresolvable CDI devices nvidia\.com/gpu=7"):
        found(ids=("7",))
