"""Logging drivers, as the docker CLI sees them and as their receivers do."""

import json
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from knarr.wire.locallog import Decoder
from tests.support.daemons import Daemon
from tests.support.receivers import Fluent, Receiver, until

Start = Callable[..., Receiver]


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    """Those that a test started; they end with it."""
    found: list[Receiver] = []
    yield found
    for each in found:
        each.close()


def run(
    daemon: Daemon,
    driver: str,
    *options: str,
    script: str = "echo out; echo err >&2",
    more: tuple[str, ...] = (),
) -> str:
    words = [word for option in options for word in ("--log-opt", option)]
    return daemon.docker(
        "run", "-d", "--log-driver", driver, *words, *more, "busybox", "sh", "-c", script
    ).stdout.strip()


def directory(daemon: Daemon, container: str) -> Path:
    return daemon.data_root / "containers" / container


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("smoke", [], 'error looking up logging plugin smoke: plugin "smoke" not found'),
        ("json-file", ["colour=red"], "unknown log opt 'colour' for json-file log driver"),
        ("local", ["syslog-tag=x"], "unknown log opt 'syslog-tag' for log driver local"),
        ("syslog", ["syslog-address=smoke://x"], "unsupported scheme: 'smoke'"),
        ("syslog", ["syslog-facility=nine"], "invalid syslog facility"),
        ("syslog", ["syslog-format=mine"], "Invalid syslog format"),
        ("journald", ["max-size=1m"], "unknown log opt 'max-size' for journald log driver"),
        ("fluentd", ["fluentd-address=tcp://x/y"], "should not contain a path element"),
        ("fluentd", ["fluentd-address=smoke://x"], "unsupported scheme: 'smoke'"),
        ("json-file", ["mode=fast"], "logger: logging mode not supported: fast"),
        ("json-file", ["max-buffer-size=1m"], "logger: max-buffer-size option is only supported with 'mode=non-blocking'"),
        ("syslog", ["cache-disabled=x"], "invalid value for option cache-disabled: x"),
    ],
)  # fmt: skip
def test_what_is_refused_at_once(daemon: Daemon, driver: str, options: list[str], words: str) -> None:
    flags = [word for option in options for word in ("--log-opt", option)]
    done = daemon.docker("create", "--log-driver", driver, *flags, "busybox", check=False)
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("json-file", ["max-file=0", "max-size=1m"], "max-file cannot be less than 1"),
        ("json-file", ["compress=true"], "compress cannot be true when max-file is less than 2 or max-size is not set"),
        ("local", ["max-file=1"], "compression cannot be enabled when max file count is 1"),
        ("syslog", ["syslog-address=tcp://127.0.0.1:9"], "dial tcp 127.0.0.1:9: connect: connection refused"),
        ("fluentd", ["fluentd-address=127.0.0.1:9"], "dial tcp 127.0.0.1:9: connect: connection refused"),
    ],
)  # fmt: skip
def test_what_is_refused_at_the_start(daemon: Daemon, driver: str, options: list[str], words: str) -> None:
    flags = [word for option in options for word in ("--log-opt", option)]
    done = daemon.docker("run", "--log-driver", driver, *flags, "busybox", "true", check=False)
    assert done.returncode == 125
    assert "failed to initialize logging driver: " in done.stderr
    assert words in done.stderr


def test_the_drivers_are_listed(daemon: Daemon) -> None:
    found = json.loads(daemon.docker("info", "--format", "{{json .Plugins.Log}}").stdout)
    assert {"json-file", "local", "journald", "syslog", "fluentd"} <= set(found)


