"""The firewall tables of one bridge, as nft text: one of each family that the network has. Pure.

Every network has its own tables. In Docker's they use the one chain that Docker leaves to others, DOCKER-USER: with a
forward policy of drop, which dockerd may set, an accept in our table alone would not be enough. Loading the text again
replaces the rules in one transaction and keeps the elements, so nothing that is published stops for a moment.

`group` is not 0 where the host's own firewall is obeyed: see `admission` and docs/decisions/0011.
"""

from collections.abc import Iterable, Iterator

from knarr.network.config import ISOLATED, NAT, ROUTED, UNPROTECTED, NetworkConfig
from knarr.network.plan import Element

SETS = ("endpoints", "published", "published_at", "exposed", "exposed_at", "open")
_LOOPBACK = "127.0.0.0/8"
_TRANSPORT = "meta l4proto { tcp, udp, sctp }"
_IN_ITS_MIDDLE = "tcp flags & (syn | ack) != syn return"
"""A connection that tracking sees for the first time in its middle, as when the rules come back, is whole as it is."""
_DECLARATIONS = """\
add table {family} {table}
add set {family} {table} endpoints {{ type {address}; }}
add map {family} {table} published {{ type inet_proto . inet_service : {address} . inet_service; }}
add map {family} {table} published_at {{ type {address} . inet_proto . inet_service : {address} . inet_service; }}
add set {family} {table} exposed {{ type inet_proto . inet_service; }}
add set {family} {table} exposed_at {{ type {address} . inet_proto . inet_service; }}
add set {family} {table} open {{ type {address} . inet_proto . inet_service; }}
add chain {family} {table} publish
add chain {family} {table} guard {{ type filter hook prerouting priority raw; policy accept; }}
add chain {family} {table} prerouting {{ type nat hook prerouting priority dstnat; policy accept; }}
add chain {family} {table} admit {{ type filter hook input priority 290; policy accept; }}
add chain {family} {table} output {{ type nat hook output priority -100; policy accept; }}
add chain {family} {table} postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}
add chain {family} {table} forward {{ type filter hook forward priority filter; policy accept; }}
flush table {family} {table}
"""


def families(config: NetworkConfig) -> tuple[str, ...]:
    """The families whose tables a network has."""
    return (*(("ip",) if config.subnet else ()), *(("ip6",) if config.subnet6 else ()))


def ruleset(config: NetworkConfig, group: int = 0) -> str:
    """The whole tables; can be run on nothing and on itself."""
    lines = []
    for family in families(config):
        address = "ipv6_addr" if family == "ip6" else "ipv4_addr"
        lines.append(_DECLARATIONS.format(family=family, table=config.table, address=address))
        lines += [
            f"add rule {family} {config.table} {chain} {rule}\n"
            for chain, rule in _rules(config, family, group)
        ]
    return "".join(lines)


def count(config: NetworkConfig, group: int = 0) -> int:
    """How many rules the whole tables have."""
    return sum(1 for family in families(config) for _ in _rules(config, family, group))


def delete(config: NetworkConfig) -> str:
    """Removes the tables; can be run when there are none."""
    return "".join(
        f"add table {family} {config.table}\ndelete table {family} {config.table}\n"
        for family in families(config)
    )


def change(verb: str, table: str, elements: Iterable[Element]) -> str:
    """One "add" or "delete" command for each element."""
    return "".join(
        f"{verb} element {each.family} {table} {each.set} {{ {each.text} }}\n" for each in elements
    )


def _rules(config: NetworkConfig, family: str, group: int) -> Iterator[tuple[str, str]]:
    six = family == "ip6"
    bridge = f'"{config.bridge}"'
    subnet, mode = (config.subnet6, config.mode6) if six else (config.subnet, config.mode4)
    # A link's own addresses cannot be forwarded, nor ::1: what is sent to these reaches the daemon's relay.
    local = f"{family} daddr != {{ ::1, fe80::/10 }} fib daddr type local" if six else "fib daddr type local"
    yield "publish", _IN_ITS_MIDDLE
    yield (
        "publish",
        f"{_TRANSPORT} dnat {family} to {family} daddr . meta l4proto . th dport map @published_at",
    )
    yield "publish", f"{_TRANSPORT} dnat {family} to meta l4proto . th dport map @published"
    if not six:
        # route_localnet (needed for 127.0.0.1:port on the host) would open the host's loopback to the containers.
        yield "guard", f"iifname {bridge} ip daddr {_LOOPBACK} drop"
        yield "postrouting", f"oifname {bridge} ip saddr {_LOOPBACK} masquerade"
    if group:
        yield from (("admit", rule) for rule in _admission(family, local, group))
    else:
        yield "prerouting", f"{local} jump publish"
    yield "output", f"{local} jump publish"
    yield "postrouting", f"oifname {bridge} {family} saddr {subnet} ct status dnat masquerade"
    if config.masquerade and not config.internal and mode in (NAT, UNPROTECTED):
        yield "postrouting", f"oifname != {bridge} {family} saddr {subnet} masquerade"
    yield from (("forward", rule) for rule in _forward(config, family, bridge, mode))


def _admission(family: str, local: str, group: int) -> Iterator[str]:
    """What the host's own rules let in is sent on by the daemon (`admission`), which hears of it here."""
    sent_on = f"log group {group} drop"
    yield f"ct state new {_IN_ITS_MIDDLE}"
    yield f"ct state new {local} {_TRANSPORT} {family} daddr . meta l4proto . th dport @exposed_at {sent_on}"
    yield f"ct state new {local} {_TRANSPORT} meta l4proto . th dport @exposed {sent_on}"


def _forward(config: NetworkConfig, family: str, bridge: str, mode: str) -> Iterator[str]:
    if config.internal:
        yield f"iifname {bridge} oifname != {bridge} drop"
        yield f"iifname != {bridge} oifname {bridge} drop"
    yield f"oifname {bridge} ct state established,related accept"
    yield f"oifname {bridge} ct status dnat accept"
    yield f"iifname {bridge} oifname {bridge} {'accept' if config.icc else 'drop'}"
    opened = f"{family} daddr . meta l4proto . th dport @open accept"
    if mode == ROUTED:
        yield f"oifname {bridge} {_TRANSPORT} {opened}"
        yield f"oifname {bridge} meta l4proto {'ipv6-icmp' if family == 'ip6' else 'icmp'} accept"
    elif config.trusted:
        links = ", ".join(f'"{name}"' for name in config.trusted)
        yield f"iifname {{ {links} }} oifname {bridge} {_TRANSPORT} {opened}"
    # What is not published stays closed to other bridges and to hosts that route to the subnet.
    yield f"oifname {bridge} {'accept' if mode == UNPROTECTED else 'drop'}"
    yield f"iifname {bridge} accept"


def with_address(config: NetworkConfig) -> bool:
    """Whether the bridge has the IPv4 gateway's address itself."""
    return bool(config.gateway) and not config.inhibit and config.mode4 != ISOLATED


def host_chains(config: NetworkConfig, chain: str, family: str) -> list[str]:
    """Rules for a chain of the host's, so that its forward policy lets this bridge be."""
    mark = f'accept comment "{config.table}"'
    return [
        f'insert rule {family} filter {chain} {side} "{config.bridge}" {mark}\n'
        for side in ("iifname", "oifname")
    ]
