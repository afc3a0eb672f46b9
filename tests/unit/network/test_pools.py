"""Choosing subnets."""

import pytest

from knarr.model.errors import Invalid
from knarr.network.errors import NoFreeSubnet, SubnetTaken
from knarr.network.pools import DEFAULT_POOLS, Pool, allocate, check


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
