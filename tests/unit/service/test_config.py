"""The table of settings: what dockerd takes, what it refuses and in which words, what a reload changes."""

import json
from typing import Any

import pytest

from knarr.model.errors import Invalid
from knarr.network.pools import Pool
from knarr.service import config
from knarr.service.flags import FLAGS, parse


def flags(*words: str) -> dict[str, Any]:
    return parse(words)[0]


def told(file: dict[str, Any], *words: str) -> dict[str, Any]:
    return config.merge(config.read(json.dumps(file)), flags(*words))


def test_every_kind_of_flag() -> None:
    found = flags(
        "-H", "unix:///a", "--host", "tcp://0.0.0.0:1", "--mtu", "1400", "--icc=false", "--debug", "--default-shm-size", "1m",
        "--log-opt", "max-size=1m", "--log-opt", "tag=a=b", "--feature", "x", "--feature", "y=false",
        "--default-address-pool", "base=10.0.0.0/8,size=24", "--default-ulimit", "nofile=1:2",
    )  # fmt: skip
    assert found == {
        "hosts": ["unix:///a", "tcp://0.0.0.0:1"],
        "mtu": 1400,
        "icc": False,
        "debug": True,
        "default-shm-size": 1 << 20,
        "log-opts": {"max-size": "1m", "tag": "a=b"},
        "features": {"x": True, "y": False},
        "default-address-pools": [{"base": "10.0.0.0/8", "size": "24"}],
        "default-ulimits": ["nofile=1:2"],
    }


def test_a_file_and_flags_are_one_table() -> None:
    values = told(
        {
            "labels": ["a=b"],
            "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 9, "Soft": 8}},
            "default-address-pools": [{"base": "10.0.0.0/8", "size": 24}],
            "proxies": {"http-proxy": "http://p"},
            "log-opts": {"max-file": "2"},
            "host-gateway-ip": "1.2.3.4",
            "default-shm-size": "2m",
            "registry-mirrors": ["https://hub", "quay.io=https://quay"],
            "userland-proxy": False,
        },
        "--init",
        "--ip-forward=false",
    )
    settings = config.settings_from(values)
    assert (settings.userland_proxy, settings.ip_forward) == (False, False)
    assert settings.labels == ("a=b",)
    assert settings.default_ulimits == ("nofile=8:9",)
    assert settings.default_address_pools == (Pool("10.0.0.0/8", 24),)
    assert settings.log_options == {"max-file": "2"}
    assert settings.host_gateways == ("1.2.3.4",)
    assert settings.default_shm_size == 2 << 20
    assert settings.mirrors == ("https://hub",)
    assert settings.registry_mirrors == {"quay.io": ("https://quay",)}
    assert settings.init
    assert values["http-proxy"] == "http://p"


@pytest.mark.parametrize(
    ("file", "words", "message"),
    [
        pytest.param({"labels": ["a=b"], "debug": True}, ["--label", "c=d", "--debug"],
         "debug: (from flag: true, from file: true), labels: (from flag: [c=d], from file: [a=b])"),
        ({"log-opts": {"max-size": "1m"}}, ["--log-opt", "max-file=2"],
         "log-opts: (from flag: map[max-file:2], from file: map[max-size:1m])"),
        ({"nonsense": 1, "also": 2}, [],
         "the following directives don't match any configuration option: also, nonsense"),
        ({"runtimes": {}}, [], "knarrd has no runtimes"),
        ({"debug": "yes"}, [], "cannot read debug: it is to be of type bool"),
        ({"mtu": -1}, [], "invalid default MTU: -1"),
        ({"max-concurrent-downloads": -1}, [], "invalid max concurrent downloads: -1"),
        ({"log-level": "loud"}, [], "invalid logging level: loud"),
        ({"log-format": "xml"}, [], "invalid log format: xml"),
        ({"labels": ["a"]}, [], "bad attribute format: a"),
        ({"labels": ["a=b", "a=c"]}, [], "conflict labels for a=c and a=b"),
        ({"dns": ["nowhere"]}, [], "nowhere is not an ip address"),
        ({"default-ipc-mode": "host"}, [], "is not supported as default value for containers"),
        ({"log-driver": "smoke"}, [], 'error looking up logging plugin smoke: plugin "smoke" not found'),
        ({"log-opts": {"colour": "red"}}, [], "unknown log opt 'colour' for json-file log driver"),
        ({"host-gateway-ip": "1.1.1.1", "host-gateway-ips": []}, [], "must not both be specified"),
        ({"exec-opts": ["native.cgroupdriver=systemd"]}, [], "native.cgroupdriver=cgroupfs only"),
    ],
)  # fmt: skip
def test_what_is_refused(file: dict[str, Any], words: list[str], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        told(file, *words)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["[", "[]", '"x"', "{]"])
def test_what_is_no_configuration(text: str) -> None:
    with pytest.raises(Invalid, match="invalid JSON"):
        config.read(text)


@pytest.mark.parametrize("text", ["", " \n", "\ufeff{}"])
def test_an_empty_file_says_nothing(text: str) -> None:
    assert config.read(text) == {}


def test_a_flag_that_docker_has_and_we_do_not_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--add-runtime", "x=y"])
    assert "knarrd has no --add-runtime" in capsys.readouterr().err


def test_what_a_reload_changes() -> None:
    running = told({"labels": ["a=b"], "bip": "10.0.0.1/24", "max-concurrent-downloads": 7}, "--debug")
    file = config.read(json.dumps({"labels": ["a=c"], "bip": "10.9.0.1/24", "live-restore": False}))
    after = config.reload(running, file, flags("--debug"))
    assert after == {"labels": ["a=c"], "bip": "10.0.0.1/24", "live-restore": False, "debug": True}
    assert config.attributes(after)["max-concurrent-downloads"] == "3"
    assert config.attributes(after)["labels"] == '["a=c"]'


def test_a_reload_with_a_conflict_changes_nothing() -> None:
    with pytest.raises(Invalid, match="specified both"):
        config.reload({}, config.read('{"debug": true}'), flags("--debug"))


def test_every_setting_has_a_place() -> None:
    assert len({flag.key for flag in FLAGS}) == len(FLAGS)
    config.settings_from({})
