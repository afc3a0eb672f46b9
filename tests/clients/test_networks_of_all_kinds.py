"""Networks of IPv6 and of several subnets, options of the bridge driver and of endpoints, macvlan, and ports that move."""

import json
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import host
from tests.support.daemons import Daemon

LONG = ("sleep", "1000")
OPTION = "com.docker.network"


@pytest.fixture
def nets(daemon: Daemon) -> Iterator[Daemon]:
    """Every network that the test makes is removed afterwards."""
    yield daemon
    daemon.remove_containers()
    for name in daemon.docker("network", "ls", "-q", "--filter", "type=custom").stdout.split():
        daemon.docker("network", "rm", name)


@pytest.fixture
def parent() -> Iterator[str]:
    """A link of the host's with a cable that leads nowhere."""
    subprocess.run(
        ["ip", "link", "add", "ktparent", "up", "type", "veth", "peer", "name", "ktfar"], check=True
    )
    subprocess.run(["ip", "link", "set", "ktfar", "up"], check=True)
    yield "ktparent"
    subprocess.run(["ip", "link", "delete", "ktparent"], check=True)


def create(daemon: Daemon, *words: str) -> None:
    daemon.docker("network", "create", *words)


def refused(daemon: Daemon, *words: str) -> str:
    done = daemon.docker(*words, check=False)
    assert done.returncode != 0
    return done.stderr


def box(daemon: Daemon, name: str, *flags: str) -> str:
    return daemon.docker("run", "-d", "--name", name, *flags, "busybox", *LONG).stdout.strip()


def inside(daemon: Daemon, name: str, *command: str) -> str:
    return daemon.docker("exec", name, *command).stdout


def place(daemon: Daemon, name: str, network: str) -> Any:
    return daemon.inspect(name)["NetworkSettings"]["Networks"][network]


def serve(daemon: Daemon, name: str, port: int = 80) -> None:
    """A web server that tells the container's name, of both families."""
    script = f"mkdir -p /www; echo {name} >/www/index.html; httpd -p {port} -h /www"
    daemon.docker("exec", name, "sh", "-c", script)


def ipam(daemon: Daemon, network: str) -> list[dict[str, Any]]:
    found = json.loads(daemon.docker("network", "inspect", network).stdout)[0]
    config: list[dict[str, Any]] = found["IPAM"]["Config"]
    return config


def test_both_families(nets: Daemon) -> None:
    create(nets, "--ipv6", "--subnet", "fd00:231:1::/64", "--gateway", "fd00:231:1::99", "both")
    found = json.loads(nets.docker("network", "inspect", "both").stdout)[0]
    assert (found["EnableIPv4"], found["EnableIPv6"]) == (True, True)
    assert ipam(nets, "both")[0] == {"Subnet": "fd00:231:1::/64", "Gateway": "fd00:231:1::99"}
    assert "." in ipam(nets, "both")[1]["Subnet"]
    box(nets, "one", "--network", "both", "--ip6", "fd00:231:1::55")
    box(nets, "two", "--network", "both")
    one, two = place(nets, "one", "both"), place(nets, "two", "both")
    assert (one["GlobalIPv6Address"], one["GlobalIPv6PrefixLen"]) == ("fd00:231:1::55", 64)
    assert one["IPv6Gateway"] == "fd00:231:1::99"
    assert one["IPAMConfig"] == {"IPv6Address": "fd00:231:1::55"}
    assert two["GlobalIPv6Address"] == "fd00:231:1::1"
    containers = json.loads(nets.docker("network", "inspect", "both").stdout)[0]["Containers"]
    assert {each["IPv6Address"] for each in containers.values()} == {"fd00:231:1::55/64", "fd00:231:1::1/64"}
    assert inside(nets, "two", "ping", "-6", "-c1", "-W5", "one")
    looked = inside(nets, "two", "nslookup", "one")
    assert "fd00:231:1::55" in looked
    assert one["IPAddress"] in looked
    assert "name = one.both" in inside(nets, "two", "nslookup", "fd00:231:1::55")
    hosts = inside(nets, "one", "cat", "/etc/hosts")
    assert f"fd00:231:1::55\t{nets.inspect('one')['Config']['Hostname']}\n" in hosts
    assert "default via fd00:231:1::99" in inside(nets, "one", "ip", "-6", "route")
    assert "fe80::" in inside(nets, "one", "ip", "-6", "addr", "show", "eth0")


