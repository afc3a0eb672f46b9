"""What an endpoint becomes: values, actions, elements, and the pools they come from."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.errors import Invalid
from knarr.model.ports import Port, Published
from knarr.network.errors import AddressOutside, AddressTaken, NoFreeAddress
from knarr.network.plan import (
    AddressPool,
    EndpointPlan,
    NetworkConfig,
    PortPool,
    elements,
    mac_of,
    plan_endpoint,
    veth_name,
)

NET = NetworkConfig.from_bip("bridge", "knarr0", "172.17.0.1/16")


def endpoint(**options: object) -> EndpointPlan:
    return plan_endpoint(NET, endpoint_id="e" * 64, address="172.17.0.2", **options)  # type: ignore[arg-type]


def test_bip_gives_subnet_and_gateway() -> None:
    assert (NET.subnet, NET.gateway, NET.prefix, NET.table) == (
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
        ("endpoints", f"172.17.0.2 {mark}"),
        ("published", f"tcp . 8080 {mark} : 172.17.0.2 . 80"),
        ("published_at", f"127.0.0.1 . udp . 5353 {mark} : 172.17.0.2 . 53"),
    ]


def test_a_veth_name_fits_the_kernel() -> None:
    assert veth_name("0123456789abcdef") == "kv0123456789ab"
    assert len(veth_name("f" * 64)) <= 15


def test_the_lowest_free_address_is_given_out() -> None:
    pool = AddressPool.of(NET, taken=["172.17.0.3"])
    assert [pool.allocate() for _ in range(3)] == ["172.17.0.2", "172.17.0.4", "172.17.0.5"]
    pool.release("172.17.0.4")
    pool.release("172.17.0.2")
    assert [pool.allocate() for _ in range(3)] == ["172.17.0.2", "172.17.0.4", "172.17.0.6"]


def test_a_wanted_address_is_checked() -> None:
    pool = AddressPool.of(NET)
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
    pool = AddressPool.of(NetworkConfig.from_bip("tiny", "knarr1", "10.0.0.1/30"))
    assert pool.allocate() == "10.0.0.2"
    pool.release("10.0.0.1")
    with pytest.raises(NoFreeAddress, match="tiny"):
        pool.allocate()
    pool.release("10.0.0.2")
    assert pool.allocate() == "10.0.0.2"


@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=60))
def test_no_address_is_given_out_twice(moves: list[int | None]) -> None:
    pool = AddressPool.of(NetworkConfig.from_bip("n", "knarr1", "10.0.0.9/28"))
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
