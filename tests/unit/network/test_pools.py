"""Choosing subnets."""

from ipaddress import IPv4Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.errors import Invalid
from knarr.network.errors import NoFreeSubnet, SubnetTaken
from knarr.network.pools import DEFAULT_POOLS, Pool, allocate, check, unique_local, with_six


def test_the_first_subnet_without_overlap_is_taken() -> None:
    assert allocate(DEFAULT_POOLS, [], []) == ("172.17.0.0/16", "172.17.0.1")
    assert allocate(DEFAULT_POOLS, ["172.17.0.0/16"], ["172.18.4.0/24"]) == ("172.19.0.0/16", "172.19.0.1")


def test_used_up_pools_say_so() -> None:
    pools = (Pool("10.0.0.0/30", 30),)
    with pytest.raises(NoFreeSubnet):
        allocate(pools, ["10.0.0.0/8"], [])


def test_a_wanted_subnet_may_not_overlap() -> None:
    check("10.1.0.0/24", ["10.2.0.0/16"])
    with pytest.raises(SubnetTaken):
        check("10.2.9.0/24", ["10.2.0.0/16"])
    with pytest.raises(Invalid):
        check("10.2.9.1/24", [])


def test_a_pool_is_read_from_its_flag() -> None:
    assert Pool.parse("base=10.10.0.0/16,size=24") == Pool("10.10.0.0/16", 24)
    for bad in (
        "",
        "base=10.10.0.0/16",
        "base=10.10.0.0/24,size=16",
        "base=x,size=24",
        "base=10.0.0.0/8,size=31",
    ):
        with pytest.raises(Invalid):
            Pool.parse(bad)


def test_a_daemon_has_a_pool_of_unique_local_addresses_of_its_own() -> None:
    one, other = unique_local("one"), unique_local("other")
    assert one != other
    assert one.base.startswith("fd")
    assert one.base.endswith("::/48")
    assert one.size == 64
    assert with_six(DEFAULT_POOLS, "one") == (*DEFAULT_POOLS, one)
    mine = (Pool("fd00:5::/56", 64),)
    assert with_six(mine, "one") == mine
    assert allocate(mine, ["fd00:5::/64"], ["fd00:5:0:1::/65"], six=True) == (
        "fd00:5:0:2::/64",
        "fd00:5:0:2::1",
    )
    with pytest.raises(NoFreeSubnet):
        allocate(DEFAULT_POOLS, (), (), six=True)


@given(st.sets(st.integers(0, 63), max_size=40), st.integers(22, 28))
def test_what_is_given_out_overlaps_nothing(used: set[int], size: int) -> None:
    base = IPv4Network("10.0.0.0/16")
    occupied = [IPv4Network((int(base.network_address) + (at << 10), 22)) for at in used]
    subnet, gateway = allocate([Pool(str(base), size)], [], map(str, occupied))
    assert not any(IPv4Network(subnet).overlaps(each) for each in occupied)
    assert IPv4Network(subnet).subnet_of(base)
    assert ip_address(gateway) in IPv4Network(subnet)