def test_ipv6_alone_and_from_the_pools(nets: Daemon) -> None:
    create(nets, "--ipv4=false", "--ipv6", "six")
    (only,) = ipam(nets, "six")
    assert only["Subnet"].startswith("fd")
    assert only["Subnet"].endswith("::/64")
    box(nets, "one", "--network", "six", "-p", "18080:80")
    found = place(nets, "one", "six")
    assert (found["IPAddress"], found["IPPrefixLen"], found["Gateway"]) == ("", 0, "")
    assert found["GlobalIPv6Address"].startswith("fd")
    assert nets.inspect("one")["NetworkSettings"]["Ports"] == {
        "80/tcp": [{"HostIp": "::", "HostPort": "18080"}]
    }
    serve(nets, "one")
    assert host.fetch("::1", 18080) == "one\n"
    assert nets.docker("port", "one").stdout == "80/tcp -> [::]:18080\n"


def test_ports_are_published_in_both_families(nets: Daemon) -> None:
    create(nets, "--ipv6", "--subnet", "fd00:231:2::/64", "both")
    box(nets, "one", "--network", "both", "-p", "18081:80")
    serve(nets, "one")
    assert host.fetch("127.0.0.1", 18081) == host.fetch("::1", 18081) == "one\n"
    assert nets.docker("port", "one").stdout == "80/tcp -> 0.0.0.0:18081\n80/tcp -> [::]:18081\n"


def test_subnets_ranges_and_reserved_addresses(nets: Daemon) -> None:
    create(
        nets, "--ipv6", "--subnet", "10.231.50.0/24", "--ip-range", "10.231.50.64/28", "--gateway", "10.231.50.1",
        "--aux-address", "router=10.231.50.64", "--subnet", "fd00:231:3::/64", "--ip-range", "fd00:231:3::100/120", "ranges",
    )  # fmt: skip
    four, six = sorted(ipam(nets, "ranges"), key=lambda each: ":" in each["Subnet"])
    assert four == {
        "Subnet": "10.231.50.0/24",
        "IPRange": "10.231.50.64/28",
        "Gateway": "10.231.50.1",
        "AuxiliaryAddresses": {"router": "10.231.50.64"},
    }
    assert six == {"Subnet": "fd00:231:3::/64", "IPRange": "fd00:231:3::100/120"}
    box(nets, "one", "--network", "ranges")
    found = place(nets, "one", "ranges")
    assert found["IPAddress"] == "10.231.50.65"
    assert (found["IPv6Gateway"], found["GlobalIPv6Address"]) == ("fd00:231:3::100", "fd00:231:3::101")


_REFUSALS: tuple[tuple[tuple[str, ...], str], ...] = (
        (("--ipv4=false",), "IPv4 or IPv6 must be enabled"),
        (("--subnet", "10.231.51.0/24", "--subnet", "10.231.52.0/24"), "bridge driver doesn't support multiple subnets"),
        (("--ipv6", "--subnet", "fd00:9::5/64"), "invalid subnet fd00:9::5/64: it should be fd00:9::/64"),
        (("-o", f"{OPTION}.bridge.gateway_mode_ipv4=bogus"), "(unknown gateway mode bogus)"),
        (("-o", f"{OPTION}.bridge.gateway_mode_ipv4=isolated"), "gateway mode 'isolated' can only be used for an internal network"),
        (("-o", f"{OPTION}.bridge.host_binding_ipv4=x"), f"failed to parse {OPTION}.bridge.host_binding_ipv4 value: x (nil ip)"),
        (("-o", f"{OPTION}.bridge.enable_icc=x"), 'value: x (strconv.ParseBool: parsing "x": invalid syntax)'),
        (("-o", f"{OPTION}.driver.mtu=x"), 'value: x (strconv.Atoi: parsing "x": invalid syntax)'),
        (("-o", f"{OPTION}.bridge.name=a-name-that-is-too-long"), "numerical result out of range"),
        (("-o", f"{OPTION}.bridge.name=lo"), "existing interface lo is not a bridge"),
        (("-d", "macvlan", "-o", "parent=lo"), "loopback interface is not a valid macvlan parent link"),
        (("-d", "macvlan", "-o", "macvlan_mode=x"), "requested macvlan mode 'x' is not valid, 'bridge' mode is the macvlan driver default"),
        (("-d", "macvlan", "-o", "parent=ktnothing"), "invalid subinterface vlan name ktnothing, example formatting is eth0.10"),
        (("-d", "macvlan", "-o", "parent=ktnothing.5"), "-o parent interface was not found on the host: ktnothing"),
        (("-d", "ipvlan", "-o", "ipvlan_mode=x"), "requested ipvlan mode 'x' is not valid, 'l2' mode is the ipvlan driver default"),
        (("-d", "ipvlan", "-o", "ipvlan_flag=x"), "requested ipvlan flag 'x' is not valid, 'bridge' is the ipvlan driver default"),
)  # fmt: skip


