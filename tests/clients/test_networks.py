"""Networks that users make: `docker network …`, names, addresses, isolation, connecting and disconnecting."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import host
from tests.support.daemons import Daemon

LONG = ("sleep", "1000")


@pytest.fixture
def net(daemon: Daemon) -> Iterator[str]:
    """A network with a subnet of its own; it and every other network of the test are removed afterwards."""
    daemon.docker("network", "create", "--subnet", "10.231.40.0/24", "front")
    yield "front"
    daemon.remove_containers()
    for name in daemon.docker("network", "ls", "-q", "--filter", "type=custom").stdout.split():
        daemon.docker("network", "rm", name)


def _inspect(daemon: Daemon, *names: str) -> list[dict[str, Any]]:
    found = json.loads(daemon.docker("network", "inspect", *names).stdout)
    assert isinstance(found, list)
    return found


def _places(daemon: Daemon, box: str) -> dict[str, Any]:
    found = json.loads(daemon.docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", box).stdout)
    assert isinstance(found, dict)
    return found


def _box(daemon: Daemon, name: str, *flags: str) -> str:
    return daemon.docker("run", "-d", "--name", name, *flags, "busybox", *LONG).stdout.strip()


def _look(daemon: Daemon, box: str, name: str) -> set[str]:
    """The addresses that a name has in a container."""
    out = daemon.docker("exec", box, "nslookup", "-type=a", name, check=False).stdout
    answers = out.partition("answer:")[2]
    return {line.split()[-1] for line in answers.splitlines() if line.startswith("Address")}


def _reaches(daemon: Daemon, box: str, address: str) -> bool:
    return daemon.docker("exec", box, "ping", "-c1", "-W2", address, check=False).returncode == 0


def test_create_list_inspect_remove(daemon: Daemon, net: str) -> None:
    flags = ("--label", "l=v", "-o", "com.docker.network.driver.mtu=1400", "--internal")
    made = daemon.docker("network", "create", *flags, "back").stdout.strip()
    assert len(made) == 64
    rows = daemon.docker("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").stdout.splitlines()
    assert {"front bridge local", "back bridge local", "bridge bridge local", "none null local"} <= set(rows)
    (found,) = _inspect(daemon, "back")
    assert (found["Id"], found["Driver"], found["Internal"]) == (made, "bridge", True)
    assert found["Labels"] == {"l": "v"}
    assert found["Options"] == {"com.docker.network.driver.mtu": "1400"}
    (front,) = _inspect(daemon, net)
    assert front["IPAM"]["Config"][0]["Subnet"] == "10.231.40.0/24"
    assert daemon.docker("network", "rm", "back").stdout == "back\n"
    assert "back" not in daemon.docker("network", "ls").stdout


def test_found_by_a_part_of_its_id(daemon: Daemon, net: str) -> None:
    (found,) = _inspect(daemon, net)
    assert _inspect(daemon, found["Id"][:12])[0]["Name"] == net
    assert (
        daemon.docker("network", "ls", "-q", "--filter", f"id={found['Id'][:6]}").stdout.strip()
        == (found["Id"][:12])
    )


def test_filters(daemon: Daemon, net: str) -> None:
    daemon.docker("network", "create", "--label", "kind=back", "back")
    names = ("network", "ls", "--format", "{{.Name}}", "--filter")
    assert daemon.docker(*names, "label=kind").stdout == "back\n"
    assert daemon.docker(*names, "name=fro").stdout == "front\n"
    assert set(daemon.docker(*names, "type=custom").stdout.split()) == {"front", "back"}
    assert "bridge" in daemon.docker(*names, "type=builtin").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("front",), "network with name front already exists"),
        (("bridge",), "operation is not permitted on predefined bridge network"),
        (("-d", "nope", "x"), 'plugin "nope" not found'),
        (("--subnet", "10.231.40.0/25", "x"), "Pool overlaps with other one on this address space"),
        (("--subnet", "10.99", "x"), "invalid subnet 10.99: invalid CIDR block notation"),
        (("--subnet", "10.231.41.5/24", "x"), "invalid subnet 10.231.41.5/24: it should be 10.231.41.0/24"),
        (("-d", "host", "x"), 'only one instance of "host" network is allowed'),
    ],
)
def test_what_cannot_be_made(daemon: Daemon, net: str, words: tuple[str, ...], message: str) -> None:
    done = daemon.docker("network", "create", *words, check=False)
    assert done.returncode == 1
    assert message in done.stderr


def test_what_cannot_be_removed(daemon: Daemon, net: str) -> None:
    _box(daemon, "one", "--network", net)
    for name, message in (
        (net, "network front has active endpoints (name:"),
        ("bridge", "bridge is a pre-defined network and cannot be removed"),
        ("nothing", "network nothing not found"),
    ):
        done = daemon.docker("network", "rm", name, check=False)
        assert done.returncode == 1
        assert message in done.stderr
    daemon.docker("network", "rm", "-f", "nothing")


def test_names_are_known_inside(daemon: Daemon, net: str) -> None:
    one = _box(daemon, "one", "--network", net, "--network-alias", "alias", "--hostname", "host-of-one")
    _box(daemon, "two", "--network", net)
    address = _places(daemon, "one")[net]["IPAddress"]
    for name in ("one", "ONE", "alias", one[:12], "one.front", "host-of-one"):
        assert _look(daemon, "two", name) == {address}, name
    assert daemon.docker("exec", "two", "ping", "-c1", "one").returncode == 0
    reverse = daemon.docker("exec", "two", "nslookup", address).stdout
    assert "name = one.front" in reverse
    assert _places(daemon, "one")[net]["DNSNames"] == ["one", "alias", one[:12], "host-of-one"]
    assert "nameserver 127.0.0.11" in daemon.docker("exec", "two", "cat", "/etc/resolv.conf").stdout


def test_one_alias_for_several_goes_round(daemon: Daemon, net: str) -> None:
    for name in ("one", "two", "three"):
        _box(daemon, name, "--network", net, "--network-alias", "all")
    wanted = {_places(daemon, name)[net]["IPAddress"] for name in ("one", "two", "three")}
    assert _look(daemon, "one", "all") == wanted
    daemon.docker("rm", "-f", "two")
    assert len(_look(daemon, "one", "all")) == 2


def test_a_name_goes_with_its_container(daemon: Daemon, net: str) -> None:
    _box(daemon, "one", "--network", net)
    _box(daemon, "two", "--network", net)
    daemon.docker("stop", "-t", "0", "one")
    assert _look(daemon, "two", "one") == set()
    daemon.docker("start", "one")
    assert _look(daemon, "two", "one") == {_places(daemon, "one")[net]["IPAddress"]}
    daemon.docker("rename", "one", "uno")
    assert _look(daemon, "two", "uno") == {_places(daemon, "uno")[net]["IPAddress"]}
    assert _look(daemon, "two", "one") == set()


def test_the_default_bridge_knows_no_names(daemon: Daemon) -> None:
    _box(daemon, "one")
    _box(daemon, "two")
    assert _look(daemon, "two", "one") == set()
    assert "127.0.0.11" not in daemon.docker("exec", "two", "cat", "/etc/resolv.conf").stdout


def test_an_address_of_ones_own(daemon: Daemon, net: str) -> None:
    _box(daemon, "one", "--network", net, "--ip", "10.231.40.77")
    place = _places(daemon, "one")[net]
    assert (place["IPAddress"], place["IPPrefixLen"]) == ("10.231.40.77", 24)
    assert place["IPAMConfig"] == {"IPv4Address": "10.231.40.77"}
    assert "10.231.40.77/24" in daemon.docker("exec", "one", "ip", "addr").stdout
    taken = daemon.docker("run", "--network", net, "--ip", "10.231.40.77", "busybox", "true", check=False)
    assert taken.returncode == 125
    assert "Address already in use" in taken.stderr
    daemon.docker("network", "create", "other")
    for flags, message in (
        (
            ("--network", net, "--ip", "10.231.99.1"),
            "no configured subnet or ip-range contain the IP address",
        ),
        (
            ("--network", "other", "--ip", "10.231.40.9"),
            "only when connecting to networks with user configured",
        ),
        (("--ip", "10.231.0.99"), "user specified IP address is supported on user defined networks only"),
    ):
        done = daemon.docker("run", *flags, "busybox", "true", check=False)
        assert done.returncode == 125
        assert message in done.stderr


def test_link_local_addresses(daemon: Daemon, net: str) -> None:
    _box(daemon, "one", "--network", net, "--link-local-ip", "169.254.8.8")
    assert _places(daemon, "one")[net]["IPAMConfig"] == {"LinkLocalIPs": ["169.254.8.8"]}
    assert "169.254.8.8/16" in daemon.docker("exec", "one", "ip", "addr", "show", "eth0").stdout


def test_a_range_and_what_is_kept_back(daemon: Daemon, net: str) -> None:
    flags = ("--subnet", "10.231.50.0/24", "--ip-range", "10.231.50.128/30", "--gateway", "10.231.50.254")
    daemon.docker("network", "create", *flags, "--aux-address", "kept=10.231.50.129", "ranged")
    (found,) = _inspect(daemon, "ranged")
    assert found["IPAM"]["Config"] == [
        {
            "Subnet": "10.231.50.0/24",
            "IPRange": "10.231.50.128/30",
            "Gateway": "10.231.50.254",
            "AuxiliaryAddresses": {"kept": "10.231.50.129"},
        }
    ]
    for name in ("one", "two", "three"):
        _box(daemon, name, "--network", "ranged")
    addresses = {_places(daemon, name)["ranged"]["IPAddress"] for name in ("one", "two", "three")}
    assert addresses == {"10.231.50.128", "10.231.50.130", "10.231.50.131"}
    route = daemon.docker("exec", "one", "ip", "route").stdout
    assert "default via 10.231.50.254" in route
    done = daemon.docker("run", "--network", "ranged", "busybox", "true", check=False)
    assert done.returncode == 125
    assert "no available IPv4 addresses on this network's address pools" in done.stderr


def test_networks_are_apart(daemon: Daemon, net: str) -> None:
    daemon.docker("network", "create", "back")
    _box(daemon, "one", "--network", net)
    _box(daemon, "near", "--network", net)
    _box(daemon, "far", "--network", "back")
    near = _places(daemon, "near")[net]["IPAddress"]
    far = _places(daemon, "far")["back"]["IPAddress"]
    assert _reaches(daemon, "one", near)
    assert not _reaches(daemon, "one", far)
    assert _look(daemon, "one", "far") == set()


def test_without_talk_among_containers(daemon: Daemon, net: str) -> None:
    daemon.docker("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "quiet")
    _box(daemon, "one", "--network", "quiet")
    _box(daemon, "two", "--network", "quiet")
    assert not _reaches(daemon, "one", _places(daemon, "two")["quiet"]["IPAddress"])


def test_an_internal_network_leads_nowhere(daemon: Daemon, net: str) -> None:
    daemon.docker("network", "create", "--internal", "inner")
    _box(daemon, "one", "--network", "inner")
    _box(daemon, "two", "--network", "inner")
    assert "default" not in daemon.docker("exec", "one", "ip", "route").stdout
    assert _reaches(daemon, "one", _places(daemon, "two")["inner"]["IPAddress"])
    assert _look(daemon, "one", "two") != set()
    assert "SERVFAIL" in daemon.docker("exec", "one", "nslookup", "example.com", check=False).stdout


def test_connect_and_disconnect_while_it_runs(daemon: Daemon, net: str) -> None:
    daemon.docker("network", "create", "--subnet", "10.231.41.0/24", "back")
    _box(daemon, "one", "--network", net)
    _box(daemon, "two", "--network", "back")
    daemon.docker("network", "connect", "--alias", "second", "--ip", "10.231.41.9", "back", "one")
    assert set(_places(daemon, "one")) == {"front", "back"}
    place = _places(daemon, "one")["back"]
    assert (place["IPAddress"], place["Aliases"]) == ("10.231.41.9", ["second"])
    assert _look(daemon, "two", "second") == {"10.231.41.9"}
    assert _look(daemon, "one", "two") == {_places(daemon, "two")["back"]["IPAddress"]}
    assert _reaches(daemon, "two", "10.231.41.9")
    assert "10.231.41.9" in daemon.docker("exec", "one", "cat", "/etc/hosts").stdout
    assert "10.231.41.9/24" in daemon.docker("exec", "one", "ip", "addr", "show", "eth1").stdout
    again = daemon.docker("network", "connect", "back", "one", check=False)
    assert again.returncode == 1
    assert "endpoint with name one already exists in network back" in again.stderr
    daemon.docker("network", "disconnect", "back", "one")
    assert set(_places(daemon, "one")) == {"front"}
    assert "eth1" not in daemon.docker("exec", "one", "ip", "addr").stdout
    assert "10.231.41.9" not in daemon.docker("exec", "one", "cat", "/etc/hosts").stdout
    assert _look(daemon, "two", "one") == set()
    gone = daemon.docker("network", "disconnect", "back", "one", check=False)
    assert gone.returncode == 1
    assert "is not connected to network back" in gone.stderr


def test_names_come_with_the_first_network_of_ones_own(daemon: Daemon, net: str) -> None:
    _box(daemon, "one")
    _box(daemon, "two", "--network", net)
    assert _look(daemon, "one", "two") == set()
    daemon.docker("network", "connect", net, "one")
    assert _look(daemon, "one", "two") == {_places(daemon, "two")[net]["IPAddress"]}
    assert _look(daemon, "two", "one") == {_places(daemon, "one")[net]["IPAddress"]}


def test_the_way_out_follows_the_networks(daemon: Daemon, net: str) -> None:
    daemon.docker("network", "create", "--subnet", "10.231.41.0/24", "zone")
    daemon.docker("network", "create", "--subnet", "10.231.42.0/24", "alley")
    _box(daemon, "one", "--network", net)
    route = ("exec", "one", "ip", "route")
    daemon.docker("network", "connect", "zone", "one")
    assert "default via 10.231.40.1" in daemon.docker(*route).stdout
    daemon.docker("network", "connect", "alley", "one")
    assert "default via 10.231.42.1" in daemon.docker(*route).stdout
    daemon.docker("network", "disconnect", "alley", "one")
    assert "default via 10.231.40.1" in daemon.docker(*route).stdout
    daemon.docker("network", "disconnect", net, "one")
    assert "default via 10.231.41.1" in daemon.docker(*route).stdout


def test_connect_before_it_runs(daemon: Daemon, net: str) -> None:
    daemon.docker("network", "create", "back")
    daemon.docker("create", "--name", "one", "--network", net, "busybox", *LONG)
    daemon.docker("network", "connect", "--alias", "early", "back", "one")
    daemon.docker("start", "one")
    _box(daemon, "two", "--network", "back")
    assert _look(daemon, "two", "early") == {_places(daemon, "one")["back"]["IPAddress"]}
    daemon.docker("stop", "-t", "0", "one")
    daemon.docker("network", "disconnect", net, "one")
    daemon.docker("start", "one")
    assert set(_places(daemon, "one")) == {"back"}


def test_out_of_every_network_and_in_again(daemon: Daemon, net: str) -> None:
    _box(daemon, "one")
    daemon.docker("network", "disconnect", "bridge", "one")
    assert _places(daemon, "one") == {}
    assert "eth0" not in daemon.docker("exec", "one", "ip", "addr").stdout
    daemon.docker("restart", "-t", "0", "one")
    assert _places(daemon, "one") == {}
    daemon.docker("network", "connect", net, "one")
    _box(daemon, "two", "--network", net)
    assert _look(daemon, "one", "two") == {_places(daemon, "two")[net]["IPAddress"]}


def test_several_networks_at_once(daemon: Daemon, net: str) -> None:
    daemon.docker("network", "create", "back")
    _box(daemon, "one", "--network", f"name={net},alias=a", "--network", "name=back,alias=b")
    _box(daemon, "two", "--network", "back")
    places = _places(daemon, "one")
    assert places[net]["Aliases"] == ["a"]
    assert places["back"]["Aliases"] == ["b"]
    assert _look(daemon, "two", "b") == {places["back"]["IPAddress"]}
    assert _look(daemon, "two", "a") == set()
    assert "eth1" in daemon.docker("exec", "one", "ip", "addr").stdout


def test_published_ports(daemon: Daemon, net: str) -> None:
    server = "mkdir -p /www; echo served > /www/index.html; exec httpd -f -p 80 -h /www"
    flags = ("--network", net, "-p", "127.0.0.1::80")
    daemon.docker("run", "-d", "--name", "one", *flags, "busybox", "sh", "-c", server)
    published = daemon.docker("port", "one", "80/tcp").stdout.strip()
    assert host.fetch("127.0.0.1", int(published.rpartition(":")[2])) == "served\n"
    _box(daemon, "two", "--network", net)
    assert daemon.docker("exec", "two", "wget", "-qO-", "http://one/").stdout == "served\n"


@pytest.mark.parametrize(
    ("network", "box", "message"),
    [
        ("nothing", "one", "network nothing not found"),
        ("front", "nobody", "No such container: nobody"),
        ("host", "one", "cannot connect container to host network"),
    ],
)
def test_what_cannot_be_connected(daemon: Daemon, net: str, network: str, box: str, message: str) -> None:
    _box(daemon, "one")
    done = daemon.docker("network", "connect", network, box, check=False)
    assert done.returncode == 1
    assert message in done.stderr


def test_an_unknown_network(daemon: Daemon) -> None:
    done = daemon.docker("run", "--name", "one", "--network", "nothing", "busybox", "true", check=False)
    assert done.returncode == 125
    assert "network nothing not found" in done.stderr


def test_prune(daemon: Daemon, net: str) -> None:
    daemon.docker("network", "create", "idle")
    daemon.docker("create", "--name", "one", "--network", net, "busybox", "true")
    assert daemon.docker("network", "prune", "-f").stdout.split() == ["Deleted", "Networks:", "idle"] or (
        "front" not in daemon.docker("network", "ls").stdout
    )


def test_links(daemon: Daemon, net: str) -> None:
    _box(daemon, "one", "--network", net)
    _box(daemon, "two", "--network", net, "--link", "one:linked")
    assert _look(daemon, "two", "linked") == {_places(daemon, "one")[net]["IPAddress"]}
    _box(daemon, "three", "--network", net)
    assert _look(daemon, "three", "linked") == set()


def test_events(daemon: Daemon, net: str) -> None:
    before = daemon.docker("info", "--format", "{{.SystemTime}}").stdout.strip()
    key = daemon.docker("network", "create", "watched").stdout.strip()
    box = _box(daemon, "one", "--network", net)
    daemon.docker("network", "connect", "watched", "one")
    daemon.docker("network", "disconnect", "watched", "one")
    daemon.docker("network", "rm", "watched")
    until = daemon.docker("info", "--format", "{{.SystemTime}}").stdout.strip()
    flags = ("--since", before, "--until", until, "--filter", "type=network", "--format", "{{json .}}")
    found = [json.loads(line) for line in daemon.docker("events", *flags).stdout.splitlines()]
    mine = [each for each in found if each["Actor"]["ID"] == key]
    assert [each["Action"] for each in mine] == ["create", "connect", "disconnect", "destroy"]
    assert mine[0]["Actor"]["Attributes"] == {"name": "watched", "type": "bridge"}
    assert mine[1]["Actor"]["Attributes"] == {"container": box, "name": "watched", "type": "bridge"}


def test_inspect_shows_who_is_inside(daemon: Daemon, net: str) -> None:
    box = _box(daemon, "one", "--network", net)
    place = _places(daemon, "one")[net]
    (found,) = _inspect(daemon, net)
    assert found["Containers"] == {
        box: {
            "Name": "one",
            "EndpointID": place["EndpointID"],
            "MacAddress": place["MacAddress"],
            "IPv4Address": f"{place['IPAddress']}/24",
            "IPv6Address": "",
        }
    }
    assert place["NetworkID"] == found["Id"]
    assert place["Gateway"] == "10.231.40.1"


def test_name_service_of_ones_own(daemon: Daemon, net: str) -> None:
    flags = ("--dns", "192.0.2.53", "--dns-search", "example.test", "--dns-option", "ndots:3")
    _box(daemon, "one", "--network", net, *flags)
    text = daemon.docker("exec", "one", "cat", "/etc/resolv.conf").stdout
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines == ["nameserver 127.0.0.11", "search example.test", "options ndots:3"]
