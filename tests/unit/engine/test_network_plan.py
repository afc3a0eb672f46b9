"""What a new network becomes, and which way leads out of a container."""

import pytest

from knarr.engine.endpoint_plan import check_endpoint
from knarr.engine.errors import Predefined
from knarr.engine.nets import Net, Nets, Place, asked_for, dns_names, gateway, interfaces
from knarr.engine.network_options import IFNAME, SYSCTLS, sysctl_problems, sysctls
from knarr.engine.network_plan import check, check_options, check_parent, choose, config
from knarr.engine.record import NetworkValue, Range
from knarr.engine.values import AddressRange, NetworkSpec
from knarr.model.container import ContainerSpec, EndpointSpec
from knarr.model.errors import Denied, Invalid, KnarrError, NotFound
from knarr.network.config import NetworkConfig, Subnet
from knarr.network.errors import SubnetTaken
from knarr.network.pools import Pool, with_six

POOLS = (Pool("10.0.0.0/16", 24),)
KEY = "0123456789abcdef" * 4


def made(
    *,
    subnet: str = "",
    gateway: str = "",
    used: tuple[str, ...] = (),
    options: dict[str, str] | None = None,
) -> NetworkValue:
    ranges = (AddressRange(subnet=subnet, gateway=gateway),) if subnet else ()
    spec = NetworkSpec(name="n", ranges=ranges, options=options or {})
    return choose(check(spec), KEY, POOLS, used, ())


def test_a_free_subnet_of_the_pools() -> None:
    value = made(used=("10.0.0.0/24",))
    assert (value.ranges[0].subnet, value.ranges[0].gateway) == ("10.0.1.0/24", "10.0.1.1")
    assert (value.own_subnet, value.bridge) == (False, "br-0123456789ab")


def test_a_subnet_of_ones_own() -> None:
    value = made(subnet="10.5.0.0/24")
    assert value.ranges == (Range(subnet="10.5.0.0/24", gateway="10.5.0.1", asked=True),)
    assert value.own_subnet
    assert made(subnet="10.5.0.0/24", gateway="10.5.0.9").ranges[0].gateway == "10.5.0.9"
    with pytest.raises(SubnetTaken):
        made(subnet="10.5.0.0/25", used=("10.5.0.0/24",))


def test_options() -> None:
    options = {
        "com.docker.network.bridge.name": "mine0",
        "com.docker.network.bridge.enable_icc": "false",
        "com.docker.network.bridge.enable_ip_masquerade": "0",
        "com.docker.network.driver.mtu": "1400",
    }
    found = config(KEY, "n", made(options=options))
    assert (found.bridge, found.icc, found.masquerade, found.mtu) == ("mine0", False, False, 1400)
    for key, word in (
        ("com.docker.network.driver.mtu", "wide"),
        ("com.docker.network.bridge.enable_icc", "no"),
    ):
        with pytest.raises(Invalid, match="invalid syntax"):
            check_options(NetworkSpec(name="n", options={key: word}))


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (NetworkSpec(name=" "), Invalid),
        (NetworkSpec(name="bridge"), Predefined),
        (NetworkSpec(name="n", driver="host"), Denied),
        (NetworkSpec(name="n", driver="nope"), NotFound),
        (NetworkSpec(name="n", driver="macvlan", options={"parent": "lo"}), KnarrError),
        (NetworkSpec(name="n", driver="macvlan", options={"macvlan_mode": "x"}), KnarrError),
        (NetworkSpec(name="n", driver="ipvlan", options={"ipvlan_flag": "x"}), KnarrError),
        (NetworkSpec(name="n", ipv4=False), Invalid),
        (NetworkSpec(name="n", options={"com.docker.network.enable_ipv6": "x"}), Invalid),
        (
            NetworkSpec(
                name="n", ranges=(AddressRange(subnet="10.0.0.0/24"), AddressRange(subnet="10.1.0.0/24"))
            ),
            Denied,
        ),
        (
            NetworkSpec(name="n", options={"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}),
            KnarrError,
        ),
        (NetworkSpec(name="n", ipv6=True, ranges=(AddressRange(subnet="fd00::1/64"),)), Invalid),
        (NetworkSpec(name="n", ranges=(AddressRange(subnet="10.0.0.0/24", gateway="fd00::1"),)), Invalid),
        (NetworkSpec(name="n", ipam_driver="nope"), NotFound),
        (NetworkSpec(name="n", ranges=(AddressRange(subnet="x"),)), Invalid),
        (NetworkSpec(name="n", ranges=(AddressRange(subnet="10.0.0.1/24"),)), Invalid),
        (NetworkSpec(name="n", ranges=(AddressRange(subnet="10.0.0.0/24", gateway="10.1.0.1"),)), Invalid),
        (NetworkSpec(name="n", ranges=(AddressRange(subnet="10.0.0.0/24", within="10.1.0.0/25"),)), Invalid),
    ],
)
def test_what_is_refused(spec: NetworkSpec, kind: type[KnarrError]) -> None:
    with pytest.raises(kind):
        check_options(check(spec))


def test_addresses_that_can_be_asked_for() -> None:
    own = made(subnet="10.5.0.0/24")
    check_endpoint(EndpointSpec(network="n", ipv4="10.5.0.7", aliases=("a",)), own)
    for asked, value in (
        (EndpointSpec(network="bridge", ipv4="10.5.0.7"), None),
        (EndpointSpec(network="bridge", aliases=("a",)), None),
        (EndpointSpec(network="n", ipv4="10.0.0.7"), made()),
        (EndpointSpec(network="n", ipv4="10.6.0.7"), own),
    ):
        with pytest.raises(Invalid, match="invalid endpoint settings"):
            check_endpoint(asked, value)


