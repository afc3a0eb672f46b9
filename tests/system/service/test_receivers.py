"""Real receivers of logs, each in a mount namespace of the test's own: systemd's journal and rsyslog."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import Knarrd
from tests.system.service.conftest import BRIDGE, SUBNET
from tests.system.service.test_tls import free_port

JOURNALD = Path("/lib/systemd/systemd-journald")


class Inside(Knarrd):
    """A knarrd, and what it logs to, in a mount namespace whose /run is empty at first."""

    holder: "subprocess.Popen[bytes]"

    def hold(self) -> None:
        """Makes the namespace."""
        script = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal /run/log && echo ready && exec sleep infinity"
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        self.holder = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"ready\n"

    def within(self, *argv: str) -> list[str]:
        """A command line that runs there."""
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", *argv]

    def commands(self) -> list[tuple[list[str], dict[str, str]]]:
        return [(self.within(*argv), env) for argv, env in super().commands()]

    def close(self) -> None:
        super().close()
        self.holder.kill()
        self.holder.communicate()


@pytest.fixture
def inside(busybox: Path) -> Iterator[Inside]:
    """Not yet started."""
    daemon = Inside(BRIDGE, SUBNET)
    daemon.hold()
    yield daemon
    daemon.close()


@pytest.fixture
def journal(inside: Inside, busybox: Path) -> Iterator[Inside]:
    """With a journald beside it."""
    if not JOURNALD.exists():
        pytest.skip("no systemd-journald")
    process = subprocess.Popen(
        inside.within(str(JOURNALD)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    look = inside.within("test", "-S", "/run/systemd/journal/io.systemd.journal")
    host.wait_for(lambda: subprocess.run(look, check=False).returncode == 0, "journald")
    inside.start()
    inside.give_busybox(busybox)
    yield inside
    process.terminate()
    process.wait()


def test_journald(journal: Inside) -> None:
    flags = (
        "--log-driver",
        "journald",
        "--log-opt",
        "tag={{.Name}}",
        "--log-opt",
        "labels=team.name",
        "--label",
        "team.name=x",
    )
    script = "echo out; echo err >&2; head -c 300000 /dev/zero | tr '\\0' y; echo; printf end"
    journal.docker("run", "--name", "box", *flags, "busybox", "sh", "-c", script)
    found = journal.docker("logs", "box")
    assert found.stdout == "out\n" + "y" * 300_000 + "\nend"
    assert found.stderr == "err\n"
    assert journal.docker("logs", "--tail", "1", "box").stdout == "end"
    assert journal.docker("logs", "--details", "--tail", "1", "box").stdout == "TEAM_NAME=x end"
    assert not (
        journal.data_root / "containers" / journal.inspect("box")["Id"] / "container-cached.log"
    ).exists()
    words = ("journalctl", "-D", "/run/log/journal", "-o", "json", "CONTAINER_NAME=box", "MESSAGE=err")
    entry = json.loads(subprocess.run(journal.within(*words), capture_output=True, check=True).stdout)
    assert entry["PRIORITY"] == "3"
    assert (entry["CONTAINER_TAG"], entry["SYSLOG_IDENTIFIER"], entry["IMAGE_NAME"]) == (
        "box",
        "box",
        "busybox",
    )
    assert entry["CONTAINER_ID_FULL"].startswith(entry["CONTAINER_ID"])


def test_journald_is_followed(journal: Inside) -> None:
    journal.docker(
        "run",
        "-d",
        "--name",
        "talker",
        "--log-driver",
        "journald",
        "busybox",
        "sh",
        "-c",
        "for n in $(seq 1 30); do echo $n; sleep 0.05; done",
    )
    follower = journal.open("logs", "-f", "talker")
    out, _ = follower.communicate(timeout=100)
    assert out.split() == [str(n).encode() for n in range(1, 31)]


def test_without_journald_no_container_starts_with_it(inside: Inside, busybox: Path) -> None:
    inside.start()
    inside.give_busybox(busybox)
    done = inside.docker("run", "--log-driver", "journald", "busybox", "true", check=False)
    assert done.returncode == 125
    assert "journald is not enabled on this host" in done.stderr


@pytest.mark.parametrize(("kind", "form"), [("unixgram", ""), ("udp", "rfc5424micro"), ("udp", "rfc3164")])
def test_rsyslog(inside: Inside, busybox: Path, kind: str, form: str) -> None:
    if not shutil.which("rsyslogd"):
        pytest.skip("no rsyslogd")
    config, out = inside.root / "rsyslog.conf", inside.root / "messages"
    sock, port = inside.root / "log.sock", free_port()
    config.write_text(
        f'module(load="imudp")\ninput(type="imudp" address="127.0.0.1" port="{port}")\n'
        f'module(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="{sock}")\nglobal(workDirectory="{inside.root}")\n'
        'template(name="t" type="string" string="%syslogfacility-text%.%syslogseverity-text% %programname% %msg%\\n")\n'
        f'*.* action(type="omfile" file="{out}" template="t")\n'
    )
    process = subprocess.Popen(["rsyslogd", "-n", "-f", str(config), "-i", str(inside.root / "rsyslog.pid")])
    try:
        host.wait_for(sock.exists, "rsyslogd")
        inside.start()
        inside.give_busybox(busybox)
        words = [
            "--log-driver",
            "syslog",
            "--log-opt",
            f"syslog-address={kind}://{sock if kind == 'unixgram' else f'127.0.0.1:{port}'}",
            "--log-opt",
            "syslog-facility=local5",
        ]
        if form:
            words += ["--log-opt", f"syslog-format={form}"]
        inside.docker(
            "run", *words, "--log-opt", "tag=shop", "busybox", "sh", "-c", "echo sold; echo lost >&2"
        )
        host.wait_for(lambda: out.exists() and out.read_text().count("shop") == 2, "messages")
        assert sorted(line.split() for line in out.read_text().splitlines() if "shop" in line) == [
            ["local5.err", "shop", "lost"],
            ["local5.info", "shop", "sold"],
        ]
    finally:
        process.terminate()
        process.wait()
