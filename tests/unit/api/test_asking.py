"""Docker's JSON to values and back: what was asked for is what inspect shows."""

from typing import Any

import msgspec
import pytest

from knarr.api.server import asking, hostconfig
from knarr.api.spec.containers import Create, ExecCreate, Update
from knarr.api.spec.decode import decode
from knarr.api.spec.history import forget
from knarr.api.spec.versions import LATEST, Version, split
from knarr.model.container import ContainerSpec, MountSpec
from knarr.model.errors import Invalid
from knarr.model.ports import Port, PortBinding


def ask(body: dict[str, Any], version: Version = LATEST) -> ContainerSpec:
    asked = decode(Create, msgspec.json.encode(body))
    forget(asked, version)
    return asking.container(asked, version)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a:/b", MountSpec(type="bind", source="/a", target="/b", create_source=True, asked_by="binds")),
        (
            "/a:/b:ro,rslave",
            MountSpec(
                type="bind",
                source="/a",
                target="/b",
                read_only=True,
                options=("ro", "rslave"),
                propagation="rslave",
                create_source=True,
                asked_by="binds",
            ),
        ),
        (
            "data:/b:nocopy",
            MountSpec(
                type="volume", source="data", target="/b", options=("nocopy",), no_copy=True, asked_by="binds"
            ),
        ),
        ("/only", MountSpec(type="volume", target="/only", asked_by="binds")),
    ],
)
def test_binds(text: str, expected: MountSpec) -> None:
    spec = ask({"Image": "x", "HostConfig": {"Binds": [text]}})
    assert spec.mounts == (expected,)
    assert hostconfig.host_config(spec)["Binds"] == [text]


@pytest.mark.parametrize(
    "text", ["", ":", "a:", ":/b", "/a:/b:ro:x", "/a:/b:wrong", "/a:/b:ro,rw", "/a:b", "v:/b:rshared"]
)
def test_bad_binds(text: str) -> None:
    with pytest.raises(Invalid, match=r"invalid (volume specification|mode)"):
        ask({"Image": "x", "HostConfig": {"Binds": [text]}})


def test_ports() -> None:
    spec = ask(
        {
            "ExposedPorts": {"80/tcp": {}, "9000-9001": {}},
            "HostConfig": {
                "PortBindings": {
                    "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostPort": ""}],
                    "53/udp": [{"HostPort": "5000-5010"}],
                }
            },
        }
    )
    assert spec.exposed_ports == (Port(80), Port(9000), Port(9001))
    assert spec.port_bindings == (
        PortBinding(Port(80), "127.0.0.1", 8080, 8080),
        PortBinding(Port(80)),
        PortBinding(Port(53, "udp"), "", 5000, 5010),
    )
    assert hostconfig.host_config(spec)["PortBindings"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "", "HostPort": ""}],
        "53/udp": [{"HostIp": "", "HostPort": "5000-5010"}],
    }


@pytest.mark.parametrize("text", ["x", "80-", "0x50", "70000", "9-8"])
def test_bad_host_ports(text: str) -> None:
    with pytest.raises(Invalid, match="invalid port specification"):
        ask({"Image": "x", "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": text}]}}})


def test_what_is_asked_for_is_shown() -> None:
    host = {
        "Memory": 1 << 26,
        "NanoCpus": 500_000_000,
        "PidsLimit": 20,
        "CapAdd": ["NET_ADMIN"],
        "CapDrop": ["ALL"],
        "Dns": ["1.1.1.1"],
        "ExtraHosts": ["a:1.2.3.4"],
        "GroupAdd": ["audio"],
        "NetworkMode": "host",
        "ReadonlyRootfs": True,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "SecurityOpt": ["no-new-privileges"],
        "ShmSize": 1 << 20,
        "Sysctls": {"net.ipv4.ip_forward": "1"},
        "Tmpfs": {"/run": "size=64m,mode=1777"},
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}],
        "BlkioDeviceReadBps": [{"Path": "/dev/vda", "Rate": 1000}],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "Mounts": [
            {"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {"Propagation": "rslave"}},
            {"Type": "volume", "Source": "v", "Target": "/v", "ReadOnly": True},
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1024, "Mode": 0o700}},
        ],
        "MaskedPaths": [],
        "Init": True,
        "UsernsMode": "host",
        "CgroupnsMode": "private",
    }  # fmt: skip
    shown = hostconfig.host_config(ask({"Image": "x", "HostConfig": host}))
    assert {key: shown[key] for key in host} == host


@pytest.mark.parametrize(
    ("body", "version", "limit"),
    [
        ({}, LATEST, 0),
        ({"PidsLimit": 5}, LATEST, 5),
        ({"PidsLimit": 0}, LATEST, -1),
        ({"PidsLimit": -1}, LATEST, -1),
        ({"PidsLimit": 5}, (1, 39), 0),
    ],
)
def test_an_update_of_the_limit_of_processes(body: dict[str, int], version: Version, limit: int) -> None:
    asked = decode(Update, msgspec.json.encode(body))
    forget(asked, version)
    assert asking.changes(asked, version).pids_limit == limit


