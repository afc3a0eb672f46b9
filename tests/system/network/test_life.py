"""Endpoints and networks over time: nothing is left, nothing is lost, and what others broke is mended."""

import asyncio
import contextlib
import os
import socket
import subprocess

import pytest

from knarr.loop.blocking import blocking
from knarr.network.bridge import Bridge
from knarr.network.errors import PortTaken
from knarr.network.hostports import local_port_range
from tests.system.network.world import (
    OUTSIDE,
    OUTSIDE_HOST,
    PATIENCE,
    Namespace,
    World,
    ask,
    config,
    converse,
    isolated,
    links,
    nft,
    wish,
)


def free(port: int) -> bool:
    """Whether another program can have the port."""
    with socket.socket() as sock:
        try:
            sock.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


@isolated
async def test_detach_leaves_nothing_and_may_be_repeated() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    before = (links(), nft("list", "ruleset"))
    plans = []
    for number in range(3):
        bindings = wish("80", 8080 + number), wish("53/udp", 5300, f"127.0.0.{number + 1}")
        namespace, plan = await world.container(net, *bindings)
        assert plan.address in namespace.addresses()
        assert not free(8080 + number)
        plans.append(plan)
    for plan in plans:
        await world.bridge.detach(plan)
        await world.bridge.detach(plan)
    await world.bridge.settle()
    assert (links(), nft("list", "ruleset")) == before
    assert all(free(8080 + number) for number in range(3))


@isolated
async def test_detach_works_after_the_namespace_died() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    before = nft("list", "ruleset")
    namespace, plan = await world.container(net, wish("80", 8080))
    namespace.close()
    await world.bridge.detach(plan)
    await world.bridge.settle()
    assert nft("list", "ruleset") == before
    assert plan.veth not in links()


@isolated
async def test_a_failed_attach_leaves_nothing() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    before = (links(), nft("list", "ruleset"))
    namespace, plan = await world.container(net)
    await world.bridge.detach(plan)
    await world.bridge.settle()
    wrong = Namespace()
    with pytest.raises(OSError, match="eth0"):
        await world.bridge.attach(plan, namespace.fd, wrong.route)
    assert (links(), nft("list", "ruleset")) == before


@isolated
async def test_a_taken_port_is_refused_in_dockers_words_and_nothing_is_held() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    await world.container(net, wish("80", 8080))
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 9090))
        foreign.listen()
        prefix = "driver failed programming external connectivity on endpoint web \\(ee\\): "
        with pytest.raises(
            PortTaken, match=prefix + "Bind for 0.0.0.0:8080 failed: port is already allocated"
        ):
            await world.bridge.reserve(
                "ee", [wish("81", 8081), wish("80", 8080)], endpoint="web", config=config()
            )
        with pytest.raises(PortTaken, match=r"Bind for 127.0.0.1:8080 failed: port is already allocated"):
            await world.bridge.reserve("ee", [wish("80", 8080, "127.0.0.1")], endpoint="web", config=config())
        with pytest.raises(
            PortTaken, match=r"failed to bind host port 0.0.0.0:9090/tcp: address already in use"
        ):
            await world.bridge.reserve("ee", [wish("80", 9090)], endpoint="web", config=config())
        with pytest.raises(PortTaken, match="cannot assign requested address"):
            await world.bridge.reserve("ee", [wish("80", 9091, "10.9.9.9")], endpoint="web", config=config())
    assert free(8081)
    assert free(9091)
    assert await world.bridge.reserve("ee", [wish("80/udp", 8080)], endpoint="web", config=config())


@isolated
async def test_any_free_port_comes_from_the_local_range_and_skips_taken_ones() -> None:
    world = World()
    first, last = local_port_range()
    with socket.socket() as foreign:
        foreign.bind(("0.0.0.0", first))
        foreign.listen()
        bindings = [wish("80"), wish("81", 7000, "127.0.0.1", 7001), wish("82", 7000, "127.0.0.1", 7001)]
        facts = await world.bridge.reserve("ee", bindings, endpoint="web", config=config())
    any_port = facts[0].host_port
    assert first < any_port <= last
    assert {each.host_port for each in facts if each.port.number == 80} == {any_port}
    assert [each.host_port for each in facts if each.port.number != 80] == [7000, 7001]
    with pytest.raises(PortTaken, match="all ports are allocated"):
        await world.bridge.reserve(
            "ff", [wish("80", 7000, "127.0.0.1", 7001)], endpoint="web", config=config()
        )
    await world.bridge.release("ee")
    assert free(any_port)


@isolated
async def test_ensure_mends_a_flushed_firewall_for_the_living() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    web, _ = await world.container(net, wish("80", 8080))
    web.serve(80)
    await blocking(nft, "flush", "ruleset")
    assert await blocking(ask, "127.0.0.1", 8080) == net.gateway, "carried by the daemon meanwhile"
    await world.bridge.ensure(net)
    assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE


@isolated
async def test_what_the_daemon_carries_goes_on_when_the_firewall_is_mended() -> None:
    """Connection tracking sees it for the first time then, in its middle: it must not be translated."""
    world, net = World(), config()
    await world.bridge.ensure(net)
    web, _ = await world.container(net, wish("80", 8080))
    web.serve(80)
    nft("flush", "ruleset")
    # Connected before the loop hears of it, and mends.
    with socket.create_connection(("127.0.0.1", 8080), PATIENCE) as sock:
        await world.bridge.ensure(net)
        assert await blocking(converse, sock) == net.gateway


@isolated
async def test_attach_mends_a_flushed_firewall() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    web, _ = await world.container(net, wish("80", 8080))
    web.serve(80)
    await blocking(nft, "flush", "ruleset")
    world.outside.serve(443)
    other, _ = await world.container(net)
    assert await other.ask(OUTSIDE, 443) == OUTSIDE_HOST
    assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE


