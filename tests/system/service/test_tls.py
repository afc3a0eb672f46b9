"""The API on tcp://: with mutual TLS by the docker CLI, attached streams and half-closes included; without, a warning."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from knarr.model.errors import Unavailable
from knarr.sync import Engine
from tests.system.service.conftest import Make


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number: int = sock.getsockname()[1]
    return number


def docker(
    where: Path, port: int, *words: str, data: bytes = b"", verify: bool = True
) -> subprocess.CompletedProcess[bytes]:
    """The docker CLI with the certificates of a directory."""
    env = {
        **os.environ,
        "DOCKER_HOST": f"tcp://127.0.0.1:{port}",
        "DOCKER_CERT_PATH": str(where),
        "DOCKER_CONFIG": str(where),
    }
    env |= {"DOCKER_TLS_VERIFY": "1"} if verify else {}
    from tests.support.daemons import CLIENTS

    argv = [str(CLIENTS / "usr/bin/docker"), *words]
    return subprocess.run(argv, env=env, input=data, capture_output=True, timeout=60, check=False)


def test_mutual_tls(make: Make, certificates: Path, busybox: Path, tmp_path: Path) -> None:
    port = free_port()
    words = [
        f"--tls{name}={certificates / file}"
        for name, file in (("cacert", "ca.pem"), ("cert", "server-cert.pem"), ("key", "server-key.pem"))
    ]
    daemon = make("-H", f"tcp://127.0.0.1:{port}", "--tlsverify", *words)
    daemon.start()
    daemon.give_busybox(busybox)
    assert "DEPRECATION" not in daemon.log.read_text()
    done = docker(certificates, port, "version", "--format", "{{.Server.Version}}")
    assert done.returncode == 0, done.stderr

    big = os.urandom(1 << 20)
    done = docker(certificates, port, "run", "-i", "--rm", "busybox", "cat", data=big)
    assert (done.returncode, done.stdout == big) == (0, True)
    done = docker(
        certificates,
        port,
        "run",
        "-i",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "cat >/dev/null; echo ended; exit 3",
        data=b"x",
    )
    assert (done.returncode, done.stdout) == (3, b"ended\n")

    with Engine.connect(f"tcp://localhost:{port}", tls=certificates) as engine:  # the library's way
        assert engine.containers.output("busybox", ["cat"], data=big) == (0, big, b"")
        with engine.containers.run("busybox", "sleep 1000", ports={80: None}) as one:
            assert one.address(80).host == "localhost"
    with pytest.raises(Unavailable), Engine.connect(f"tcp://localhost:{port}"):
        pass

    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "ca.pem").write_bytes((certificates / "ca.pem").read_bytes())
    for name in ("cert.pem", "key.pem"):
        (stranger / name).write_bytes((certificates / f"stranger-{name}").read_bytes())
    assert docker(stranger, port, "version").returncode != 0
    assert docker(tmp_path, port, "version", verify=False).returncode != 0


def test_without_tls_the_log_warns(make: Make, tmp_path: Path) -> None:
    port = free_port()
    daemon = make("-H", f"tcp://127.0.0.1:{port}")
    daemon.start()
    assert docker(tmp_path, port, "version", verify=False).returncode == 0
    with Engine.connect(f"tcp://127.0.0.1:{port}") as engine:
        assert engine.version().os == "linux"
    assert f"API is accessible on http://127.0.0.1:{port} without encryption" in daemon.log.read_text()


def test_certificates_that_cannot_be_used(make: Make, tmp_path: Path) -> None:
    daemon = make(
        "--validate",
        "--tlsverify",
        "--tlscacert",
        str(tmp_path / "none"),
        "--tlscert",
        "/none",
        "--tlskey",
        "/none",
    )
    [(argv, env)] = daemon.commands()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "invalid TLS configuration" in done.stderr
