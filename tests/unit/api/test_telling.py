"""Containers as ps shows them."""

import pytest

from knarr.api.server import attachments, listing, telling
from knarr.api.server.archive import go_mode
from knarr.api.server.streams import bar, progress_line
from knarr.api.spec.versions import LATEST, Version
from knarr.model.container import (
    ContainerSpec,
    ContainerState,
    ContainerView,
    EndpointView,
    Status,
)
from knarr.model.image import Progress
from knarr.model.ports import Port, Published

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
NOW = 1_700_000_000 * SECOND


def view(state: ContainerState) -> ContainerView:
    return ContainerView(
        id="a" * 64,
        name="web",
        created=NOW - 5 * SECOND,
        spec=ContainerSpec(image="nginx", network_mode="bridge", exposed_ports=(Port(80), Port(443))),
        state=state,
        image_id="sha256:" + "b" * 64,
        path="/entry",
        args=("a b", "c"),
        endpoints=(EndpointView(network="bridge", network_id="n", ipv4="10.0.0.2", ipv4_prefix=24),),
        published=(Published(Port(80), "0.0.0.0", 8080), Published(Port(80), "::", 8080)),
    )


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (0, "Less than a second"),
        (SECOND, "1 second"),
        (59 * SECOND, "59 seconds"),
        (60 * SECOND, "About a minute"),
        (119 * SECOND, "About a minute"),
        (120 * SECOND, "2 minutes"),
        (59 * 60 * SECOND, "59 minutes"),
        (HOUR, "About an hour"),
        (2 * HOUR, "2 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (14 * 24 * HOUR, "2 weeks"),
        (60 * 24 * HOUR, "2 months"),
        (731 * 24 * HOUR, "2 years"),
    ],
)
def test_durations(ago: int, text: str) -> None:
    assert listing.duration(ago) == text


@pytest.mark.parametrize(
    ("state", "status", "word"),
    [
        (ContainerState(status=Status.CREATING), "Created", "created"),
        (ContainerState(status=Status.STARTING), "Created", "created"),
        (
            ContainerState(status=Status.RUNNING, pid=7, started_at=NOW - 3 * SECOND),
            "Up 3 seconds",
            "running",
        ),
        (
            ContainerState(status=Status.PAUSED, pid=7, started_at=NOW - 3 * SECOND),
            "Up 3 seconds (Paused)",
            "paused",
        ),
        (
            ContainerState(
                status=Status.EXITED, exit_code=3, started_at=NOW - 9 * SECOND, finished_at=NOW - 2 * SECOND
            ),
            "Exited (3) 2 seconds ago",
            "exited",
        ),
        (
            ContainerState(status=Status.RESTARTING, exit_code=1, started_at=1, finished_at=NOW - SECOND),
            "Restarting (1) 1 second ago",
            "restarting",
        ),
        (ContainerState(status=Status.REMOVING), "Removal In Progress", "removing"),
    ],
)
def test_statuses(state: ContainerState, status: str, word: str) -> None:
    shown = listing.summary(view(state), LATEST, NOW)
    assert (shown["Status"], shown["State"]) == (status, word)


def test_a_running_container_is_listed_with_its_ports() -> None:
    shown = listing.summary(view(ContainerState(status=Status.RUNNING, pid=7, started_at=NOW)), LATEST, NOW)
    assert shown["Command"] == "/entry 'a b' c"
    assert shown["Created"] == 1_699_999_995
    assert shown["Ports"] == [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"PrivatePort": 443, "Type": "tcp"},
    ]


def test_inspect_had_the_addresses_twice_before_1_52() -> None:
    running = view(ContainerState(status=Status.RUNNING, pid=7, started_at=NOW))
    assert "IPAddress" not in telling.inspect(running, LATEST)["NetworkSettings"]
    shown = telling.inspect(running, Version(1, 51))
    assert shown["Name"] == "/web"
    assert shown["State"]["Running"] is True
    assert shown["NetworkSettings"]["IPAddress"] == "10.0.0.2"
    assert shown["NetworkSettings"]["Networks"]["bridge"]["IPPrefixLen"] == 24
    assert shown["NetworkSettings"]["Ports"] == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "443/tcp": None,
    }
    assert "SizeRw" not in shown


def test_aliases_of_user_defined_networks_before_1_45() -> None:
    seen = view(ContainerState(status=Status.RUNNING, pid=7))
    network = EndpointView(network="mine", network_id="n", aliases=("x",))
    other = ContainerView(
        id=seen.id, name="w", created=0, spec=ContainerSpec(image="i", hostname="h"), state=seen.state,
        image_id="", path="", args=(), endpoints=(network,),
    )  # fmt: skip
    assert attachments.networks(other, Version(1, 44))["mine"]["Aliases"] == ["x", "a" * 12, "h"]
    assert attachments.networks(other, LATEST)["mine"]["Aliases"] == ["x"]


@pytest.mark.parametrize(
    ("linux", "go"),
    [
        (0o100644, 0o644),
        (0o040755, 1 << 31 | 0o755),
        (0o120777, 1 << 27 | 0o777),
        (0o041777, 1 << 31 | 1 << 20 | 0o777),
        (0o104755, 1 << 23 | 0o755),
        (0o020600, 1 << 26 | 1 << 21 | 0o600),
        (0o060600, 1 << 26 | 0o600),
        (0o010600, 1 << 25 | 0o600),
        (0o140600, 1 << 24 | 0o600),
    ],
)
def test_go_modes(linux: int, go: int) -> None:
    assert go_mode(linux) == go


def test_progress_lines() -> None:
    assert progress_line(Progress(status="Pull complete", id="abc")) == (
        b'{"status":"Pull complete","progressDetail":{},"id":"abc"}\r\n'
    )
    assert progress_line(Progress(status="Digest: sha256:x")) == b'{"status":"Digest: sha256:x"}\r\n'
    assert b'"progressDetail":{"current":5,"total":10}' in progress_line(
        Progress(status="Downloading", id="abc", current=5, total=10)
    )
    assert progress_line(Progress(stream="Loaded image: x\n")) == b'{"stream":"Loaded image: x\\n"}\r\n'


def test_bars() -> None:
    assert bar(0, 100) == "[>" + " " * 49 + "]       0B/100B"
    assert bar(50, 100) == "[" + "=" * 25 + ">" + " " * 24 + "]      50B/100B"
    assert bar(100, 100) == "[" + "=" * 50 + "]     100B/100B"
    assert bar(1_234_567, 0) == "1.235MB"