@isolated
async def test_attach_mends_a_removed_bridge() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    web, _ = await world.container(net, wish("80", 8080))
    web.serve(80)
    await blocking(subprocess.run, ["ip", "link", "del", net.bridge])
    other, _ = await world.container(net)
    assert await other.ask("10.210.1.2", 80) == "10.210.1.3"
    assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE


@isolated
async def test_a_new_daemon_takes_endpoints_up_again_and_sweeps_the_rest() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    web, plan = await world.container(net, wish("80", 8080))
    _, stray = await world.container(net, wish("80", 8081))
    web.serve(80)
    world.bridge.close()
    assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE, "nobody is needed to serve"
    bridge = Bridge()
    await bridge.ensure(net)
    await bridge.adopt(plan)
    removed = await bridge.sweep(net, {plan.endpoint_id})
    assert set(removed) == {
        stray.veth,
        f"endpoints {stray.address}",
        "published tcp . 8081",
        "exposed tcp . 8081",
    }
    assert await bridge.sweep(net, {plan.endpoint_id}) == ()
    assert stray.veth not in links()
    assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE
    with pytest.raises(PortTaken):
        await bridge.reserve("ee", [wish("80", 8080)], endpoint="web", config=config())


@isolated
async def test_teardown_removes_the_network() -> None:
    world, net = World(), config()
    before = (links(), nft("list", "ruleset"))
    await world.bridge.ensure(net)
    assert "10.210.1.0/24" in await world.bridge.host_subnets()
    await world.bridge.teardown(net)
    await world.bridge.teardown(net)
    assert (links(), nft("list", "ruleset")) == before


@isolated
async def test_a_changed_bip_replaces_the_address_and_the_rules() -> None:
    world, old = World(), config(1)
    await world.bridge.ensure(old)
    new = type(old).from_bip("ktn1", "ktn1", "10.210.7.1/24")
    await world.bridge.ensure(new)
    assert "10.210.1.0/24" not in await world.bridge.host_subnets()
    assert "10.210.1" not in nft("list", "table", "ip", new.table)
    world.outside.serve(443)
    inside, _ = await world.container(new)
    assert await inside.ask(OUTSIDE, 443) == OUTSIDE_HOST


@isolated
async def test_descriptors_are_given_back() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    kept, first = await world.container(net, wish("80", 8080))
    await world.bridge.detach(first)
    await world.bridge.settle()
    kept.close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        namespace, plan = await world.container(net, wish("80", 8080))
        await world.bridge.detach(plan)
        namespace.close()
    await world.bridge.settle()
    assert len(os.listdir("/proc/self/fd")) == before


@isolated
async def test_an_endpoint_can_come_back_at_once_in_the_same_namespace() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    namespace, plan = await world.container(net, wish("80", 8080))
    namespace.serve(80)
    for _ in range(3):
        await world.bridge.detach(plan)
        await world.bridge.reserve(plan.endpoint_id, [wish("80", 8080)], endpoint="web", config=config())
        await world.bridge.attach(plan, namespace.fd, namespace.route)
        assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE


@isolated
async def test_many_endpoints_come_and_go_at_once() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    before = (links(), nft("list", "ruleset"))
    made = await asyncio.gather(*(world.container(net, wish("80")) for _ in range(40)))
    assert len({each.host_port for _, plan in made for each in plan.published}) == 40
    await asyncio.gather(*(world.bridge.detach(plan) for _, plan in made))
    await world.bridge.settle()
    assert (links(), nft("list", "ruleset")) == before


@isolated
async def test_a_udp_client_that_goes_on_sending_reaches_the_next_container() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)

    def client() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(1)
        sock.connect((OUTSIDE_HOST, 5353))
        with contextlib.suppress(OSError):
            converse(sock, 0)
        return sock

    sock = await blocking(world.outside.run, client)
    for _ in range(2):
        server, plan = await world.container(net, wish("53/udp", 5353))
        server.serve(53, "udp")
        assert await blocking(converse, sock) == OUTSIDE
        await world.bridge.detach(plan)


@isolated
async def test_a_forward_policy_of_docker_is_no_hindrance() -> None:
    world, net = World(), config()
    docker = (
        "add table ip filter",
        "add chain ip filter DOCKER-USER",
        "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }",
        "add rule ip filter FORWARD jump DOCKER-USER",
    )
    await blocking(nft, "; ".join(docker))
    before = nft("list", "ruleset")
    for _ in range(2):
        await world.bridge.ensure(net)
    assert nft("list", "ruleset").count(f'accept comment "{net.table}"') == 2
    web, plan = await world.container(net, wish("80", 8080))
    web.serve(80)
    world.outside.serve(443)
    assert await web.ask(OUTSIDE, 443) == OUTSIDE_HOST
    assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE
    await world.bridge.detach(plan)
    await world.bridge.teardown(net)
    assert nft("list", "ruleset") == before


@isolated
async def test_a_flushed_firewall_is_mended_without_being_asked() -> None:
    world, net = World(), config()
    await world.bridge.ensure(net)
    web, _ = await world.container(net, wish("80", 8080))
    web.serve(80)
    for command in ("flush ruleset", f"flush table ip {net.table}", f"delete table ip {net.table}"):
        await blocking(nft, command)
        # Until it is mended the daemon carries the connection, under the bridge's address.
        for _ in range(PATIENCE * 100):
            with contextlib.suppress(ConnectionResetError):  # its rule came in the middle of the connection
                if await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE:
                    break
            await asyncio.sleep(0.01)
        else:
            pytest.fail(f"not mended after {command}")
    await world.bridge.teardown(net)
    assert net.table not in nft("list", "tables")