def test_what_cannot_be_made(nets: Daemon) -> None:
    for words, message in _REFUSALS:
        assert message in refused(nets, "network", "create", *words, "x")
    assert nets.docker("network", "ls", "-q", "--filter", "type=custom").stdout == ""


def test_addresses_that_cannot_be_had(nets: Daemon) -> None:
    create(nets, "--ipv6", "--subnet", "fd00:231:4::/64", "both")
    box(nets, "one", "--network", "both", "--ip6", "fd00:231:4::7")
    for flags, message in (
        (("--ip6", "fd00:99::1"), "no configured subnet or ip-range contain the IP address fd00:99::1"),
        (("--ip6", "zz"), "* invalid IPv6 address: zz\n* no configured subnet"),
        (("--ip", "10.0.0.1"), "only when connecting to networks with user configured subnets"),
        (("--ip6", "fd00:231:4::7"), "failed to set up container networking: Address already in use"),
    ):
        assert message in refused(nets, "run", "--rm", "--network", "both", *flags, "busybox", "true")


def test_where_ports_are_published_by_default(nets: Daemon) -> None:
    create(nets, "-o", f"{OPTION}.bridge.host_binding_ipv4=127.0.0.1", "local")
    box(nets, "one", "--network", "local", "-p", "18082:80")
    assert nets.docker("port", "one").stdout == "80/tcp -> 127.0.0.1:18082\n"


def test_a_routed_network_publishes_nothing_on_the_host(nets: Daemon) -> None:
    create(nets, "-o", f"{OPTION}.bridge.gateway_mode_ipv4=routed", "routed")
    box(nets, "one", "--network", "routed", "-p", "18083:80")
    ports = nets.inspect("one")["NetworkSettings"]["Ports"]["80/tcp"]
    assert ports[0] == {"HostIp": "0.0.0.0", "HostPort": ""}
    serve(nets, "one")
    assert host.fetch(place(nets, "one", "routed")["IPAddress"], 80) == "one\n"


def test_isolated_and_inhibited_networks_leave_the_bridge_without_an_address(nets: Daemon) -> None:
    create(nets, "--internal", "-o", f"{OPTION}.bridge.gateway_mode_ipv4=isolated", "-o", f"{OPTION}.bridge.name=ktiso", "--subnet", "10.231.53.0/24", "isolated")  # fmt: skip
    create(nets, "-o", f"{OPTION}.bridge.inhibit_ipv4=true", "-o", f"{OPTION}.bridge.name=ktinh", "--subnet", "10.231.54.0/24", "inhibited")  # fmt: skip
    for link in ("ktiso", "ktinh"):
        assert not subprocess.run(["ip", "-4", "addr", "show", link], check=True, capture_output=True).stdout
    run = ("run", "--rm", "busybox", "ip", "-4", "-o", "addr", "show", "eth0")
    assert "10.231.53.1/24" in nets.docker(*run[:2], "--network", "isolated", *run[2:]).stdout
    assert "10.231.54.2/24" in nets.docker(*run[:2], "--network", "inhibited", *run[2:]).stdout
    routes = ("run", "--rm", "--network", "inhibited", "busybox", "ip", "route")
    assert "default via 10.231.54.1" in nets.docker(*routes).stdout


