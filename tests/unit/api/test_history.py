"""The tables of what the API's versions differ in."""

from typing import Any

import msgspec
import pytest

from knarr.api.server.events import accepted, told
from knarr.api.spec import history
from knarr.api.spec.containers import Create, ExecStart, Update
from knarr.api.spec.decode import decode
from knarr.api.spec.others import NetworkCreate, VolumeCreate
from knarr.api.spec.versions import LATEST, OLDEST, Version
from knarr.model.errors import Invalid
from knarr.model.system import Event


@pytest.mark.parametrize("kind", history.ANSWERS)
def test_the_newest_form_stays_as_it_is(kind: str) -> None:
    assert history.shaped(kind, {"Config": {}, "NetworkSettings": {}}, LATEST) == {
        "Config": {},
        "NetworkSettings": {},
    }


@pytest.mark.parametrize(
    ("kind", "path", "version", "there"),
    [
        ("container", ("HostConfig", "Annotations"), (1, 42), False),
        ("container", ("HostConfig", "Annotations"), (1, 43), True),
        ("container", ("NetworkSettings", "IPAddress"), (1, 51), True),
        ("container", ("NetworkSettings", "IPAddress"), (1, 52), False),
        ("image", ("ContainerConfig",), (1, 44), True),
        ("image", ("ContainerConfig",), (1, 45), False),
        ("image", ("Config", "Hostname"), (1, 49), True),
        ("image", ("Config", "Hostname"), (1, 50), False),
        ("image", ("Config", "Cmd"), (1, 51), True),
        ("image", ("Config", "Cmd"), (1, 52), False),
        ("network", ("Status",), (1, 51), False),
        ("network", ("Status",), (1, 52), True),
        ("info", ("Runtimes", "runc", "status"), (1, 43), False),
        ("info", ("Runtimes", "runc", "status"), (1, 44), True),
        ("info", ("RuncCommit", "Expected"), (1, 48), True),
    ],
)
def test_fields_come_and_go(kind: str, path: tuple[str, ...], version: Any, there: bool) -> None:
    value: Any = {
        "HostConfig": {"Annotations": {"a": "b"}},
        "NetworkSettings": {},
        "Config": {},
        "Status": {},
        "Runtimes": {"runc": {"path": "runc", "status": {}}},
        "RuncCommit": {"ID": "1"},
    }
    value = history.shaped(kind, value, Version(*version))
    for name in path[:-1]:
        value = value[name]
    assert (path[-1] in value) is there


def test_what_an_older_answer_has_anyway_keeps_its_value() -> None:
    assert history.shaped("image", {"Author": "me"}, OLDEST)["Author"] == "me"


def test_every_rule_lies_between_the_oldest_and_the_newest_version() -> None:
    rules = [
        rule for table in (history.ANSWERS, history.BODIES) for rules in table.values() for rule in rules
    ]
    assert all(OLDEST < rule.version <= LATEST for rule in rules)


@pytest.mark.parametrize("kind", [Create, Update, ExecStart, VolumeCreate, NetworkCreate])
def test_the_newest_version_knows_every_field(kind: Any) -> None:
    body = decode(kind, b"{}")
    history.forget(body, LATEST)
    assert body == kind()


def test_an_older_version_does_not_know_newer_fields() -> None:
    asked = {
        "Healthcheck": {"StartInterval": 5, "Interval": 7},
        "NetworkingConfig": {"EndpointsConfig": {"a": {"GwPriority": 3, "MacAddress": "m"}, "b": None}},
    }
    body = decode(Create, msgspec.json.encode(asked))
    history.forget(body, Version(1, 43))
    assert body.Healthcheck
    assert (body.Healthcheck.StartInterval, body.Healthcheck.Interval) == (0, 7)
    assert body.NetworkingConfig
    assert body.NetworkingConfig.EndpointsConfig
    (first, second) = body.NetworkingConfig.EndpointsConfig.values()
    assert first
    assert (first.GwPriority, first.MacAddress, second) == (0, "", None)


def test_an_older_version_does_not_read_newer_parameters() -> None:
    for version, left in ((Version(1, 41), {"t": ["1"]}), (Version(1, 42), {"t": ["1"], "signal": ["TERM"]})):
        query = {"t": ["1"], "signal": ["TERM"]}
        history.forget_parameters("POST", "/containers/{name}/stop", version, query)
        assert query == left


def test_an_older_version_does_not_have_newer_operations() -> None:
    history.check_operation("GET", "/distribution/{name:path}/json", Version(1, 30))
    with pytest.raises(
        Invalid, match=r"GET /distribution/\{name:\.\*\}/json requires minimum API version 1\.30"
    ):
        history.check_operation("GET", "/distribution/{name:path}/json", Version(1, 29))


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("", ""),
        ("*/*", ""),
        ("application/json", ""),
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/json-seq;q=0.5, application/jsonl", "application/jsonl"),
        ("application/json-seq;q=0.5, application/jsonl;q=0.2", "application/json-seq"),
        ("application/jsonl;q=0", ""),
        ("application/jsonl;q=x", ""),
    ],
)
def test_the_form_of_events_is_negotiated(header: str, kind: str) -> None:
    assert accepted(header) == kind


def test_the_older_names_of_an_event_are_gone() -> None:
    event = Event(type="container", action="start", id="c", at=1, attributes={"image": "i"})
    assert told(event, Version(1, 51))["from"] == "i"
    assert not {"status", "id", "from"} & told(event, Version(1, 52)).keys()
