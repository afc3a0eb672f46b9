"""What an endpoint becomes: values, actions, elements, and the pools they come from."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.errors import Invalid
from knarr.model.ports import Port, Published
from knarr.network.addresses import Addresses, AddressPool, PortPool
from knarr.network.config import NetworkConfig, Subnet
from knarr.network.errors import AddressOutside, AddressTaken, NoFreeAddress
from knarr.network.plan import EndpointPlan, elements, mac_of, plan_endpoint, veth_name

NET = NetworkConfig.from_bip("bridge", "knarr0", "172.17.0.1/16")


def endpoint(**options: object) -> EndpointPlan:
    return plan_endpoint(NET, endpoint_id="e" * 64, address="172.17.0.2", **options)  # type: ignore[arg-type]


def test_bip_gives_subnet_and_gateway() -> None:
    assert (NET.subnet, NET.gateway, NET.subnets[0].prefix, NET.table) == (
        "172.17.0.0/16",
        "172.17.0.1",
        16,
        "knarr-knarr0",
    )


@pytest.mark.parametrize(
    "bip", ["", "172.17.0.1/33", "x/24", "172.17.0.0/16", "172.17.255.255/16", "10.0.0.1/31"]
)
def test_a_bad_bip_is_invalid(bip: str) -> None:
    with pytest.raises(Invalid):
        NetworkConfig.from_bip("bridge", "knarr0", bip)


@pytest.mark.parametrize("bridge", ["", "a" * 16, 'x"y', "a b", "-x", "a/b", "..", "é"])
def test_a_bad_bridge_name_is_invalid(bridge: str) -> None:
    with pytest.raises(Invalid, match="invalid bridge name"):
        NetworkConfig.from_bip("bridge", bridge, "172.17.0.1/16")


def test_the_plan_survives_json() -> None:
    plan = endpoint(published=[Published(Port(80), "0.0.0.0", 8080), Published(Port(53, "udp"), "::", 53)])
    assert EndpointPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_the_hardware_address_follows_from_the_address() -> None:
    assert mac_of("172.17.0.2") == "02:42:ac:11:00:02"
    assert endpoint().mac == "02:42:ac:11:00:02"
    assert endpoint(mac="02:00:00:00:00:09").mac == "02:00:00:00:00:09"


@pytest.mark.parametrize("mac", ["02:42", "02:42:ac:11:00:zz", "02:42:ac:11:00:002", "x"])
def test_a_bad_hardware_address_is_invalid(mac: str) -> None:
    with pytest.raises(Invalid, match="invalid MAC address"):
        endpoint(mac=mac)
    assert endpoint(mac="02-42-AC-11-00-0A").mac == "02:42:ac:11:00:0a"


def test_actions_come_in_order_and_each_has_a_reason() -> None:
    plan = endpoint(published=[Published(Port(80), "0.0.0.0", 8080)])
    assert [(each.where, each.name) for each in plan.actions()] == [
        ("host", "veth"),
        ("host", "bridge-port"),
        ("inside", "no-link-local"),
        ("inside", "up"),
        ("inside", "address"),
        ("inside", "up"),
        ("inside", "route"),
        ("firewall", "endpoints"),
        ("firewall", "published"),
        ("firewall", "exposed"),
    ]
    assert all(each.reason for each in plan.actions())


def test_an_internal_network_has_no_default_route() -> None:
    net = NetworkConfig.from_bip("inner", "knarr1", "10.0.0.1/24", internal=True)
    plan = plan_endpoint(net, endpoint_id="e" * 64, address="10.0.0.2")
    assert "route" not in [each.name for each in plan.actions()]


def test_elements_tell_any_address_from_one_and_leave_ipv6_to_the_relay() -> None:
    facts = [
        Published(Port(80), "0.0.0.0", 8080),
        Published(Port(80), "::", 8080),
        Published(Port(53, "udp"), "127.0.0.1", 5353),
    ]
    mark = f'comment "{"e" * 64}"'
    assert list(elements(endpoint(published=facts))) == [
        ("ip", "endpoints", f"172.17.0.2 {mark}"),
        ("ip", "published", f"tcp . 8080 {mark} : 172.17.0.2 . 80"),
        ("ip", "exposed", f"tcp . 8080 {mark}"),
        ("ip", "published_at", f"127.0.0.1 . udp . 5353 {mark} : 172.17.0.2 . 53"),
        ("ip", "exposed_at", f"127.0.0.1 . udp . 5353 {mark}"),
    ]


def test_a_veth_name_fits_the_kernel() -> None:
    assert veth_name("0123456789abcdef") == "kv0123456789ab"
    assert len(veth_name("f" * 64)) <= 15


def test_the_lowest_free_address_is_given_out() -> None:
    pool = AddressPool.of("bridge", NET.subnets[0], taken=["172.17.0.3"])
    assert [pool.allocate() for _ in range(3)] == ["172.17.0.2", "172.17.0.4", "172.17.0.5"]
    pool.release("172.17.0.4")
    pool.release("172.17.0.2")
    assert [pool.allocate() for _ in range(3)] == ["172.17.0.2", "172.17.0.4", "172.17.0.6"]


def test_a_wanted_address_is_checked() -> None:
    pool = AddressPool.of("bridge", NET.subnets[0])
    assert pool.allocate("172.17.9.9") == "172.17.9.9"
    with pytest.raises(AddressTaken):
        pool.allocate("172.17.9.9")
    with pytest.raises(AddressTaken):
        pool.allocate("172.17.0.1")
    for outside in ("10.0.0.1", "172.17.0.0", "172.17.255.255"):
        with pytest.raises(AddressOutside):
            pool.allocate(outside)
    with pytest.raises(Invalid):
        pool.allocate("nonsense")


def test_a_full_subnet_says_so_and_the_gateway_stays() -> None:
    pool = AddressPool.of("tiny", NetworkConfig.from_bip("tiny", "knarr1", "10.0.0.1/30").subnets[0])
    assert pool.allocate() == "10.0.0.2"
    pool.release("10.0.0.1")
    with pytest.raises(NoFreeAddress, match="tiny"):
        pool.allocate()
    pool.release("10.0.0.2")
    assert pool.allocate() == "10.0.0.2"


@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=60))
def test_no_address_is_given_out_twice(moves: list[int | None]) -> None:
    pool = AddressPool.of("n", NetworkConfig.from_bip("n", "knarr1", "10.0.0.9/28").subnets[0])
    held: list[str] = []
    for move in moves:
        if move is None or not held:
            try:
                address = pool.allocate()
            except NoFreeAddress:
                assert len(held) == 13
                continue
            assert address not in held
            assert address not in ("10.0.0.0", "10.0.0.9", "10.0.0.15")
            held.append(address)
        else:
            pool.release(held.pop(move % len(held)))


def test_port_candidates_go_round_once() -> None:
    pool = PortPool(10, 13)
    assert list(pool.candidates()) == [10, 11, 12, 13]
    assert next(iter(pool.candidates())) == 10
    assert next(iter(pool.candidates())) == 11
    assert list(pool.candidates()) == [12, 13, 10, 11]


BOTH = NetworkConfig(
    name="n",
    bridge="knarr1",
    subnet="10.0.0.0/24",
    gateway="10.0.0.1",
    subnet6="fd00::/64",
    gateway6="fd00::1",
)


def of_both(config: NetworkConfig = BOTH, **options: object) -> EndpointPlan:
    return plan_endpoint(
        config,
        endpoint_id="e" * 64,
        address="10.0.0.2",
        address6="fd00::2",
        **options,  # type: ignore[arg-type]
    )


def test_an_endpoint_of_both_families() -> None:
    plan = of_both(published=[Published(Port(80), "::", 8080)], sysctls=[("net/ipv4/conf/eth0/x", "1")])
    assert EndpointPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    names = [(each.where, each.name) for each in plan.actions()]
    assert ("sysctl", "disable_ipv6") in names
    assert ("inside", "no-link-local") not in names
    assert names.count(("inside", "address")) == names.count(("inside", "route")) == 2
    found = [(each.family, each.set) for each in elements(plan)]
    assert found == [("ip", "endpoints"), ("ip6", "endpoints"), ("ip6", "published"), ("ip6", "exposed")]
    assert (plan.home.prefix, plan.home6.gateway) == (24, "fd00::1")


def test_a_family_may_lead_outward_alone() -> None:
    plan = of_both(default_route=False, default_route6=True)
    assert [each.arguments["six"] for each in plan.actions() if each.name == "route"] == [True]
    assert plan.leads


def test_a_routed_port_is_open_at_the_containers_address() -> None:
    plan = of_both(replace(BOTH, mode4="routed"), published=[Published(Port(80), "0.0.0.0", 0)])
    assert [each.text.partition(" comment")[0] for each in elements(plan) if each.set == "open"] == [
        "10.0.0.2 . tcp . 80"
    ]
    assert not [each for each in elements(plan) if each.set == "published"]


def test_a_macvlan_has_no_firewall_and_its_address_decides_its_gateway() -> None:
    config = NetworkConfig(
        name="m",
        driver="macvlan",
        bridge="eth0",
        mode="bridge",
        subnet="10.0.0.0/24",
        gateway="10.0.0.1",
        more=(Subnet("10.1.0.0/24", "10.1.0.9"),),
    )
    plan = plan_endpoint(
        config, endpoint_id="e" * 64, address="10.1.0.7", published=[Published(Port(80), "", 1)]
    )
    assert not list(elements(plan))
    assert [each.name for each in plan.actions() if each.where == "host"] == ["macvlan"]
    assert [each.arguments["gateway"] for each in plan.actions() if each.name == "route"] == ["10.1.0.9"]
    assert EndpointPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_an_ipvlan_has_its_parents_hardware_address() -> None:
    config = NetworkConfig(name="i", driver="ipvlan", bridge="eth0", mode="l3", subnet="10.0.0.0/24")
    plan = plan_endpoint(config, endpoint_id="e" * 64, address="10.0.0.2")
    assert plan.mac == ""
    assert [each.arguments["gateway"] for each in plan.actions() if each.name == "route"] == [""]
    with pytest.raises(Invalid, match="do not support custom mac"):
        plan_endpoint(config, endpoint_id="e" * 64, address="10.0.0.2", mac="02:00:00:00:00:01")


def test_one_address_of_each_family_or_none() -> None:
    pool = Addresses.of(BOTH, within={"fd00::/64": "fd00::100/120"})
    assert pool.allocate() == ("10.0.0.2", "fd00::100")
    assert pool.allocate("", "fd00::9") == ("10.0.0.3", "fd00::9")
    with pytest.raises(AddressTaken):
        pool.allocate("10.0.0.77", "fd00::9")
    assert pool.allocate("10.0.0.77") == ("10.0.0.77", "fd00::101")
    pool.release("10.0.0.2", "fd00::100", "")
    assert pool.allocate() == ("10.0.0.2", "fd00::100")


def test_a_full_subnet_makes_way_for_the_next() -> None:
    config = replace(BOTH, subnet="10.0.0.0/30", more=(Subnet("10.9.0.0/24", "10.9.0.1"),), driver="macvlan")
    pool = Addresses.of(config)
    assert [pool.allocate()[0] for _ in range(3)] == ["10.0.0.2", "10.9.0.2", "10.9.0.3"]
    assert pool.allocate("10.9.0.77")[0] == "10.9.0.77"