def test_interfaces_by_prefix_name_and_priority(nets: Daemon) -> None:
    create(nets, "-o", f"{OPTION}.container_iface_prefix=net", "--subnet", "10.231.55.0/24", "prefixed")
    create(nets, "--subnet", "10.231.56.0/24", "plain")
    flags = (
        "--network", f"name=plain,mac-address=02:00:00:00:00:77,driver-opt={OPTION}.endpoint.ifname=foo0",
        "--network", "name=prefixed,gw-priority=10",
    )  # fmt: skip
    out = nets.docker("run", "--rm", *flags, "busybox", "sh", "-c", "ip -o link; ip route").stdout
    assert "default via 10.231.55.1 dev net0" in out
    assert "foo0" in out
    assert "02:00:00:00:00:77" in out
    long = f"name=plain,driver-opt={OPTION}.endpoint.ifname=a-name-that-is-too-long"
    assert 'to "a-name-that-is-too-long": numerical result out of range' in refused(
        nets, "run", "--rm", "--network", long, "busybox", "true"
    )


def test_sysctls_of_an_endpoint(nets: Daemon) -> None:
    create(nets, "plain")
    key = f"driver-opt={OPTION}.endpoint.sysctls"
    good = f'name=plain,"{key}=net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0"'
    files = ("/proc/sys/net/ipv4/conf/eth0/log_martians", "/proc/sys/net/ipv4/conf/eth0/forwarding")
    assert nets.docker("run", "--rm", "--network", good, "busybox", "cat", *files).stdout == "1\n0\n"
    for setting, message in (
        ("net.ipv4.conf.IFNAME.nope=1", "/proc/sys/net/ipv4/conf/eth0/nope is not a sysctl file"),
        ("net.ipv4.tcp_ecn=1", "unrecognised network interface sysctl 'net.ipv4.tcp_ecn=1'"),
    ):
        flags = ("--network", f"name=plain,{key}={setting}")
        assert message in refused(nets, "run", "--rm", *flags, "busybox", "true")
    flags = ("--sysctl", "net.ipv4.conf.eth0.log_martians=1")
    message = 'interface specific sysctl setting "net.ipv4.conf.eth0.log_martians" must be supplied using driver option'
    assert message in refused(nets, "run", "--rm", *flags, "busybox", "true")


def test_macvlan(nets: Daemon, parent: str) -> None:
    subnets = (
        "--subnet",
        "10.231.60.0/24",
        "--subnet",
        "10.231.61.0/24",
        "--ipv6",
        "--subnet",
        "fd00:231:6::/64",
    )
    create(nets, "-d", "macvlan", "-o", f"parent={parent}", *subnets, "mv")
    found = json.loads(nets.docker("network", "inspect", "mv").stdout)[0]
    assert (found["Driver"], found["Options"]) == ("macvlan", {"parent": parent})
    assert {each["Subnet"] for each in found["IPAM"]["Config"]} == {*subnets[1:5:2], subnets[-1]}
    box(nets, "one", "--network", "mv", "--ip", "10.231.60.2")
    box(nets, "two", "--network", "mv", "--ip", "10.231.61.9")
    one, two = place(nets, "one", "mv"), place(nets, "two", "mv")
    assert (one["IPAddress"], one["Gateway"]) == ("10.231.60.2", "10.231.60.1")
    assert (two["IPAddress"], two["Gateway"]) == ("10.231.61.9", "10.231.61.1")
    assert inside(nets, "one", "ping", "-6", "-c1", "-W5", "two")
    assert "default via 10.231.61.1 dev eth0" in inside(nets, "two", "ip", "route")
    assert "network mv has active endpoints" in refused(nets, "network", "rm", "mv")
    nets.docker("network", "disconnect", "mv", "one")
    assert "eth0" not in inside(nets, "one", "ip", "link")
    nets.docker("network", "connect", "mv", "one")
    assert inside(nets, "one", "ping", "-6", "-c1", "-W5", "two")
    nets.docker("restart", "-t", "0", "two")
    assert inside(nets, "one", "ping", "-6", "-c1", "-W5", "two")
    assert nets.docker("network", "ls", "-q", "--filter", "driver=macvlan").stdout


