"""macvlan and ipvlan: containers on a link of the host's own. Kinds that this kernel lacks are skipped."""

import subprocess
from typing import Any

import pytest

from knarr.kernel.netlink import codec, route
from knarr.network.config import NetworkConfig, Subnet, dummy_name
from knarr.network.errors import ParentMissing
from knarr.network.plan import EndpointPlan, plan_endpoint
from tests.system.network.world import SKIPPED, Namespace, World, isolated, links

KEY = "0123456789abcdef" * 4


def kinds(*wanted: str) -> bool:
    """Whether the kernel has these kinds of links."""
    for kind in wanted:
        words = {"vlan": ["link", "lo", "type", "vlan", "id", "5"], "dummy": ["type", "dummy"]}
        made = subprocess.run(
            ["ip", "link", "add", "ktprobe", *words.get(kind, ["link", "ktnout", "type", kind])],
            check=False,
            capture_output=True,
            text=True,
        )
        subprocess.run(["ip", "link", "delete", "ktprobe"], check=False, capture_output=True)
        if made.returncode != 0 and "Unknown device type" in made.stderr:
            print(f"{SKIPPED}this kernel has no {kind}")
            return False
    return True


def net(driver: str = "macvlan", **options: Any) -> NetworkConfig:
    values: dict[str, Any] = {
        "bridge": "ktnout",
        "mode": "bridge" if driver == "macvlan" else "l2",
        "flag": "" if driver == "macvlan" else "bridge",
        "subnet": "10.210.200.0/24",
        "gateway": "10.210.200.2",
        "kept": True,
        **options,
    }
    return NetworkConfig(name="m", id=KEY, driver=driver, **values)


async def box(
    world: World, config: NetworkConfig, number: int, **options: Any
) -> tuple[Namespace, EndpointPlan]:
    namespace = Namespace()
    options.setdefault("address", f"10.210.200.{number}")
    plan = plan_endpoint(config, endpoint_id=f"{number:064x}"[::-1], **options)
    await world.bridge.attach(plan, namespace.fd, namespace.route)
    return namespace, plan


@isolated
async def test_macvlans_are_on_the_hosts_link() -> None:
    world, config = World(), net(subnet6="fd00:210:200::/64", gateway6="fd00:210:200::2")
    if not kinds("macvlan"):
        return
    await world.bridge.ensure(config)
    a, _ = await box(world, config, 10, address6="fd00:210:200::10")
    b, plan = await box(world, config, 11, address6="fd00:210:200::11")
    b.serve(80)
    world.outside.serve(80)
    assert await a.ask(plan.address, 80) == "10.210.200.10"
    assert await a.ask(plan.address6, 80) == "fd00:210:200::10"
    assert await a.ask("10.210.200.2", 80) == "10.210.200.10"
    assert await world.outside.ask(plan.address, 80) == "10.210.200.2"
    await world.bridge.detach(plan, b.route)
    assert await world.outside.silent(plan.address, 80)
    await world.bridge.detach(plan, b.route)


@isolated
async def test_private_macvlans_do_not_know_each_other() -> None:
    world, config = World(), net(mode="private")
    if not kinds("macvlan"):
        return
    await world.bridge.ensure(config)
    a, _ = await box(world, config, 10)
    b, plan = await box(world, config, 11)
    b.serve(80)
    assert await a.silent(plan.address, 80)
    assert await world.outside.ask(plan.address, 80) == "10.210.200.2"


@isolated
async def test_passthru_is_for_one() -> None:
    world, config = World(), net(mode="passthru")
    if not kinds("macvlan"):
        return
    await world.bridge.ensure(config)
    a, plan = await box(world, config, 10)
    with pytest.raises(ParentMissing, match="failed to create the macvlan port: invalid argument"):
        await box(world, config, 11)
    await world.bridge.detach(plan, a.route)
    await box(world, config, 11)