def test_no_limit_of_processes_is_none_at_all() -> None:
    spec = ask({"Image": "x", "HostConfig": {"PidsLimit": -1}})
    assert spec.resources.pids_limit == 0
    assert hostconfig.host_config(spec)["PidsLimit"] is None


def test_the_default_network_is_bridge() -> None:
    spec = ask(
        {
            "Image": "x",
            "HostConfig": {"NetworkMode": "default"},
            "NetworkingConfig": {"EndpointsConfig": {"default": {}}},
        }
    )
    assert spec.network_mode == "bridge"
    assert [each.network for each in spec.endpoints] == ["bridge"]


def test_a_container_wide_mac_address_moves_to_the_main_network() -> None:
    spec = ask({"MacAddress": "02:00:00:00:00:01"}, Version(1, 51))
    assert [(each.network, each.mac) for each in spec.endpoints] == [("bridge", "02:00:00:00:00:01")]


@pytest.mark.parametrize(
    ("version", "mode", "text"),
    [
        (Version(1, 52), "bridge", "container-wide MAC address no longer supported"),
        (Version(1, 43), "host", "conflicting options: mac-address and the network mode"),
    ],
)
def test_a_container_wide_mac_address_is_refused(version: Version, mode: str, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        ask({"MacAddress": "02:00:00:00:00:01", "HostConfig": {"NetworkMode": mode}}, version)


@pytest.mark.parametrize(
    ("version", "told"),
    [(Version(1, 43), 0), (Version(1, 44), 1), (Version(1, 48), 2), (Version(1, 51), 2), (LATEST, 3)],
)
def test_what_is_on_its_way_out_is_warned_of(version: Version, told: int) -> None:
    host = {
        "VolumeDriver": "other",
        "Mounts": [{"Type": "volume", "Target": "/v"}],
        "PortBindings": {"80/tcp": []},
    }
    body = decode(Create, msgspec.json.encode({"MacAddress": "02:00:00:00:00:01", "HostConfig": host}))
    assert len(asking.warnings(body, version)) == told


def test_older_versions_have_their_own_defaults() -> None:
    old = ask(
        {"Image": "x", "HostConfig": {"ConsoleSize": [1, 2], "Annotations": {"a": "b"}}}, Version(1, 24)
    )
    assert (old.ipc_mode, old.cgroupns_mode, old.console_size) == ("shareable", "host", (0, 0))
    assert old.annotations == {}
    new = ask({"Image": "x", "HostConfig": {"ConsoleSize": [1, 2]}})
    assert (new.ipc_mode, new.cgroupns_mode, new.console_size) == ("", "", (1, 2))


def test_mount_options_of_another_type_are_refused() -> None:
    body = {"Image": "x", "HostConfig": {"Mounts": [{"Type": "tmpfs", "Target": "/t", "BindOptions": {}}]}}
    with pytest.raises(Invalid, match='BindOptions must not be specified on mount type "tmpfs"'):
        ask(body)
    ask(body, Version(1, 41))


def test_go_is_lenient() -> None:
    spec = decode(
        Create,
        b'{"image": "x", "CMD": "one word", "Env": null, "Tty": null, "Unknown": {"a": 1},'
        b' "hostconfig": {"memory": 7, "Binds": null, "restartpolicy": {"name": "always"}}}',
    )
    asked = asking.container(spec, LATEST)
    assert (asked.image, asked.command, asked.resources.memory) == ("x", ("one word",), 7)
    assert asked.restart.name == "always"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "invalid JSON: unexpected EOF"),
        (b"nonsense", "invalid JSON: "),
        (b"[]", "invalid JSON: json: cannot unmarshal array into Go value"),
        (
            b'{"HostConfig": {"Memory": "12"}}',
            "invalid JSON: json: cannot unmarshal string into Go struct field .HostConfig.Memory of type int64",
        ),
        (b'{"Tty": "yes"}', "cannot unmarshal string into Go struct field .Tty of type bool"),
        (b'{"Env": [1]}', "cannot unmarshal number into Go struct field"),
    ],
)
def test_go_refuses(body: bytes, text: str) -> None:
    with pytest.raises(Invalid) as error:
        decode(Create, body)
    assert text in str(error.value)


def test_an_exec_needs_a_command() -> None:
    with pytest.raises(Invalid, match="No exec command specified"):
        asking.exec_(ExecCreate())


def test_versions() -> None:
    assert split("/v1.41/info") == ("1.41", Version(1, 41), "/info")
    assert split("/info") == ("", LATEST, "/info")
    assert Version(1, 9) < Version(1, 24)
    with pytest.raises(
        Invalid, match=r"client version 1.99 is too new. Maximum supported API version is 1.55"
    ):
        split("/v1.99/info")
    with pytest.raises(
        Invalid, match=r"client version 1.12 is too old. Minimum supported API version is 1.24"
    ):
        split("/v1.12/info")
