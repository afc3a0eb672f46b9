"""Logging drivers: what is refused in Docker's words, what a shim is told, and what tags come out as."""

from typing import Any

import pytest

from knarr.engine.gotags import render
from knarr.engine.logdrivers import CannotLog, Subject, check_driver, order, settled
from knarr.model.container import LogConfig
from knarr.model.errors import Invalid

PATHS = {"json": "/l", "local": "/local", "cache": "/cache"}
SUBJECT = Subject(
    id="0123456789abcdef" * 4,
    name="box",
    image="busybox:1",
    image_id="sha256:" + "f" * 64,
    command=("sh", "-c", "x"),
    labels={"app": "web", "team.x": "a", "other": "o"},
    environment=("A=1", "B=2=3", "C"),
    hostname="host",
)


def told(driver: str, **options: str) -> dict[str, Any]:
    words = {key.replace("_", "-"): value for key, value in options.items()}
    return order(LogConfig(driver=driver, options=words), PATHS, SUBJECT, journal=False)


def test_json_file() -> None:
    assert told("json-file") == {"driver": "json-file", "path": "/l", "max_size": 10_000_000, "max_file": 3}
    asked = told(
        "json-file", max_size="1k", max_file="2", compress="true", labels="app,none", env="B", tag="{{.Name}}"
    )
    assert (asked["max_size"], asked["max_file"], asked["compress"]) == (1000, 2, True)
    assert asked["attrs"] == {"B": "2=3", "app": "web", "tag": "box"}
    assert told("none")["driver"] == "none"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_file": "x"}, 'parsing "x": invalid syntax'),
        ({"max_file": "0"}, "max-file cannot be less than 1"),
        ({"max_size": "0"}, "max-size must be a positive number"),
        ({"compress": "true"}, "compress cannot be true when max-file is less than 2 or max-size is not set"),
        ({"compress": "maybe"}, "invalid boolean value for compress"),
        ({"labels_regex": "("}, "error parsing regexp"),
        ({"tag": "{{.Nothing}}"}, "can't evaluate field Nothing"),
    ],
)
def test_what_no_container_starts_with(options: dict[str, str], words: str) -> None:
    with pytest.raises(CannotLog) as caught:
        told("json-file", **options)
    assert str(caught.value).startswith(
        "failed to create task for container: failed to initialize logging driver: "
    )
    assert words in str(caught.value)


def test_options_of_the_daemon_are_defaults_of_its_own_driver() -> None:
    daemon = {"max-size": "1m", "cache-disabled": "true"}
    assert settled(LogConfig(), "json-file", daemon).options == daemon
    mine = LogConfig(driver="local", options={"max-file": "2"})
    assert settled(mine, "json-file", daemon) == LogConfig(
        driver="local", options={"cache-disabled": "true", "max-file": "2"}
    )
    same = LogConfig(driver="json-file", options={"max-size": "2m"})
    assert settled(same, "json-file", daemon).options["max-size"] == "2m"


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("smoke", {}, 'error looking up logging plugin smoke: plugin "smoke" not found'),
        ("json-file", {"mode": "fast"}, "logger: logging mode not supported: fast"),
        (
            "json-file",
            {"max-buffer-size": "1m"},
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "json-file",
            {"mode": "non-blocking", "max-buffer-size": "x"},
            "error parsing option max-buffer-size",
        ),
        ("json-file", {"cache-disabled": "x"}, "invalid value for option cache-disabled: x"),
        ("json-file", {"colour": "x"}, "unknown log opt 'colour' for json-file log driver"),
    ],
)
def test_what_is_refused(driver: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_driver(driver, options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("plain", "plain"),
        ("{{.ID}}", "0123456789ab"),
        ("{{.ImageName}}/{{.Name}}/{{ .ImageID }}", "busybox:1/box/ffffffffffff"),
        ("{{.Name | upper}}", "BOX"),
        ('{{index .ContainerLabels "team.x"}}', "a"),
        ('{{printf "%s-%s" .Name .ID}}', "box-0123456789ab"),
        ("{{truncate .Name 2}}", "bo"),
        ("a {{- .Name -}} b", "aboxb"),
        ("{{.Command}}@{{.Hostname}}", "sh -c x@host"),
        ("{{.ContainerLabels.app}}", "web"),
    ],
)
def test_tags(text: str, tag: str) -> None:
    assert told("json-file", tag=text)["attrs"]["tag"] == tag


@pytest.mark.parametrize(
    "text", ["{{.X}}", "{{", "{{}}", "{{if .ID}}a{{end}}", "{{upper}}", "{{.ID .ID}}", "{{.ID | nothing}}"]
)
def test_what_is_no_tag(text: str) -> None:
    with pytest.raises(Invalid, match="template: log-tag:1"):
        render(text, {"ID": "x"})
