"""--link on the default bridge."""

import json

import pytest

from tests.support.daemons import Daemon


@pytest.fixture
def store(daemon: Daemon) -> str:
    """A container to link to; its address."""
    flags = ("--expose", "5432", "--expose", "80", "-e", "FOO=bar", "-e", "HOME=/x")
    daemon.docker("run", "-d", "--name", "store", *flags, "busybox", "sleep", "1000")
    return daemon.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "store").stdout.strip()


def test_variables_and_hosts(daemon: Daemon, store: str) -> None:
    out = daemon.docker(
        "run", "--rm", "--name", "app", "--link", "store:my-db", "busybox", "sh", "-c", "env; cat /etc/hosts"
    ).stdout
    hostname = daemon.docker("inspect", "-f", "{{.Config.Hostname}}", "store").stdout.strip()
    lines = set(out.splitlines())
    assert lines >= {
        "MY_DB_NAME=/app/my-db",
        "MY_DB_ENV_FOO=bar",
        f"MY_DB_PORT=tcp://{store}:80",
        f"MY_DB_PORT_80_TCP=tcp://{store}:80",
        f"MY_DB_PORT_5432_TCP_ADDR={store}",
        "MY_DB_PORT_5432_TCP_PORT=5432",
        "MY_DB_PORT_5432_TCP_PROTO=tcp",
        f"{store}\tmy-db {hostname} store",
    }
    assert not any(line.startswith(("MY_DB_ENV_HOME", "MY_DB_ENV_PATH")) for line in lines)


def test_reached_by_its_alias(daemon: Daemon, store: str) -> None:
    daemon.docker("run", "--rm", "--link", "store", "busybox", "ping", "-c1", "store")


def test_told_and_removed(daemon: Daemon, store: str) -> None:
    daemon.docker("create", "--name", "app", "--link", "store:x", "busybox", "true")
    links = ("inspect", "-f", "{{json .HostConfig.Links}}", "app")
    assert json.loads(daemon.docker(*links).stdout) == ["/store:/app/x"]
    names = daemon.docker("ps", "-a", "--no-trunc", "--format", "{{.Names}}").stdout.splitlines()
    assert set(names) == {"app", "store,app/x"} or set(names) == {"app", "app/x,store"}
    assert daemon.docker("rm", "--link", "app/x").stdout == "app/x\n"
    assert json.loads(daemon.docker(*links).stdout) is None
    again = daemon.docker("rm", "--link", "app/x", check=False)
    assert again.returncode == 1
    assert "No such container: app/x" in again.stderr


def test_a_target_that_is_not_there_or_does_not_run(daemon: Daemon, store: str) -> None:
    done = daemon.docker("create", "--link", "nobody:x", "busybox", check=False)
    assert done.returncode == 1
    assert "could not get container for nobody: No such container: nobody" in done.stderr
    daemon.docker("create", "--name", "app", "--link", "store:x", "busybox", "true")
    daemon.docker("kill", "store")
    daemon.docker("wait", "store")
    done = daemon.docker("start", "app", check=False)
    assert done.returncode == 1
    assert "Cannot link to a non running container: /store AS /app/x" in done.stderr