def test_local(daemon: Daemon) -> None:
    long = "x" * 40_000
    name = run(daemon, "local", "max-size=1m", script=f"echo out; echo err >&2; echo {long}; printf end")
    daemon.docker("wait", name)
    found = daemon.docker("logs", name)
    assert found.stdout == f"out\n{long}\nend"
    assert found.stderr == "err\n"
    assert daemon.docker("logs", "--tail", "1", name).stdout == "end"
    assert daemon.docker("logs", "--until", "2020-01-01T00:00:00Z", name).stdout == ""
    assert daemon.docker("logs", "--since", "1h", "-f", name).stdout.endswith("end")
    value = daemon.inspect(name)
    assert value["LogPath"] == ""
    assert value["HostConfig"]["LogConfig"] == {"Type": "local", "Config": {"max-size": "1m"}}
    records = list(Decoder().feed((directory(daemon, name) / "local-logs/container.log").read_bytes()))
    assert b"".join(each.data for each in records if each.stream == "stdout") == f"out\n{long}\nend".encode()


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_rotation_and_compression(daemon: Daemon, driver: str) -> None:
    name = run(daemon, driver, "max-size=20k", "max-file=3", "compress=true", script="seq 1 5000")
    follower = daemon.open("logs", "-f", name)
    out, _ = follower.communicate(timeout=60)
    assert out.splitlines()[-1] == b"5000"
    daemon.docker("wait", name)
    place = directory(daemon, name) / ("local-logs" if driver == "local" else ".")
    until(lambda: len(list(place.glob("*.gz"))) == 2 and not list(place.glob("*.tmp")))
    lines = [int(line) for line in daemon.docker("logs", name).stdout.split()]
    assert lines == list(range(lines[0], 5001))
    assert len(lines) > 300
    assert daemon.docker("logs", "--tail", "400", name).stdout.split() == [str(n) for n in range(4601, 5001)]


def test_attributes_of_json_file(daemon: Daemon) -> None:
    name = run(daemon, "json-file", "env=COLOUR", "labels-regex=^te", "tag={{.ImageName}}", script="echo x",
               more=("-e", "COLOUR=red", "--label", "team=a b"))  # fmt: skip
    daemon.docker("wait", name)
    assert daemon.docker("logs", "--details", name).stdout == "COLOUR=red,tag=busybox,team=a+b x\n"
    line = json.loads(Path(daemon.inspect(name)["LogPath"]).read_text())
    assert line["attrs"] == {"COLOUR": "red", "tag": "busybox", "team": "a b"}


