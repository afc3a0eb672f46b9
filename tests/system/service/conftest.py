"""Daemons with settings of a test's own, and certificates."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Knarrd, busybox_tar

BRIDGE, SUBNET = "ktserv0", "10.233.90.0/24"
Make = Callable[..., Knarrd]


@pytest.fixture(scope="session", autouse=True)
def root() -> None:
    """Daemons need it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of a busybox root."""
    return busybox_tar(tmp_path_factory.mktemp("busybox"))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A knarrd, not yet started, with further words of its command line; what is left of it goes with the test."""
    made: list[Knarrd] = []

    def one(*options: str, config: str = "{}") -> Knarrd:
        path = tmp_path / "daemon.json"
        path.write_text(config)
        made.append(Knarrd(BRIDGE, SUBNET, options=("--config-file", str(path), *options)))
        return made[-1]

    yield one
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA (ca.pem), a server's pair, a client's (cert.pem and key.pem, as docker's CLI looks for them), a stranger's."""
    place = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=place)

    new = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    for name in ("ca", "stranger-ca"):
        openssl(
            "req", "-x509", *new, "-subj", f"/CN={name}", "-keyout", f"{name}-key.pem", "-out", f"{name}.pem"
        )
    for name, ca, more in (
        ("server", "ca", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ("", "ca", "extendedKeyUsage=clientAuth"),
        ("stranger-", "stranger-ca", "extendedKeyUsage=clientAuth"),
    ):
        prefix = f"{name}-" if name == "server" else name
        key, cert = f"{prefix}key.pem", f"{prefix}cert.pem"
        openssl("req", *new, "-subj", f"/CN={name or 'client'}", "-keyout", key, "-out", "request.pem")
        (place / "more").write_text(more)
        words = ("-CA", f"{ca}.pem", "-CAkey", f"{ca}-key.pem", "-CAcreateserial", "-extfile", "more")
        openssl("x509", "-req", "-in", "request.pem", "-days", "2", "-out", cert, *words)
    return place
