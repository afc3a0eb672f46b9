"""Who reaches whom: published ports from every side, the way out, and what stays closed."""

import subprocess
from pathlib import Path

from knarr.loop.blocking import blocking
from knarr.network.bridge import Bridge
from tests.system.network.world import OUTSIDE, OUTSIDE_HOST, World, ask, config, isolated, silent, wish


@isolated
async def test_a_published_tcp_port_answers_from_every_side() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    web, plan = await world.container(net, wish("80", 8080))
    other, _ = await world.container(net)
    web.serve(80)
    assert await blocking(ask, "127.0.0.1", 8080) == net.gateway
    assert await blocking(ask, OUTSIDE_HOST, 8080) == OUTSIDE_HOST
    assert await blocking(ask, plan.address, 80) == net.gateway
    assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE
    assert await other.ask(OUTSIDE_HOST, 8080) == net.gateway
    assert await other.ask(net.gateway, 8080) == net.gateway
    assert await web.ask(OUTSIDE_HOST, 8080) == net.gateway
    assert await web.ask(net.gateway, 8080) == net.gateway


@isolated
async def test_a_published_udp_port_answers_from_every_side() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    dns, _ = await world.container(net, wish("53/udp", 5353))
    dns.serve(53, "udp")
    assert await blocking(ask, "127.0.0.1", 5353, "udp") == net.gateway
    assert await world.outside.ask(OUTSIDE_HOST, 5353, "udp") == OUTSIDE
    assert await dns.ask(OUTSIDE_HOST, 5353, "udp") == net.gateway


@isolated
async def test_a_published_port_answers_over_ipv6() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    server, plan = await world.container(net, wish("80", 8080), wish("53/udp", 5353))
    assert [each.host_ip for each in plan.published] == ["0.0.0.0", "::", "0.0.0.0", "::"]
    server.serve(80)
    server.serve(53, "udp")
    assert await blocking(ask, "::1", 8080) == net.gateway
    assert await blocking(ask, "::1", 5353, "udp") == net.gateway


@isolated
async def test_without_a_relay_the_kernel_serves_all_that_it_can() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    world, net = World(Bridge(relay=False, forward=False)), config()
    await world.bridge.ensure(net)
    server, _ = await world.container(net, wish("80", 8080))
    server.serve(80)
    assert await blocking(ask, "127.0.0.1", 8080) == net.gateway
    assert await blocking(silent, "::1", 8080)
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"


@isolated
async def test_a_port_at_127_0_0_1_is_closed_to_everyone_else() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    web, _ = await world.container(net, wish("80", 8080, "127.0.0.1"), wish("80", 8081, OUTSIDE_HOST))
    other, _ = await world.container(net)
    web.serve(80)
    assert await blocking(ask, "127.0.0.1", 8080) == net.gateway
    assert await world.outside.silent(OUTSIDE_HOST, 8080)
    assert await other.silent(OUTSIDE_HOST, 8080)
    assert await world.outside.ask(OUTSIDE_HOST, 8081) == OUTSIDE
    assert await blocking(silent, "127.0.0.1", 8081)


@isolated
async def test_a_container_cannot_reach_the_loopback_of_the_host() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    rogue, _ = await world.container(net, wish("80", 8080, "127.0.0.1"))
    rogue.serve(80)
    victim, _ = await world.container(net, wish("80", 8081, "127.0.0.1"))
    victim.serve(80)
    rogue.run(_open, "/proc/sys/net/ipv4/conf/all/route_localnet")
    rogue.ip("addr", "del", "127.0.0.1/8", "dev", "lo")
    rogue.ip("route", "add", "127.0.0.0/8", "via", net.gateway)
    assert await rogue.silent("127.0.0.1", 8081)


@isolated
async def test_the_way_out_bears_the_address_of_the_host() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    world.outside.serve(443)
    inside, _ = await world.container(net)
    assert await inside.ask(OUTSIDE, 443) == OUTSIDE_HOST


@isolated
async def test_what_is_not_published_is_closed_to_those_who_route_to_it() -> None:
    world, one, two = World(), config(1), config(2)
    await world.bridge.ensure(one)
    await world.bridge.ensure(two)
    web, plan = await world.container(one, wish("80", 8080))
    stranger, _ = await world.container(two)
    neighbour, _ = await world.container(one)
    web.serve(80)
    web.serve(81)
    assert await neighbour.ask(plan.address, 81) == "10.210.1.4"
    assert await world.outside.silent(plan.address, 81)
    assert await stranger.silent(plan.address, 81)
    assert await stranger.ask(OUTSIDE_HOST, 8080) == one.gateway


@isolated
async def test_without_icc_containers_meet_only_at_published_ports() -> None:
    world = World()
    for number, filtered in enumerate(("0", "1"), 1):
        await blocking(_sysctl, f"net.bridge.bridge-nf-call-iptables={filtered}")
        net = config(number, icc=False)
        await world.bridge.ensure(net)
        web, plan = await world.container(net, wish("80", 8080 + number))
        other, _ = await world.container(net)
        web.serve(80)
        assert await other.silent(plan.address, 80)
        assert await other.ask(OUTSIDE_HOST, 8080 + number) == net.gateway


@isolated
async def test_an_internal_network_has_no_way_out() -> None:
    world, net = World(), config(internal=True)
    await world.bridge.ensure(net)
    world.outside.serve(443)
    one, plan = await world.container(net)
    two, _ = await world.container(net)
    one.serve(80)
    assert await two.ask(plan.address, 80) == "10.210.1.3"
    assert await two.silent(OUTSIDE, 443)


@isolated
async def test_hairpin_works_with_and_without_bridge_netfilter() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    web, _ = await world.container(net, wish("80", 8080))
    web.serve(80)
    for value in ("0", "1"):
        await blocking(_sysctl, f"net.bridge.bridge-nf-call-iptables={value}")
        assert await web.ask(OUTSIDE_HOST, 8080) == net.gateway


def _open(path: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write("1")


def _sysctl(assignment: str) -> None:
    subprocess.run(["sysctl", "-q", "-w", assignment], check=False)