def test_macvlan_modes_and_their_parents(nets: Daemon, parent: str) -> None:
    create(nets, "-d", "macvlan", "-o", f"parent={parent}", "-o", "macvlan_mode=passthru", "alone")
    assert f"is already using parent interface {parent} in mode passthru" in refused(
        nets, "network", "create", "-d", "macvlan", "-o", f"parent={parent}", "x"
    )
    box(nets, "one", "--network", "alone")
    message = refused(nets, "run", "--rm", "--network", "alone", "busybox", "true")
    assert (
        "failed to set up container networking: failed to create the macvlan port: invalid argument"
        in message
    )
    nets.docker("rm", "-f", "one")
    nets.docker("run", "--rm", "--network", "alone", "busybox", "true")
    create(nets, "-d", "macvlan", "-o", "parent=ktfar", "--internal", "--subnet", "10.231.62.0/24", "inner")
    out = nets.docker(
        "run", "--rm", "--network", "inner", "busybox", "sh", "-c", "ip -4 -o addr; ip route"
    ).stdout
    assert "10.231.62.1/24" in out
    assert "default" not in out


def test_a_network_on_a_bridge_that_was_there_leaves_it_there(nets: Daemon) -> None:
    subprocess.run(["ip", "link", "add", "ktmine", "type", "bridge"], check=True)
    try:
        create(nets, "-o", f"{OPTION}.bridge.name=ktmine", "--subnet", "10.231.57.0/24", "mine")
        nets.docker("run", "--rm", "--network", "mine", "busybox", "true")
        nets.docker("network", "rm", "mine")
        assert "ktmine" in host.links()
    finally:
        subprocess.run(["ip", "link", "delete", "ktmine"], check=True)


def test_published_ports_follow_the_way_out(nets: Daemon) -> None:
    create(nets, "--subnet", "10.231.58.0/24", "aa")
    create(nets, "--subnet", "10.231.59.0/24", "bb")
    create(nets, "--internal", "inner")
    box(nets, "one", "--network", "bb", "-p", "18084:80")
    serve(nets, "one")
    assert host.fetch("127.0.0.1", 18084) == "one\n"
    nets.docker("network", "connect", "aa", "one")
    assert "default via 10.231.58.1" in inside(nets, "one", "ip", "route")
    assert host.fetch("127.0.0.1", 18084) == "one\n"
    nets.docker("network", "disconnect", "aa", "one")
    assert "default via 10.231.59.1" in inside(nets, "one", "ip", "route")
    assert host.fetch("127.0.0.1", 18084) == "one\n"
    nets.docker("network", "connect", "inner", "one")
    nets.docker("network", "disconnect", "bb", "one")
    assert "default" not in inside(nets, "one", "ip", "route")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", 18084), timeout=5).close()
    nets.docker("network", "connect", "aa", "one")
    assert host.fetch("127.0.0.1", 18084) == "one\n"
    assert nets.docker("port", "one").stdout.startswith("80/tcp -> 0.0.0.0:18084\n")


def test_words_of_filters(nets: Daemon) -> None:
    for words, message in (
        (("ls", "--filter", "dangling=x"), 'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")'),
        (("ls", "--filter", "type=x"), "invalid filter: 'type'='x'"),
        (("ls", "--filter", "nope=x"), "invalid filter 'nope'"),
        (("prune", "-f", "--filter", "nope=x"), "invalid filter 'nope'"),
        (("prune", "-f", "--filter", "until=x"), 'failed to parse value as time or duration: "x"'),
    ):  # fmt: skip
        assert message in refused(nets, "network", *words)
    create(nets, "--label", "keep", "kept")
    create(nets, "unused")
    assert nets.docker("network", "ls", "--filter", "scope=swarm", "-q").stdout == ""
    assert set(nets.docker("network", "ls", "--filter", "dangling=true", "--format", "{{.Name}}").stdout.split()) == {"kept", "unused"}  # fmt: skip
    assert nets.docker("network", "prune", "-f", "--filter", "until=1h").stdout == ""
    assert nets.docker("network", "prune", "-f", "--filter", "label!=keep").stdout.split() == ["Deleted", "Networks:", "unused"]  # fmt: skip
    assert nets.docker("network", "inspect", "--verbose", "kept").stdout.count('"kept"') == 1


