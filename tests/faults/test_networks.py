"""Users' networks when knarrd is killed: they are there again, containers in them know each other, nothing half-made is left."""

import sqlite3
import subprocess

import pytest

from tests.support import host
from tests.support.daemons import Knarrd
from tests.support.remains import remains

LONG = ("sleep", "1000")


def bridges() -> set[str]:
    """The bridges of users' networks."""
    return {name for name in host.links() if name.startswith("br-")}


def knows(daemon: Knarrd, box: str, name: str) -> bool:
    """Whether a name has an address in a container."""
    return daemon.docker("exec", box, "ping", "-c1", "-W5", name, check=False).returncode == 0


def test_names_and_networks_outlive_the_daemon(daemon: Knarrd) -> None:
    daemon.docker("network", "create", "--subnet", "10.233.65.0/24", "front")
    daemon.docker(
        "run", "-d", "--name", "one", "--network", "front", "--network-alias", "uno", "busybox", *LONG
    )
    daemon.docker("run", "-d", "--name", "two", "--network", "front", "busybox", *LONG)
    assert knows(daemon, "two", "uno")
    daemon.kill()
    daemon.start()
    assert knows(daemon, "two", "uno")
    assert knows(daemon, "one", "two.front")
    daemon.docker("run", "--rm", "--network", "front", "busybox", "ping", "-c1", "one")
    daemon.docker("network", "create", "back")
    daemon.docker("network", "connect", "back", "one")
    daemon.kill()
    daemon.start()
    listed = daemon.docker(
        "inspect", "-f", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}", "one"
    )
    assert listed.stdout.split() == ["back", "front"]
    daemon.docker("network", "disconnect", "back", "one")
    daemon.remove_containers()
    daemon.docker("network", "rm", "front", "back")
    host.settle(lambda: remains(daemon))
    assert not bridges()


def test_a_network_whose_bridge_is_gone_is_set_up_again(daemon: Knarrd) -> None:
    key = daemon.docker("network", "create", "front").stdout.strip()
    daemon.kill()
    subprocess.run(["ip", "link", "delete", f"br-{key[:12]}"], check=True)
    host.nft("delete", "table", "ip", f"knarr-br-{key[:12]}")
    daemon.start()
    assert bridges() == {f"br-{key[:12]}"}
    daemon.docker("run", "-d", "--name", "one", "--network", "front", "busybox", *LONG)
    daemon.docker("run", "--rm", "--network", "front", "busybox", "ping", "-c1", "one")
    daemon.remove_containers()
    daemon.docker("network", "rm", "front")
    assert not bridges()


@pytest.mark.parametrize("statement", ["INSERT ON networks", "INSERT ON endpoints"])
def test_what_cannot_be_recorded_leaves_nothing(daemon: Knarrd, statement: str) -> None:
    daemon.docker("network", "create", "front")
    daemon.docker("run", "-d", "--name", "one", "busybox", *LONG)
    with sqlite3.connect(daemon.data_root / "state.db") as database:
        database.execute(f"CREATE TRIGGER full BEFORE {statement} BEGIN SELECT RAISE(ABORT, 'no'); END")
    before = bridges()
    assert daemon.docker("network", "create", "back", check=False).returncode == (
        statement == "INSERT ON networks"
    )
    joined = daemon.docker("network", "connect", "front", "one", check=False)
    assert joined.returncode == (statement == "INSERT ON endpoints")
    with sqlite3.connect(daemon.data_root / "state.db") as database:
        database.execute("DROP TRIGGER full")
    if statement == "INSERT ON networks":
        assert bridges() == before
    else:
        assert "eth1" not in daemon.docker("exec", "one", "ip", "addr").stdout
        daemon.docker("network", "connect", "front", "one")
        assert "eth1" in daemon.docker("exec", "one", "ip", "addr").stdout
    daemon.remove_containers()
    daemon.docker("network", "prune", "-f")
    host.settle(lambda: remains(daemon))
    assert not bridges()
