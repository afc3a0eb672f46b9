"""Sockets of a service manager and what it is told: systemd's own activator, its unit files, a manager made of a socket."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import REPOSITORY
from tests.system.service.conftest import Make

PACKAGING = REPOSITORY / "packaging"


class Manager:
    """What sd_notify(3) sends."""

    def __init__(self, path: Path):
        self.path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))
        self._sock.settimeout(60)

    def next(self, *passed: str) -> str:
        """The next message that is not among the `passed` ones."""
        while True:
            text = self._sock.recv(4096).decode()
            if text not in passed:
                return text

    def close(self) -> None:
        """Deaf from here on."""
        self._sock.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """One manager."""
    made = Manager(tmp_path / "notify.sock")
    yield made
    made.close()


def test_systemd_activates_it(make: Make, manager: Manager) -> None:
    daemon = make()
    [(argv, env)] = daemon.commands()
    argv[argv.index("-H") + 1] = "fd://"
    activate = [
        "systemd-socket-activate",
        "-l",
        str(daemon.socket),
        "--setenv",
        f"NOTIFY_SOCKET={manager.path}",
    ]
    command = [*activate, "--setenv", "WATCHDOG_USEC=200000", *argv]
    with daemon.log.open("ab") as log:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    daemon._processes.append(process)
    host.wait_for(daemon.socket.exists, "the activator's socket")
    assert not daemon.data_root.exists()
    daemon._wait_until_it_answers()
    assert manager.next("WATCHDOG=1").startswith("READY=1\nSTATUS=")
    assert manager.next() == "WATCHDOG=1"
    os.kill(process.pid, signal.SIGHUP)
    assert manager.next("WATCHDOG=1").startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert manager.next("WATCHDOG=1") == "READY=1"
    process.terminate()
    assert manager.next("WATCHDOG=1") == "STOPPING=1"
    process.wait(60)


def test_sockets_by_name(make: Make) -> None:
    """Two sockets, one of them by its name, the other not asked for: it is closed."""
    daemon = make()
    [(argv, env)] = daemon.commands()
    argv[argv.index("-H") + 1] = "fd://mine"
    socks = []
    for path in (daemon.socket, daemon.root / "other.sock"):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen()
        socks.append(sock)

    def arrange() -> None:
        for number, sock in enumerate(socks):
            os.dup2(sock.fileno(), 3 + number)
            os.set_inheritable(3 + number, True)

    shell = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *argv]
    env |= {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "mine:other"}
    with daemon.log.open("ab") as log:
        daemon._processes.append(
            subprocess.Popen(shell, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=False, preexec_fn=arrange)
        )  # fmt: skip
    for sock in socks:
        sock.close()
    daemon._wait_until_it_answers()
    with socket.socket(socket.AF_UNIX) as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(str(daemon.root / "other.sock"))


def test_without_a_manager_there_are_no_sockets(make: Make) -> None:
    daemon = make()
    [(argv, env)] = daemon.commands()
    argv[argv.index("-H") + 1] = "fd://"
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no sockets found via socket activation" in done.stderr


def test_the_unit_files_are_good(tmp_path: Path) -> None:
    for name in ("knarr.service", "knarr.socket"):
        text = (PACKAGING / name).read_text().replace("/usr/bin/knarrd", shutil.which("true") or "/bin/true")
        (tmp_path / name).write_text(text.replace("Documentation=man:dockerd(8)\n", ""))
    words = ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no"]
    argv = [*words, str(tmp_path / "knarr.service"), str(tmp_path / "knarr.socket")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
