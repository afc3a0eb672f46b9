"""The default network, as the daemon's settings have it: `--bridge`, `--bip`, `--ipv6` and their like.

What nobody chose is chosen once and kept in the state. Raises Invalid for settings that cannot be.
"""

from collections.abc import Mapping
from ipaddress import IPv6Network, ip_interface, ip_network

from knarr.engine import network_options, rows
from knarr.engine.nets import Net
from knarr.engine.settings import Settings
from knarr.engine.world import World
from knarr.model.errors import Invalid
from knarr.network import pools
from knarr.network.config import NetworkConfig


async def make(world: World, key: str, created: int) -> Net:
    """Sets the network up, with the id that the state has for it."""
    assert world.bridge is not None
    settings = world.settings
    config = NetworkConfig.from_bip(
        "bridge",
        settings.bridge,
        await _chosen(world, "bip", settings.bip, six=False),
        id=key,
        **({"subnet6": six[0], "gateway6": six[1]} if (six := await _six(world)) else {}),
        **options(settings),
    )
    for part in (settings.fixed_cidr, settings.fixed_cidr_v6 if six else ""):
        if part and not any(pools.within(part, each.subnet) for each in config.subnets):
            raise Invalid(f"fixed-cidr {part} is not inside a subnet of bridge {settings.bridge}")
    await world.bridge.ensure(config)
    return Net(key, "bridge", "bridge", created, config=config)


def options(settings: Settings) -> dict[str, object]:
    """--mtu, --icc and so on over `--default-network-opt bridge=…`."""
    defaults = network_options.read("bridge", settings.default_network_opts.get("bridge", {}))
    if settings.mtu:
        defaults["mtu"] = settings.mtu
    defaults["icc"] = defaults["icc"] and settings.icc
    defaults["masquerade"] = defaults["masquerade"] and settings.ip_masq
    defaults["binding"] = settings.host_ip or defaults["binding"]
    return defaults


def parts(settings: Settings, config: NetworkConfig) -> Mapping[str, str]:
    """By subnet, which part of it containers get (--fixed-cidr, --fixed-cidr-v6)."""
    given = filter(None, (settings.fixed_cidr, settings.fixed_cidr_v6))
    return {each.subnet: part for part in given for each in config.subnets if pools.within(part, each.subnet)}


async def _six(world: World) -> tuple[str, str] | None:
    """The IPv6 subnet and the bridge's address in it."""
    settings = world.settings
    if not settings.ipv6:
        return None
    text = settings.bip6
    if not text and settings.fixed_cidr_v6:
        text = _first(settings.fixed_cidr_v6)
    address = ip_interface(await _chosen(world, "bip6", text, six=True))
    if not isinstance(address.network, IPv6Network):
        raise Invalid(f"invalid IPv6 address: {text}")
    return str(address.network), str(address.ip)


def _first(subnet: str) -> str:
    try:
        network = ip_network(subnet)
    except ValueError as error:
        raise Invalid(f"invalid fixed-cidr-v6: {error}") from None
    return f"{network.network_address + 1}/{network.prefixlen}"


async def _chosen(world: World, name: str, given: str, *, six: bool) -> str:
    assert world.bridge is not None
    if given:
        try:
            ip_interface(given)
        except ValueError:
            raise Invalid(f"invalid CIDR address: {given}") from None
        return given
    known = await world.db.write(lambda tx: rows.setting(tx, f"bridge.{name}", ""))
    if known:
        return known
    spare = pools.with_six(world.settings.default_address_pools, world.daemon_id)
    subnet, gateway = pools.allocate(spare, (), await world.bridge.host_subnets(), six=six)
    fresh = f"{gateway}/{subnet.partition('/')[2]}"
    await world.db.write(lambda tx: rows.change_setting(tx, f"bridge.{name}", fresh))
    return fresh
