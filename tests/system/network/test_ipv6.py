"""IPv6 networks: who reaches whom, and what is left."""

from dataclasses import replace

import pytest

from knarr.loop.blocking import blocking
from knarr.model.errors import Denied
from knarr.network.config import NetworkConfig
from tests.system.network.world import (
    OUTSIDE,
    OUTSIDE6,
    OUTSIDE_HOST,
    OUTSIDE_HOST6,
    World,
    ask,
    config,
    isolated,
    links,
    nft,
    silent,
    wish,
)

SUBNET6, GATEWAY6 = "fd00:210:1::/64", "fd00:210:1::1"


def both(number: int = 1, **options: object) -> NetworkConfig:
    subnet6, gateway6 = SUBNET6.replace(":1::", f":{number}::"), GATEWAY6.replace(":1::", f":{number}::")
    return config(number, subnet6=subnet6, gateway6=gateway6, **options)


def only(**options: object) -> NetworkConfig:
    return NetworkConfig(name="ktn6", bridge="ktn6", subnet6=SUBNET6, gateway6=GATEWAY6, **options)  # type: ignore[arg-type]


@isolated
async def test_a_published_port_is_translated_in_both_families() -> None:
    world, net = World(), both()
    await world.bridge.ensure(net)
    web, plan = await world.container(net, wish("80", 8080), wish("53/udp", 5353), address6="fd00:210:1::8")
    other, _ = await world.container(net, address6="fd00:210:1::9")
    web.serve(80)
    web.serve(53, "udp")
    assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE
    assert await world.outside.ask(OUTSIDE_HOST6, 8080) == OUTSIDE6
    assert await world.outside.ask(OUTSIDE_HOST6, 5353, "udp") == OUTSIDE6
    assert await blocking(ask, OUTSIDE_HOST6, 8080) in (OUTSIDE_HOST6, GATEWAY6)
    assert await blocking(ask, "::1", 8080) == GATEWAY6
    assert await other.ask(plan.address6, 80) == "fd00:210:1::9"
    assert await other.ask(GATEWAY6, 8080) in (GATEWAY6, "fd00:210:1::9")
    assert await web.ask(OUTSIDE_HOST6, 8080) == GATEWAY6
    await world.bridge.detach(plan)
    assert await world.outside.silent(OUTSIDE_HOST6, 8080)


@isolated
async def test_an_address_is_usable_at_once_and_the_way_out_is_translated() -> None:
    world, net = World(), both()
    await world.bridge.ensure(net)
    box, _ = await world.container(net, address6="fd00:210:1::8")
    world.outside.serve(80)
    assert await box.ask(OUTSIDE6, 80) == OUTSIDE_HOST6
    assert await box.ask(OUTSIDE, 80) == OUTSIDE_HOST


@isolated
async def test_a_network_of_ipv6_alone() -> None:
    world, net = World(), only()
    await world.bridge.ensure(net)
    web, plan = await world.container(net, wish("80", 8080), address6="fd00:210:1::8")
    web.serve(80)
    assert [each.host_ip for each in plan.published] == ["::"]
    assert await world.outside.ask(OUTSIDE_HOST6, 8080) == OUTSIDE6
    assert await blocking(silent, "127.0.0.1", 8080)
    assert f"table ip {net.table}" not in nft("list", "tables")


@isolated
async def test_networks_are_apart_and_an_internal_one_has_no_way_out() -> None:
    world, one, two = World(), both(1), both(2, internal=True)
    await world.bridge.ensure(one)
    await world.bridge.ensure(two)
    a, _ = await world.container(one, address6="fd00:210:1::8")
    b, plan = await world.container(two, address6="fd00:210:2::8")
    b.serve(80)
    world.outside.serve(80)
    assert await a.silent(plan.address6, 80)
    assert await b.silent(OUTSIDE6, 80)


@isolated
async def test_icc_off_keeps_containers_apart() -> None:
    world, net = World(), both(icc=False)
    await world.bridge.ensure(net)
    web, plan = await world.container(net, address6="fd00:210:1::8")
    other, _ = await world.container(net, address6="fd00:210:1::9")
    web.serve(80)
    assert await other.silent(plan.address6, 80)


@isolated
async def test_routed_ports_are_open_at_the_containers_address_and_nowhere_else() -> None:
    world, net = World(), both(mode6="routed")
    await world.bridge.ensure(net)
    web, plan = await world.container(net, wish("80", 8080), address6="fd00:210:1::8")
    web.serve(80)
    web.serve(81)
    facts = [(each.host_ip, each.host_port) for each in plan.published]
    assert facts == [("0.0.0.0", 8080), ("::", 0)]
    assert await world.outside.ask(plan.address6, 80) == OUTSIDE6
    assert await world.outside.silent(plan.address6, 81)
    assert await world.outside.silent(OUTSIDE_HOST6, 8080)
    assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE


@isolated
async def test_trusted_links_reach_published_ports_directly() -> None:
    world, net = World(), both(trusted=("ktnout",))
    await world.bridge.ensure(net)
    web, plan = await world.container(net, wish("80", 8080), address6="fd00:210:1::8")
    web.serve(80)
    web.serve(81)
    assert await world.outside.ask(plan.address6, 80) == OUTSIDE6
    assert await world.outside.silent(plan.address6, 81)


@isolated
async def test_flushed_tables_are_mended_and_taken_down_again() -> None:
    world, net = World(), both()
    before = (links(), nft("list", "tables"))
    await world.bridge.ensure(net)
    web, plan = await world.container(net, wish("80", 8080), address6="fd00:210:1::8")
    web.serve(80)
    nft("delete", "table", "ip6", net.table)
    assert await world.outside.ask(OUTSIDE_HOST6, 8080)
    await world.bridge.ensure(net)
    assert await world.outside.ask(OUTSIDE_HOST6, 8080) == OUTSIDE6
    await world.bridge.detach(plan)
    await world.bridge.teardown(net)
    await world.bridge.settle()
    assert (links(), nft("list", "tables")) == before


@isolated
async def test_ports_come_and_go_while_it_lives() -> None:
    world, net = World(), both()
    await world.bridge.ensure(net)
    web, plan = await world.container(net, wish("80", 8080), address6="fd00:210:1::8")
    web.serve(80)
    fresh = await world.bridge.reserve(
        plan.endpoint_id, [wish("80", 9090)], endpoint="web", config=net, six=True
    )
    after = replace(plan, published=fresh)
    await world.bridge.change(plan, after)
    for address, seen in ((OUTSIDE_HOST, OUTSIDE), (OUTSIDE_HOST6, OUTSIDE6)):
        assert await world.outside.ask(address, 9090) == seen
        assert await world.outside.silent(address, 8080)


@isolated
async def test_a_bridge_that_was_there_stays_and_another_link_is_no_bridge() -> None:
    world = World()
    await world.bridge.ensure(config(kept=True))
    await world.bridge.teardown(config(kept=True))
    assert "ktn1" in links()
    stranger = NetworkConfig(name="x", bridge="ktnout", subnet="10.9.0.0/24", gateway="10.9.0.1")
    with pytest.raises(Denied, match="is not a bridge"):
        await world.bridge.ensure(stranger)
    await world.bridge.teardown(stranger)
    assert "ktnout" in links()
