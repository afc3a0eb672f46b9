"""IPv6, macvlan, moved ports and obeyed firewalls when knarrd is killed: taken up again, and in the end nothing is left."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.support import host
from tests.support.daemons import Knarrd
from tests.support.remains import remains

LONG = ("sleep", "1000")
SERVE = "mkdir -p /www; echo hello >/www/index.html; httpd -f -p 80 -h /www"


@pytest.fixture
def parent() -> Iterator[str]:
    """A link of the host's with a cable that leads nowhere."""
    subprocess.run(
        ["ip", "link", "add", "ktparent", "up", "type", "veth", "peer", "name", "ktfar"], check=True
    )
    subprocess.run(["ip", "link", "set", "ktfar", "up"], check=True)
    yield "ktparent"
    subprocess.run(["ip", "link", "delete", "ktparent"], check=True)


def web(daemon: Knarrd, name: str, *flags: str) -> None:
    daemon.docker("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", SERVE)


def again(daemon: Knarrd) -> None:
    daemon.kill()
    daemon.start()


def clean(daemon: Knarrd, before: set[str], *networks: str) -> None:
    daemon.remove_containers()
    if networks:
        daemon.docker("network", "rm", *networks)
    host.settle(lambda: remains(daemon))
    host.settle(lambda: host.links() - before)
    tables = host.nft("list", "tables").split()
    assert [table for table in tables if table.startswith("knarr-br-")] == []


def test_ipv6_and_its_ports_outlive_the_daemon(daemon: Knarrd) -> None:
    before = host.links()
    daemon.docker("network", "create", "--ipv6", "--subnet", "fd00:233:1::/64", "both")
    web(daemon, "one", "--network", "both", "-p", "18180:80")
    daemon.docker("run", "-d", "--name", "two", "--network", "both", "busybox", *LONG)
    again(daemon)
    assert host.fetch("::1", 18180) == host.fetch("127.0.0.1", 18180) == "hello\n"
    assert daemon.docker("exec", "two", "ping", "-6", "-c1", "-W5", "one").returncode == 0
    taken = daemon.docker(
        "run", "--rm", "--network", "both", "--ip6", "fd00:233:1::2", "busybox", "true", check=False
    )
    assert "Address already in use" in taken.stderr
    clean(daemon, before, "both")


def test_a_macvlan_outlives_the_daemon(daemon: Knarrd, parent: str) -> None:
    before = host.links()
    daemon.docker(
        "network", "create", "-d", "macvlan", "-o", f"parent={parent}", "--subnet", "10.233.66.0/24", "mv"
    )
    for name in ("one", "two"):
        daemon.docker("run", "-d", "--name", name, "--network", "mv", "busybox", *LONG)
    again(daemon)
    assert daemon.docker("exec", "two", "ping", "-c1", "-W5", "one").returncode == 0
    daemon.docker("network", "disconnect", "mv", "two")
    assert "eth0" not in daemon.docker("exec", "two", "ip", "link").stdout
    daemon.docker("network", "connect", "mv", "two")
    again(daemon)
    assert daemon.docker("exec", "one", "ping", "-c1", "-W5", "two").returncode == 0
    clean(daemon, before, "mv")


def test_changed_ports_outlive_the_daemon(daemon: Knarrd) -> None:
    before = host.links()
    daemon.docker("network", "create", "aa")
    web(daemon, "one", "-p", "18181:80")
    wanted = {
        "PublishAdd": {"80/tcp": [{"HostPort": "18182"}]},
        "PublishRm": {"80/tcp": [{"HostPort": "18181"}]},
    }
    assert daemon.api("POST", "/containers/one/update", wanted)[0] == 200
    again(daemon)
    assert host.fetch("127.0.0.1", 18182) == "hello\n"
    daemon.docker("network", "connect", "--gw-priority", "5", "aa", "one")
    again(daemon)
    assert host.fetch("127.0.0.1", 18182) == "hello\n"
    assert daemon.docker("port", "one").stdout == "80/tcp -> 0.0.0.0:18182\n80/tcp -> [::]:18182\n"
    daemon.docker("network", "disconnect", "aa", "one")
    assert host.fetch("127.0.0.1", 18182) == "hello\n"
    clean(daemon, before, "aa")


def test_while_the_daemon_is_gone_the_hosts_firewall_is_not_passed(daemon: Knarrd) -> None:
    rules = "table inet ktfw { chain input { type filter hook input priority 0; policy accept; tcp dport 18184 drop; }; }"
    web(daemon, "one", "-p", "18183:80")
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        table = f"knarr-{daemon.bridge}"
        host.wait_for(lambda: "log group" in host.nft("list", "table", "ip", table), "knarrd obeys")
        again(daemon)
        assert "log group" in host.nft("list", "table", "ip", table)
        assert host.fetch("127.0.0.1", 18183) == "hello\n"
    finally:
        host.nft("delete", "table", "inet", "ktfw")
    host.wait_for(lambda: "log group" not in host.nft("list", "table", "ip", table), "knarrd need not obey")
    assert host.fetch("127.0.0.1", 18183) == "hello\n"