def place(name: str, *, internal: bool = False, priority: int = 0) -> Place:
    found = NetworkConfig(
        name=name, bridge=f"b{name}", subnet="10.0.0.0/24", gateway="10.0.0.1", internal=internal
    )
    net = Net(name * 8, name, "bridge", 0, value=made(), config=found)
    return Place(net, EndpointSpec(network=name, priority=priority, aliases=("alias",)))


def test_the_way_out() -> None:
    b, a = place("b"), place("a")
    assert gateway([b, a]) is a
    assert gateway([b, place("a", internal=True)]) is b
    assert gateway([b, a, first := place("z", priority=1)]) is first
    assert gateway([place("a", internal=True)]) is None


def test_what_a_container_is_called() -> None:
    assert dns_names(place("n"), "web", KEY, "host") == ("web", "alias", KEY[:12], "host")
    default = Place(Net("1", "bridge", "bridge", 0), EndpointSpec(network="bridge"))
    assert dns_names(default, "web", KEY, "host") == ()


def test_the_main_network_comes_first() -> None:
    spec = ContainerSpec(
        image="x",
        network_mode="b",
        endpoints=(EndpointSpec(network="a"), EndpointSpec(network="b", ipv4="10.0.0.2")),
    )
    assert [each.network for each in asked_for(spec)] == ["b", "a"]
    assert asked_for(ContainerSpec(image="x", network_mode="host")) == ()
    assert asked_for(ContainerSpec(image="x", network_mode="container:y")) == ()


def test_the_table() -> None:
    nets = Nets()
    one, two = Net("abc1", "one", "bridge", 0), Net("abc2", "two", "bridge", 0)
    nets.add(one)
    nets.add(two)
    assert nets.find("one") is nets.find("abc1") is one
    with pytest.raises(KnarrError, match="ambiguous"):
        nets.find("abc")
    with pytest.raises(NotFound, match="network three not found"):
        nets.find("three")
    nets.discard(one)
    assert nets.find("abc") is two


def test_both_families() -> None:
    pools = with_six(POOLS, "host")
    value = choose(check(NetworkSpec(name="n", ipv6=True)), KEY, pools, (), ())
    assert [each.subnet for each in value.ranges] == ["10.0.0.0/24", pools[-1].base.replace("/48", "/64")]
    found = config(KEY, "n", value)
    assert (found.subnet, found.subnet6, bool(found.gateway6)) == (
        "10.0.0.0/24",
        value.ranges[1].subnet,
        True,
    )
    only = choose(check(NetworkSpec(name="n", ipv4=False, ipv6=True)), KEY, pools, (), ())
    assert config(KEY, "n", only).subnets == (Subnet(only.ranges[0].subnet, only.ranges[0].gateway),)


def test_a_subnet_of_a_family_that_is_off_is_kept_and_not_used() -> None:
    asked = (AddressRange(subnet="10.9.0.0/24"), AddressRange(subnet="fd00:9::/64"))
    value = choose(check(NetworkSpec(name="n", ranges=asked)), KEY, POOLS, (), ())
    assert [each.subnet for each in value.ranges] == ["10.9.0.0/24", "fd00:9::/64"]
    assert config(KEY, "n", value).subnet6 == ""


def test_an_isolated_network_has_no_gateway_and_a_link_without_parent_is_internal() -> None:
    options = {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}
    value = choose(check(NetworkSpec(name="n", internal=True, options=options)), KEY, POOLS, (), ())
    assert value.ranges[0].gateway == ""
    loose = choose(check(NetworkSpec(name="n", driver="macvlan")), KEY, POOLS, (), ())
    found = config(KEY, "n", loose)
    assert (found.bridge, found.internal, found.gateway, found.mode) == (f"dm-{KEY[:12]}", True, "", "bridge")
    assert not loose.internal


def test_who_may_share_a_parent() -> None:
    def on(driver: str, mode: str) -> NetworkConfig:
        return NetworkConfig(name="n", driver=driver, bridge="eth0", mode=mode)

    check_parent(on("macvlan", "bridge"), {KEY: on("macvlan", "private")})
    for one, other, words in (
        (on("macvlan", "passthru"), on("macvlan", "bridge"), "cannot use mode passthru"),
        (on("macvlan", "bridge"), on("macvlan", "passthru"), "in mode passthru"),
        (on("ipvlan", "l2"), on("ipvlan", "l2"), "network di-0123456789ab is already using parent"),
    ):
        with pytest.raises(KnarrError, match=words):
            check_parent(one, {KEY: other})


def test_sysctls_of_one_interface() -> None:
    options = {SYSCTLS: "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=0"}
    assert list(sysctls(options, "eth3")) == [
        ("net/ipv4/conf/eth3/log_martians", "1"),
        ("net/ipv6/conf/eth3/accept_ra", "0"),
    ]
    assert not list(sysctl_problems(options))
    for bad in (
        "net.ipv4.tcp_ecn=1",
        "net.ipv4.conf.eth0.x=1",
        "kernel.x.y.IFNAME.z=1",
        "net.ipv4.conf.IFNAME.../x=1",
    ):
        assert list(sysctl_problems({SYSCTLS: bad})), bad


def test_links_are_called_by_number_unless_they_have_a_name() -> None:
    named = EndpointSpec(network="b", driver_options={IFNAME: "eth0"})
    b = Place(place("b").net, named)
    assert interfaces([place("a"), b, place("c")]) == ["eth1", "eth0", "eth2"]
    assert interfaces([place("a")], ("eth0", "eth2")) == ["eth1"]
