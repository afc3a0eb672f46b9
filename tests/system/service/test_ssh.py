"""ssh://: the docker CLI and knarr's own reach a daemon through a real sshd on the loopback, half-closes included."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import BIN, CLIENTS, Knarrd
from tests.system.service.conftest import Make
from tests.system.service.test_tls import free_port


def _executable(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def reached(make: Make, busybox: Path, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a daemon behind sshd, and the environment in which `ssh` gets there."""
    sshd = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
    if sshd is None:
        pytest.skip("no sshd")
    daemon: Knarrd = make()
    daemon.start()
    daemon.give_busybox(busybox)
    port = free_port()
    for name in ("host_key", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True
        )
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    _executable(there / "docker", f'exec {BIN / "knarr"} "$@"')
    _executable(there / "knarr", f'exec {BIN / "knarr"} "$@"')
    _executable(here / "ssh", f'exec /usr/bin/ssh -F {tmp_path / "config"} "$@"')
    (tmp_path / "config").write_text(
        f"Host *\n  IdentityFile {tmp_path / 'key'}\n  IdentitiesOnly yes\n  UserKnownHostsFile {tmp_path / 'known'}\n"
        "  StrictHostKeyChecking accept-new\n  BatchMode yes\n"
    )
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path / 'host_key'}\nAuthorizedKeysFile {tmp_path / 'key.pub'}\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPidFile none\n"
        f"SetEnv PATH={there}:/usr/bin:/bin DOCKER_HOST=unix://{daemon.socket}\n"
    )
    separation = Path("/run/sshd")
    made = not separation.exists()
    separation.mkdir(mode=0o755, exist_ok=True)
    log = (tmp_path / "sshd.log").open("wb")
    process = subprocess.Popen(
        [sshd, "-D", "-e", "-f", str(tmp_path / "sshd_config")], stdout=log, stderr=log
    )
    host.wait_for(lambda: b"Server listening" in (tmp_path / "sshd.log").read_bytes(), "sshd")
    env = {
        **os.environ,
        "PATH": f"{here}:{CLIENTS / 'usr/bin'}:{os.environ['PATH']}",
        "DOCKER_CONFIG": str(tmp_path),
    }
    env.pop("DOCKER_HOST", None)
    yield f"ssh://root@127.0.0.1:{port}", env
    process.terminate()
    process.wait()
    log.close()
    if made:
        separation.rmdir()


@pytest.mark.parametrize("client", ["docker", "knarr"])
def test_both_clients(reached: tuple[str, dict[str, str]], client: str) -> None:
    address, env = reached
    program = "docker" if client == "docker" else str(BIN / "knarr")

    def run(*words: str, data: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [program, "-H", address, *words],
            env=env,
            input=data,
            capture_output=True,
            timeout=100,
            check=False,
        )

    done = run("version", "--format", "{{.Server.Version}}")
    assert done.returncode == 0, done.stderr
    big = os.urandom(300_000)
    done = run("run", "-i", "--rm", "busybox", "sh", "-c", "cat; exit 3", data=big)
    assert (done.returncode, done.stdout == big) == (3, True), done.stderr