@pytest.mark.parametrize("kind", ["udp", "tcp", "unixgram", "unix"])
def test_syslog(daemon: Daemon, kind: str, tmp_path: Path, receivers: list[Receiver]) -> None:
    place = tmp_path / "log.sock" if kind.startswith("unix") else ("127.0.0.1", 0)
    datagrams = kind in ("udp", "unixgram")
    receiver = Receiver(place, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
    receivers.append(receiver)
    where = f"{kind}://{place}" if isinstance(place, Path) else f"{kind}://127.0.0.1:{receiver.port}"
    name = run(daemon, "syslog", f"syslog-address={where}", "syslog-facility=local3", "tag=mine/{{.ID}}")
    until(lambda: len(receiver.lines()) == 2)
    out, err = sorted(receiver.lines(), key=lambda line: "err" in line)
    tag = f"mine/{name[:12]}["
    assert out.startswith("<158>")
    assert tag in out
    assert out.endswith("]: out")
    assert err.startswith("<155>")
    assert tag in err
    assert err.endswith("]: err")
    daemon.docker("wait", name)
    assert daemon.docker("logs", name).stdout == "out\n"


@pytest.mark.parametrize("form", ["rfc3164", "rfc5424", "rfc5424micro"])
def test_syslog_formats(daemon: Daemon, form: str, receivers: list[Receiver]) -> None:
    receiver = Receiver(("127.0.0.1", 0))
    receivers.append(receiver)
    run(
        daemon,
        "syslog",
        f"syslog-address=tcp://127.0.0.1:{receiver.port}",
        f"syslog-format={form}",
        "tag=t",
        script="echo hello",
    )
    until(lambda: receiver.lines())
    [line] = receiver.lines()
    host = socket.gethostname()
    if form == "rfc3164":
        assert line.startswith("<30>")
        assert f" {host} t[" in line
        return
    priority, moment, name, app, _, tag, structured, text = line.split(" ")
    assert (priority, name, app, tag, structured, text) == ("<30>1", host, "t", "t", "-", "hello")
    assert ("." in moment) == (form == "rfc5424micro")


def test_syslog_by_tls(daemon: Daemon, tmp_path: Path, receivers: list[Receiver]) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    receiver = Receiver(("127.0.0.1", 0), context=context)
    receivers.append(receiver)
    run(daemon, "syslog", f"syslog-address=tcp+tls://127.0.0.1:{receiver.port}", f"syslog-tls-ca-cert={cert}",
        "syslog-format=rfc5424", "tag=t", script="echo hello; echo two")  # fmt: skip
    until(lambda: receiver.data.count(b"\n") == 2)
    first = receiver.data.partition(b"\n")[0] + b"\n"
    length, _, rest = first.partition(b" ")
    assert int(length) == len(rest)


def test_without_a_cache_there_is_nothing_to_read(daemon: Daemon, receivers: list[Receiver]) -> None:
    receiver = Receiver(("127.0.0.1", 0), socket.SOCK_DGRAM)
    receivers.append(receiver)
    name = run(daemon, "syslog", f"syslog-address=udp://127.0.0.1:{receiver.port}", "cache-disabled=true")
    daemon.docker("wait", name)
    done = daemon.docker("logs", name, check=False)
    assert done.returncode == 1
    assert "configured logging driver does not support reading" in done.stderr


def test_fluentd(daemon: Daemon, receivers: list[Receiver]) -> None:
    fluent = Fluent(("127.0.0.1", 0))
    receivers.append(fluent)
    name = run(daemon, "fluentd", f"fluentd-address=127.0.0.1:{fluent.port}", "tag=docker.{{.Name}}", "env=A",
               more=("--name", "flu", "-e", "A=1"), script="echo out; echo err >&2; head -c 20000 /dev/zero | tr '\\0' x; echo")  # fmt: skip
    until(lambda: len(fluent.messages) == 4)
    assert {message[0] for message in fluent.messages} == {"docker.flu"}
    assert all(isinstance(message[1], int) for message in fluent.messages)
    found = {record["log"]: record for record in fluent.records()}
    assert found["out"] == {
        "container_id": name,
        "container_name": "/flu",
        "source": "stdout",
        "log": "out",
        "A": "1",
    }
    assert found["err"]["source"] == "stderr"
    pieces = [record for record in fluent.records() if record.get("partial_message") == "true"]
    assert [(len(each["log"]), each["partial_ordinal"], each["partial_last"]) for each in pieces] == [
        (16384, "1", "false"),
        (3616, "2", "true"),
    ]
    daemon.docker("wait", name)
    assert daemon.docker("logs", name).stdout == "out\n" + "x" * 20_000 + "\n"


def test_fluentd_that_comes_later(daemon: Daemon, tmp_path: Path, receivers: list[Receiver]) -> None:
    path = tmp_path / "fluent.sock"
    name = run(daemon, "fluentd", f"fluentd-address=unix://{path}", "fluentd-async=true", "fluentd-sub-second-precision=true",
               "fluentd-async-reconnect-interval=100ms", "fluentd-retry-wait=100ms", script="echo early; sleep 100000")  # fmt: skip
    until(lambda: daemon.docker("logs", name).stdout == "early\n")
    fluent = Fluent(path)
    receivers.append(fluent)
    until(lambda: fluent.messages)
    assert fluent.records()[0]["log"] == "early"
    code, moment = fluent.messages[0][1]
    assert (code, len(moment)) == (0, 8)


def test_fluentd_acknowledges(daemon: Daemon, peer: bool, receivers: list[Receiver]) -> None:
    fluent = Fluent(("127.0.0.1", 0), deaf=0 if peer else 1)
    receivers.append(fluent)
    run(
        daemon,
        "fluentd",
        f"fluentd-address=127.0.0.1:{fluent.port}",
        "fluentd-request-ack=true",
        "fluentd-retry-wait=100ms",
        script="seq 1 20",
    )
    numbers = [str(n) for n in range(1, 21)]
    until(lambda: set(numbers) <= {record["log"] for record in fluent.records()})
    assert list(dict.fromkeys(record["log"] for record in fluent.records())) == numbers


def test_a_fast_container_loses_nothing(daemon: Daemon, receivers: list[Receiver]) -> None:
    receiver = Receiver(("127.0.0.1", 0))
    receivers.append(receiver)
    run(daemon, "syslog", f"syslog-address=tcp://127.0.0.1:{receiver.port}", "tag=t", script="seq 1 20000")
    until(lambda: receiver.data.count(b"\n") == 20_000)
    assert [line.rpartition(" ")[2] for line in receiver.lines()] == [str(n) for n in range(1, 20_001)]


def test_a_receiver_that_is_stuck_holds_nobody_up_without_blocking(daemon: Daemon, peer: bool) -> None:
    if peer:
        pytest.skip("dockerd waits for the receiver when the container has ended")
    stuck = socket.create_server(("127.0.0.1", 0))
    with stuck:
        port = stuck.getsockname()[1]
        name = run(daemon, "syslog", f"syslog-address=tcp://127.0.0.1:{port}", "mode=non-blocking", "max-buffer-size=64k",
                   "cache-disabled=true", script="yes $(seq 1 500 | tr '\\n' .) | head -n 4000")  # fmt: skip
        assert daemon.docker("wait", name).stdout.strip() == "0"
