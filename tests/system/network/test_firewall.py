"""Published ports where the host has a firewall of its own: its input rules decide, and the client's address stays."""

import asyncio
import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from knarr.network.bridge import Bridge
from tests.support.host import wait_for
from tests.system.network.world import (
    OUTSIDE,
    OUTSIDE6,
    OUTSIDE_HOST,
    OUTSIDE_HOST6,
    World,
    ask,
    config,
    isolated,
    nft,
    wish,
)

_DENY = """
table inet fw {
    set allowed { type inet_service; }
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname "lo" accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        meta l4proto { tcp, udp } th dport @allowed accept
    }
}
"""


@contextlib.asynccontextmanager
async def obeying() -> AsyncIterator[World]:
    """A world whose bridge obeys."""
    world = World(Bridge(obey=True))
    try:
        yield world
    finally:
        world.bridge.close()


def _load(rules: str) -> None:
    nft("-f", "/dev/stdin", text=rules)


async def _until_obeyed(table: str, *, obeyed: bool = True) -> None:
    """The daemon hears of the host's rules and changes its own."""
    await asyncio.to_thread(
        wait_for,
        lambda: ("log group" in nft("list", "table", "ip", table)) is obeyed,
        f"{table} obeys: {obeyed}",
    )


@isolated
async def test_a_port_that_the_host_refuses_is_closed_until_the_host_opens_it() -> None:
    async with obeying() as world:
        net = config()
        await world.bridge.ensure(net)
        box, _ = await world.container(net, wish("80", 8080), wish("53/udp", 5353))
        box.serve(80)
        box.serve(53, "udp")
        assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE
        _load(_DENY)
        await _until_obeyed(net.table)
        assert await world.outside.silent(OUTSIDE_HOST, 8080)
        assert await world.outside.silent(OUTSIDE_HOST, 5353, "udp")
        nft("add", "element", "inet", "fw", "allowed", "{ 8080, 5353 }")
        assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE
        assert await world.outside.ask(OUTSIDE_HOST, 5353, "udp") == OUTSIDE
        nft("delete", "element", "inet", "fw", "allowed", "{ 8080 }")
        assert await world.outside.silent(OUTSIDE_HOST, 8080)
        nft("delete", "table", "inet", "fw")
        await _until_obeyed(net.table, obeyed=False)
        assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE


@isolated
async def test_the_host_itself_and_other_containers_reach_what_is_published() -> None:
    async with obeying() as world:
        _load(_DENY)
        nft("add", "element", "inet", "fw", "allowed", "{ 8080 }")
        net = config()
        await world.bridge.ensure(net)
        await _until_obeyed(net.table)
        box, plan = await world.container(net, wish("80", 8080))
        other, at = await world.container(net)
        box.serve(80)
        assert await asyncio.to_thread(ask, "127.0.0.1", 8080) == net.gateway
        assert await other.ask(net.gateway, 8080) in (net.gateway, at.address)
        assert await other.ask(plan.address, 80) == at.address


@isolated
async def test_a_rule_for_one_client_is_a_rule_for_one_client() -> None:
    async with obeying() as world:
        _load(_DENY)
        net = config()
        await world.bridge.ensure(net)
        await _until_obeyed(net.table)
        box, _ = await world.container(net, wish("80", 8080))
        box.serve(80)
        nft(
            "add",
            "rule",
            "inet",
            "fw",
            "input",
            "ip",
            "saddr",
            "203.0.113.9",
            "tcp",
            "dport",
            "8080",
            "accept",
        )
        assert await world.outside.silent(OUTSIDE_HOST, 8080)
        nft("add", "rule", "inet", "fw", "input", "ip", "saddr", OUTSIDE, "tcp", "dport", "8080", "accept")
        assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE


@isolated
async def test_told_to_bypass_it_opens_the_port() -> None:
    world = World()
    _load(_DENY)
    net = config()
    await world.bridge.ensure(net)
    box, _ = await world.container(net, wish("80", 8080))
    box.serve(80)
    assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE
    assert "log group" not in nft("list", "table", "ip", net.table)
    world.bridge.close()


@isolated
async def test_a_host_that_only_forbids_to_forward_is_obeyed_as_it_is() -> None:
    async with obeying() as world:
        _load("table inet fw { chain fw { type filter hook forward priority filter; policy drop; }; }")
        net = config()
        await world.bridge.ensure(net)
        box, _ = await world.container(net, wish("80", 8080))
        box.serve(80)
        assert await world.outside.silent(OUTSIDE_HOST, 8080)
        nft("add", "rule", "inet", "fw", "fw", "ct", "status", "dnat", "accept")
        nft("add", "rule", "inet", "fw", "fw", "ct", "state", "established", "accept")
        assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE


@isolated
async def test_ipv6_is_no_way_round() -> None:
    async with obeying() as world:
        _load(_DENY)
        net = config(subnet6="fd00:210:1::/64", gateway6="fd00:210:1::1")
        await world.bridge.ensure(net)
        await _until_obeyed(net.table)
        box, _ = await world.container(net, wish("80", 8080), address6="fd00:210:1::9")
        box.serve(80)
        assert await world.outside.silent(OUTSIDE_HOST6, 8080)
        nft("add", "element", "inet", "fw", "allowed", "{ 8080 }")
        assert await world.outside.ask(OUTSIDE_HOST6, 8080) == OUTSIDE6
        assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE


class Ufw:
    """Debian's ufw with a configuration of its own."""

    def __init__(self, root: Path) -> None:
        for name in ("etc/ufw", "usr/share/ufw", "lib/ufw"):
            source = next(path for path in (Path("/", name), Path("/usr", name)) if path.exists())
            shutil.copytree(source, root / name, symlinks=True)
        (root / "etc/default").mkdir()
        shutil.copy("/etc/default/ufw", root / "etc/default/ufw")
        self._root = root

    def __call__(self, *words: str) -> None:
        where = (f"--rootdir={self._root}", f"--datadir={self._root}")
        subprocess.run(["ufw", *where, *words], check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def ufw() -> Iterator[Ufw]:
    """It, enabled: everything that comes in is denied."""
    with tempfile.TemporaryDirectory(prefix="ufw-") as root:
        found = Ufw(Path(root))
        found("--force", "enable")
        yield found


@isolated
async def test_ufw_decides_about_published_ports() -> None:
    async with obeying() as world:
        net = config()
        await world.bridge.ensure(net)
        box, _ = await world.container(net, wish("80", 8080))
        box.serve(80)
        assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE
        with ufw() as command:
            await _until_obeyed(net.table)
            assert await world.outside.silent(OUTSIDE_HOST, 8080)
            command("allow", "8080/tcp")
            assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE
            command("delete", "allow", "8080/tcp")
            assert await world.outside.silent(OUTSIDE_HOST, 8080)
            command("allow", "from", OUTSIDE, "to", "any", "port", "8080", "proto", "tcp")
            assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE


@isolated
async def test_told_to_bypass_it_goes_past_ufw() -> None:
    world = World()
    net = config()
    with ufw():
        await world.bridge.ensure(net)
        box, _ = await world.container(net, wish("80", 8080))
        box.serve(80)
        assert await world.outside.ask(OUTSIDE_HOST, 8080) == OUTSIDE
        await world.bridge.teardown(net)
        assert net.table not in nft("list", "ruleset")
    world.bridge.close()
