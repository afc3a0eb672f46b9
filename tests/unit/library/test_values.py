"""Docker's JSON to values, logs to lines, statuses to errors."""

from datetime import UTC, datetime

import pytest

from knarr.api.client.refusals import DaemonFailed, message, refusal
from knarr.library.logs import Lines
from knarr.library.reading import progress, read, read_whole, stats
from knarr.library.values import Address, ContainerDetails, ContainerSummary, Event, Progress
from knarr.model import errors
from knarr.wire import mux


def test_absent_null_and_never_are_defaults() -> None:
    told = {
        "Id": "a",
        "Name": "/b",
        "Created": "2026-01-02T03:04:05.123456789Z",
        "State": {
            "Status": "created",
            "StartedAt": "0001-01-01T00:00:00Z",
            "Health": None,
            "OOMKilled": True,
        },
        "Config": {"Cmd": None, "Env": ["A=1"]},
        "NetworkSettings": {"Ports": {"80/tcp": None, "81/tcp": [{"HostIp": "", "HostPort": "5"}]}},
        "SomethingNew": 5,
    }
    details = read_whole(ContainerDetails, told)
    assert details.created == datetime(2026, 1, 2, 3, 4, 5, 123457, UTC)
    assert (details.state.started_at, details.state.health, details.state.oom_killed) == (None, None, True)
    assert (details.config.cmd, details.config.env) == ((), ("A=1",))
    assert details.network_settings.ports["81/tcp"] is not None
    assert details.raw["SomethingNew"] == 5
    with pytest.raises(AttributeError):
        details.id = "b"  # type: ignore[misc]


def test_names_and_addresses() -> None:
    assert read(ContainerSummary, {"Id": "a", "Names": ["/x/link", "/own"]}).name == "own"
    assert str(Address("::1", 5)) == "[::1]:5"
    event = read(
        Event,
        {"Type": "container", "Action": "die", "Actor": {"ID": "x", "Attributes": {"a": "b"}}, "timeNano": 7},
    )
    assert (event.type, event.id, event.attributes["a"], event.at) == ("container", "x", "b", 7)


def test_progress() -> None:
    told = {"status": "Downloading", "id": "x", "progressDetail": {"current": 1, "total": 2}}
    assert progress(told) == Progress(status="Downloading", id="x", current=1, total=2)
    assert progress({"stream": "Loaded image: a\n", "progressDetail": None}).stream == "Loaded image: a\n"


def test_stats() -> None:
    sample = stats(
        {
            "read": "2026-01-02T03:04:05Z",
            "cpu_stats": {"cpu_usage": {"total_usage": 30}, "system_cpu_usage": 200, "online_cpus": 2},
            "precpu_stats": {"cpu_usage": {"total_usage": 10}, "system_cpu_usage": 100},
            "memory_stats": {"usage": 100, "limit": 500, "stats": {"inactive_file": 40}},
            "networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 2}, "eth1": {"rx_bytes": 3, "tx_bytes": 4}},
            "blkio_stats": {
                "io_service_bytes_recursive": [{"op": "Read", "value": 5}, {"op": "write", "value": 6}]
            },
            "pids_stats": {"current": 3},
        }
    )
    assert (sample.cpu, sample.memory, sample.memory_limit, sample.received, sample.sent) == (
        0.4,
        60,
        500,
        4,
        6,
    )
    assert (sample.read, sample.written, sample.pids) == (5, 6, 3)
    assert stats({}).cpu == 0.0


def test_lines_of_two_streams_in_any_pieces() -> None:
    data = mux.encode(1, b"one\ntw") + mux.encode(2, b"err\r\n") + mux.encode(1, b"o\n\nlast")
    for size in (1, 3, len(data)):
        lines = Lines(framed=True, timestamps=False)
        found = [line for at in range(0, len(data), size) for line in lines.feed(data[at : at + size])]
        found += lines.end()
        assert [line.text for line in found if line.stream == "stdout"] == ["one", "two", "", "last"]
        assert [str(line) for line in found if line.stream == "stderr"] == ["err"]


def test_lines_with_timestamps() -> None:
    lines = Lines(framed=False, timestamps=True)
    (line,) = lines.feed(b"2026-01-02T03:04:05.500000000Z a b\n")
    assert (line.data, line.at) == (b"a b", datetime(2026, 1, 2, 3, 4, 5, 500_000, UTC))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (304, errors.Unchanged),
        (400, errors.Invalid),
        (401, errors.Unauthorized),
        (403, errors.Denied),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (418, errors.Invalid),
        (500, DaemonFailed),
        (501, errors.Unsupported),
        (503, errors.Unavailable),
    ],
)
def test_statuses(status: int, kind: type[Exception]) -> None:
    error = refusal(status, "words")
    assert type(error) is kind
    assert str(error) == "words"


def test_what_a_status_does_not_tell() -> None:
    create = "failed to create task for container: OCI runtime create failed: "
    assert type(refusal(500, "Bind for 0.0.0.0:80 failed: port is already allocated")) is errors.Conflict
    missing = create + 'exec: "x": executable file not found in $PATH: unknown'
    assert type(refusal(400, missing, starting=True)) is errors.NoSuchCommand
    assert type(refusal(400, create + 'exec: "x": permission denied', starting=True)) is errors.CannotExecute
    assert type(refusal(404, "no such file or directory", starting=True)) is errors.NotFound
    assert message(b'{"message":"words"}', 500) == "words"
    assert message(b"plain\n", 500) == "plain"
    assert message(b"", 502) == "status 502"
