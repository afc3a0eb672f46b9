"""Options to the body of a create request."""

from typing import Any

import pytest

from knarr.library.options import Healthcheck, Mount, Options, body, size, words
from knarr.model.errors import Invalid


def made(**options: Any) -> dict[str, Any]:
    return body("image", None, Options(**options))  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("asked", "expected"), [(5, 5), ("5", 5), ("64m", 64 << 20), ("1.5G", 3 << 29), ("2kb", 2048), ("7b", 7)]
)
def test_sizes(asked: int | str, expected: int) -> None:
    assert size(asked) == expected


@pytest.mark.parametrize("asked", ["", "m", "5x", "a"])
def test_what_is_no_size(asked: str) -> None:
    with pytest.raises(Invalid):
        size(asked)


def test_commands() -> None:
    assert words("sh -c 'echo a  b'") == ["sh", "-c", "echo a  b"]
    assert words(("echo", "a b")) == ["echo", "a b"]
    assert "Cmd" not in body("image", None, {})
    assert body("image", [], {})["Cmd"] == []


def test_ports() -> None:
    found = made(
        ports={80: None, "53/udp": 5353, 443: ("127.0.0.1", 8443), 22: "127.0.0.1:2222", 21: "2100-2110"}
    )
    assert set(found["ExposedPorts"]) == {"80/tcp", "53/udp", "443/tcp", "22/tcp", "21/tcp"}
    assert found["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": ""}],
        "53/udp": [{"HostIp": "", "HostPort": "5353"}],
        "443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8443"}],
        "22/tcp": [{"HostIp": "127.0.0.1", "HostPort": "2222"}],
        "21/tcp": [{"HostIp": "", "HostPort": "2100-2110"}],
    }


def test_health() -> None:
    check = Healthcheck("curl localhost", interval=0.5, retries=3)
    assert made(healthcheck=check)["Healthcheck"] == {
        "Test": ["CMD-SHELL", "curl localhost"],
        "Interval": 500_000_000,
        "Retries": 3,
    }
    assert made(healthcheck=Healthcheck(["true"]))["Healthcheck"]["Test"] == ["CMD", "true"]
    assert made(healthcheck=None)["Healthcheck"] == {"Test": ["NONE"]}


def test_mounts() -> None:
    mounts = [
        Mount("/a", "data", subpath="x"),
        Mount("/b", "/host", "bind", read_only=True),
        Mount("/c", type="tmpfs", size="1m"),
    ]
    assert made(mounts=mounts)["HostConfig"]["Mounts"] == [
        {
            "Type": "volume",
            "Target": "/a",
            "ReadOnly": False,
            "Source": "data",
            "VolumeOptions": {"Subpath": "x"},
        },
        {"Type": "bind", "Target": "/b", "ReadOnly": True, "Source": "/host"},
        {"Type": "tmpfs", "Target": "/c", "ReadOnly": False, "TmpfsOptions": {"SizeBytes": 1 << 20}},
    ]


def test_networks() -> None:
    assert "NetworkingConfig" not in made(network="front")
    assert made(network="front")["HostConfig"]["NetworkMode"] == "front"
    both = made(networks=["front", "back"], aliases=["db"])
    assert both["HostConfig"]["NetworkMode"] == "front"
    assert both["NetworkingConfig"]["EndpointsConfig"] == {
        "front": {"Aliases": ["db"]},
        "back": {"Aliases": ["db"]},
    }
    with pytest.raises(Invalid, match="aliases"):
        made(aliases=["db"])


def test_limits_and_the_rest() -> None:
    found = made(
        env={"A": "1"},
        memory="64m",
        cpus=1.5,
        restart="on-failure:3",
        ulimits={"nofile": (10, 20), "nproc": 5},
        devices=["/dev/null", "/dev/zero:/dev/z:r"],
        extra_hosts={"a": "1.2.3.4"},
        tmpfs=["/run"],
        stdin=True,
        log_options={"max-size": "1m"},
        host_config={"Memory": 5, "OomScoreAdj": 9},
    )
    assert found["Env"] == ["A=1"]
    assert found["OpenStdin"]
    assert found["StdinOnce"]
    host = found["HostConfig"]
    assert (host["Memory"], host["OomScoreAdj"], host["NanoCpus"]) == (5, 9, 1_500_000_000)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert host["Ulimits"] == [
        {"Name": "nofile", "Soft": 10, "Hard": 20},
        {"Name": "nproc", "Soft": 5, "Hard": 5},
    ]
    assert host["Devices"][1] == {
        "PathOnHost": "/dev/zero",
        "PathInContainer": "/dev/z",
        "CgroupPermissions": "r",
    }
    assert (host["ExtraHosts"], host["Tmpfs"]) == (["a:1.2.3.4"], {"/run": ""})
    assert host["LogConfig"] == {"Type": "", "Config": {"max-size": "1m"}}


def test_every_option_does_something() -> None:
    samples: dict[str, Any] = {
        "env": ["A=1"], "ports": {1: 1}, "volumes": ["a:/a"], "mounts": [Mount("/a")], "tmpfs": ["/a"], "networks": ["n"],
        "aliases": ["a"], "extra_hosts": {"a": "b"}, "labels": {"a": "b"}, "memory": 1, "cpus": 1.0, "shm_size": 1,
        "ulimits": {"core": 1}, "sysctls": {"a": "b"}, "healthcheck": None, "log_options": {"a": "b"}, "devices": ["/a"],
        "host_config": {"X": 1},
    }  # fmt: skip
    elsewhere = {"name", "platform", "pull"}
    plain = made(network="n")
    for key in Options.__optional_keys__ - elsewhere - {"network"}:
        assert made(network="n", **{key: samples.get(key, "x")}) != plain or key == "networks", key


def test_an_unknown_option() -> None:
    with pytest.raises(Invalid, match="unknown option: colour"):
        made(colour="red")