def test_what_connect_may_ask_for(nets: Daemon) -> None:
    create(nets, "--subnet", "10.231.63.0/24", "aa")
    create(nets, "--ipv6", "--subnet", "10.231.64.0/24", "--subnet", "fd00:231:7::/64", "bb")
    box(nets, "one", "--network", "aa")
    flags = (
        "--ip", "10.231.64.77", "--ip6", "fd00:231:7::77", "--alias", "other", "--link-local-ip", "169.254.7.7",
        "--driver-opt", f"{OPTION}.endpoint.ifname=side0", "--driver-opt", f"{OPTION}.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1",
        "--gw-priority", "7",
    )  # fmt: skip
    nets.docker("network", "connect", *flags, "bb", "one")
    found = place(nets, "one", "bb")
    assert (found["IPAddress"], found["GlobalIPv6Address"], found["GwPriority"]) == (
        "10.231.64.77",
        "fd00:231:7::77",
        7,
    )
    assert found["Aliases"] == ["other"]
    assert found["IPAMConfig"] == {
        "IPv4Address": "10.231.64.77",
        "IPv6Address": "fd00:231:7::77",
        "LinkLocalIPs": ["169.254.7.7"],
    }
    assert found["DriverOpts"][f"{OPTION}.endpoint.ifname"] == "side0"
    assert "169.254.7.7" in inside(nets, "one", "ip", "-4", "addr", "show", "side0")
    assert inside(nets, "one", "cat", "/proc/sys/net/ipv4/conf/side0/log_martians") == "1\n"
    assert "default via 10.231.64.1 dev side0" in inside(nets, "one", "ip", "route")
    assert "default via fd00:231:7::1 dev side0" in inside(nets, "one", "ip", "-6", "route")
    assert "Address already in use" in refused(
        nets, "run", "--rm", "--network", "bb", "--ip", "10.231.64.77", "busybox", "true"
    )
    nets.docker("network", "disconnect", "bb", "one")
    assert "default via 10.231.63.1 dev eth0" in inside(nets, "one", "ip", "route")
    assert "default" not in inside(nets, "one", "ip", "-6", "route")


def test_configurations_and_what_is_made_from_them(nets: Daemon) -> None:
    flags = ("--subnet", "10.231.65.0/24", "--label", "a=b", "-o", f"{OPTION}.driver.mtu=1400")
    create(nets, "--config-only", *flags, "conf")
    create(nets, "--config-from", "conf", "made")
    conf, made = json.loads(nets.docker("network", "inspect", "conf", "made").stdout)
    assert (conf["Driver"], conf["ConfigOnly"], made["ConfigFrom"]) == ("null", True, {"Network": "conf"})
    assert made["Driver"] == "bridge"
    for key in ("Labels", "Options", "IPAM"):
        assert conf[key] == made[key]
    nets.docker("run", "--rm", "--network", "made", "busybox", "true")
    box(nets, "one")
    for words, message in (
        (("network", "create", "--config-from", "conf", "--subnet", "10.9.0.0/24", "x"), "user specified configurations are not supported"),
        (("network", "create", "--config-from", "conf", "-o", "x=y", "x"), "network driver options are not supported"),
        (("network", "create", "--config-from", "nope", "x"), 'configuration network "nope" does not exist'),
        (("network", "create", "--config-only", "--config-from", "conf", "x"), "a configuration network cannot depend on another"),
        (("network", "create", "--config-only", "--internal", "x"), "configuration network can only contain network specific fields"),
        (("network", "rm", "conf"), 'configuration network "conf" is in use'),
        (("network", "connect", "conf", "one"), "cannot create endpoint on configuration-only network"),
        (("run", "--rm", "--network", "conf", "busybox", "true"), "cannot create endpoint on configuration-only network"),
    ):  # fmt: skip
        assert message in refused(nets, *words)
    nets.docker("network", "rm", "made")
    assert nets.docker("network", "prune", "-f").stdout == ""