@isolated
async def test_an_endpoint_of_a_second_subnet() -> None:
    world, config = World(), net(more=(Subnet("10.211.0.0/24", "10.211.0.1"),))
    if not kinds("macvlan"):
        return
    await world.bridge.ensure(config)
    a, _ = await box(world, config, 10, address="10.211.0.7")
    assert "10.211.0.7" in a.addresses()
    found = list(route.parse_routes(codec.dump(a.route, route.get_routes())))
    assert [each.gateway for each in found if each.prefix == 0] == ["10.211.0.1"]


@isolated
async def test_parents_that_are_made_are_taken_away_by_their_last_network() -> None:
    world = World()
    if not kinds("macvlan", "vlan", "dummy"):
        return
    before = links()
    vlan, second = (
        net(bridge="ktnout.7", kept=False, subnet="10.9.0.0/24", gateway="10.9.0.1") for _ in "ab"
    )
    second = NetworkConfig(**{**vlan.to_dict(), "id": KEY[::-1], "mode": "private"})
    dummy = net(bridge=dummy_name("macvlan", KEY), kept=False, internal=True, gateway="")
    for each in (vlan, second):
        await world.bridge.ensure(each)
    assert "ktnout.7" in links()
    await world.bridge.teardown(vlan)
    assert "ktnout.7" in links()
    await world.bridge.teardown(second)
    await world.bridge.ensure(dummy)
    a, plan = await box(world, dummy, 10)
    b, other = await box(world, dummy, 11)
    b.serve(80)
    assert await a.ask(other.address, 80) == plan.address
    for namespace, place in ((a, plan), (b, other)):
        await world.bridge.detach(place, namespace.route)
    await world.bridge.teardown(dummy)
    assert links() == before


@isolated
async def test_what_cannot_be_a_parent() -> None:
    world = World()
    for name, words in (
        ("nope", "invalid subinterface vlan name nope, example formatting is eth0.10"),
        ("nope.5", "-o parent interface was not found on the host: nope"),
        ("ktnout.5000", "vlan id must be between 1-4094, received: 5000"),
        ("ktnout.x", "unable to parse a valid vlan id from: x"),
        ("ktnout.1.2", "required interface name format is: name.vlan_id"),
    ):
        with pytest.raises(ParentMissing, match=words):
            await world.bridge.ensure(net(bridge=name))


@isolated
async def test_ipvlans_have_their_parents_hardware_address() -> None:
    world, config = World(), net("ipvlan")
    if not kinds("ipvlan"):
        with pytest.raises(ParentMissing, match="failed to create the ipvlan port: operation not supported"):
            await box(world, config, 10)
        return
    await world.bridge.ensure(config)
    a, _ = await box(world, config, 10)
    b, plan = await box(world, config, 11)
    b.serve(80)
    assert await a.ask(plan.address, 80) == "10.210.200.10"
    assert await world.outside.ask(plan.address, 80) == "10.210.200.2"
    await world.bridge.detach(plan, b.route)
    assert await world.outside.silent(plan.address, 80)


@isolated
async def test_ipvlans_of_layer_three_route_by_their_link() -> None:
    await _routes_by_link("l3")


@isolated
async def test_ipvlans_of_layer_three_with_conntrack_route_by_their_link() -> None:
    await _routes_by_link("l3s")


async def _routes_by_link(mode: str) -> None:
    world, config = World(), net("ipvlan", mode=mode, subnet="10.9.0.0/24", gateway="")
    if not kinds("ipvlan"):
        return
    a, _ = await box(world, config, 10, address="10.9.0.10")
    b, plan = await box(world, config, 11, address="10.9.0.11")
    b.serve(80)
    assert await a.ask(plan.address, 80) == "10.9.0.10"
    found = list(route.parse_routes(codec.dump(a.route, route.get_routes())))
    assert [each.gateway for each in found if each.prefix == 0] == [""]
