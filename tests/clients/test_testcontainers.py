"""testcontainers-python, unmodified: its modules for PostgreSQL, Redis and nginx. Its reaper's image is on Docker Hub alone, so it is off."""

import os
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.daemons import Daemon

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def environment(daemon: Daemon, stack: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library reads its configuration once, when it is imported."""
    for name in ("DOCKER_HOST", "DOCKER_CONFIG"):
        monkeypatch.setenv(name, daemon.environment()[name])
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    config = pytest.importorskip("testcontainers.core.config").testcontainers_config
    monkeypatch.setattr(config, "ryuk_disabled", True)
    yield
    assert daemon.docker("ps", "-aq").stdout == ""


def test_postgres(daemon: Daemon) -> None:
    from testcontainers.community.postgres import PostgresContainer

    with PostgresContainer("postgres", username="me", password="pass'word", dbname="mine").with_env(
        "POSTGRES_INITDB_ARGS", "--no-sync"
    ) as postgres:
        url = postgres.get_connection_url()
        assert url.startswith("postgresql+psycopg2://me:")
        assert url.endswith(f":{postgres.get_exposed_port(5432)}/mine")
        # As a client on another machine would: through the published port, with the password.
        gateway = daemon.inspect(postgres.get_wrapped_container().id)["NetworkSettings"]["Gateway"]
        words = [
            "psql",
            "--host",
            gateway,
            "--port",
            str(postgres.get_exposed_port(5432)),
            "--username",
            "me",
        ]
        code, out = postgres.exec(
            [
                "env",
                "PGPASSWORD=pass'word",
                *words,
                "--dbname",
                "mine",
                "--tuples-only",
                "--command",
                "SELECT 6 * 7",
            ]
        )
        assert (code, out.split()) == (0, [b"42"])
        stdout, stderr = postgres.get_logs()
        assert b"ready to accept connections" in stdout + stderr


def test_redis() -> None:
    from testcontainers.community.redis import RedisContainer

    with RedisContainer("redis", password="secret") as redis, redis.get_client() as client:
        client.set("key", "value")
        assert client.get("key") == b"value"


def test_nginx() -> None:
    from testcontainers.community.nginx import NginxContainer

    with NginxContainer("nginx") as nginx:
        url = f"http://{nginx.get_container_host_ip()}:{nginx.get_exposed_port(80)}/"
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert b"nginx" in answer.read()


def test_a_container_and_a_network_of_its_own() -> None:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network
    from testcontainers.core.waiting_utils import wait_for_logs

    with Network() as network:
        one = DockerContainer("busybox").with_command("sh -c 'echo up; exec sleep 1000'")
        with (
            one.with_network(network)
            .with_network_aliases("one")
            .with_volume_mapping(os.getcwd(), "/here") as first
        ):
            wait_for_logs(first, "up", timeout=60)
            with DockerContainer("busybox").with_command("sleep 1000").with_network(network) as second:
                code, _ = second.exec("ping -c1 -W20 one")
                assert code == 0
            assert first.exec("test -e /here/pyproject.toml").exit_code == 0
