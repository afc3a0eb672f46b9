"""The default network with IPv6 and parts of its subnets: a daemon of its own, knarrd or (with --peer) dockerd."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import Daemon, Dockerd, Knarrd

FLAGS = (
    "--ipv6", "--fixed-cidr-v6", "fd00:232:1::/64", "--fixed-cidr", "10.232.0.64/26",
    "--default-network-opt", "bridge=com.docker.network.driver.mtu=1400", "--default-address-pool", "base=10.232.128.0/17,size=24",
    "--default-address-pool", "base=fd00:232:8000::/40,size=64",
)  # fmt: skip


@pytest.fixture(scope="module")
def six(peer: bool, busybox: Path) -> Iterator[Daemon]:
    """The daemon with one image."""
    kind: type[Daemon] = Dockerd if peer else Knarrd
    daemon = kind("ktsix0", "10.232.0.0/24", options=FLAGS)
    try:
        daemon.start()
        daemon.give_busybox(busybox)
        yield daemon
    finally:
        daemon.close()


def test_containers_have_addresses_of_both_families(six: Daemon) -> None:
    six.docker("run", "-d", "--name", "one", "-p", "18280:80", "busybox", "sleep", "1000")
    settings = six.inspect("one")["NetworkSettings"]
    found = settings["Networks"]["bridge"]
    assert found["GlobalIPv6Address"].startswith("fd00:232:1::")
    assert (found["GlobalIPv6PrefixLen"], found["IPv6Gateway"]) == (64, "fd00:232:1::1")
    assert found["IPAddress"].startswith("10.232.0.")
    assert 64 <= int(found["IPAddress"].rpartition(".")[2]) < 128
    six.docker("exec", "one", "sh", "-c", "mkdir /www; echo hi >/www/index.html; httpd -p 80 -h /www")
    assert host.fetch("::1", 18280) == host.fetch("127.0.0.1", 18280) == "hi\n"
    six.docker("run", "--rm", "busybox", "ping", "-6", "-c1", "-W5", found["GlobalIPv6Address"])
    six.docker("rm", "-f", "one")


def test_the_default_network_is_told_of(six: Daemon) -> None:
    shown = six.docker(
        "network", "inspect", "-f", "{{.EnableIPv6}} {{range .IPAM.Config}}{{.Subnet}} {{end}}", "bridge"
    )
    assert shown.stdout.split() == ["true", "10.232.0.0/24", "fd00:232:1::/64"]


def test_new_networks_have_the_daemons_options_and_pools(six: Daemon) -> None:
    six.docker("network", "create", "--ipv6", "mine")
    form = '{{index .Options "com.docker.network.driver.mtu"}} {{range .IPAM.Config}}{{.Subnet}} {{end}}'
    mtu, four, sixth = six.docker("network", "inspect", "-f", form, "mine").stdout.split()
    assert (mtu, four) == ("1400", "10.232.128.0/24")
    assert sixth.startswith("fd00:232:80")
    out = six.docker("run", "--rm", "--network", "mine", "busybox", "cat", "/sys/class/net/eth0/mtu").stdout
    assert out == "1400\n"
    six.docker("network", "rm", "mine")
