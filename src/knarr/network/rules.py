"""The firewall table of one bridge, as nft text. Pure.

Every network has its own table. In Docker's it uses the one chain that Docker leaves to others, DOCKER-USER: with a
forward policy of drop, which dockerd may set, an accept in our table alone would not be enough. Loading the text again replaces the rules in one
transaction and keeps the elements, so nothing that is published stops for a moment.
"""

from collections.abc import Iterator

from knarr.network.plan import NetworkConfig

SETS = ("endpoints", "published", "published_at")
_LOOPBACK = "127.0.0.0/8"
_DECLARATIONS = """\
add table ip {table}
add set ip {table} endpoints {{ type ipv4_addr; }}
add map ip {table} published {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
add map ip {table} published_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
add chain ip {table} publish
add chain ip {table} guard {{ type filter hook prerouting priority raw; policy accept; }}
add chain ip {table} prerouting {{ type nat hook prerouting priority dstnat; policy accept; }}
add chain ip {table} output {{ type nat hook output priority -100; policy accept; }}
add chain ip {table} postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}
add chain ip {table} forward {{ type filter hook forward priority filter; policy accept; }}
flush table ip {table}
"""


def ruleset(config: NetworkConfig) -> str:
    """The whole table; can be run on nothing and on itself."""
    lines = [_DECLARATIONS.format(table=config.table)]
    lines += [f"add rule ip {config.table} {chain} {rule}\n" for chain, rule in _rules(config)]
    return "".join(lines)


def count(config: NetworkConfig) -> int:
    """How many rules the whole table has."""
    return sum(1 for _ in _rules(config))


def delete(config: NetworkConfig) -> str:
    """Removes the table; can be run when there is none."""
    return f"add table ip {config.table}\ndelete table ip {config.table}\n"


def change(verb: str, table: str, pairs: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> str:
    """One "add" or "delete" command for each (set, element)."""
    return "".join(f"{verb} element ip {table} {name} {{ {element} }}\n" for name, element in pairs)


def _rules(config: NetworkConfig) -> Iterator[tuple[str, str]]:
    bridge, subnet = f'"{config.bridge}"', config.subnet
    transport = "meta l4proto { tcp, udp, sctp }"
    yield "publish", f"{transport} dnat ip to ip daddr . meta l4proto . th dport map @published_at"
    yield "publish", f"{transport} dnat ip to meta l4proto . th dport map @published"
    # route_localnet (needed for 127.0.0.1:port on the host) would open the host's loopback to the containers.
    yield "guard", f"iifname {bridge} ip daddr {_LOOPBACK} drop"
    yield "prerouting", "fib daddr type local jump publish"
    yield "output", "fib daddr type local jump publish"
    yield "postrouting", f"oifname {bridge} ip saddr {_LOOPBACK} masquerade"
    yield "postrouting", f"oifname {bridge} ip saddr {subnet} ct status dnat masquerade"
    if config.masquerade and not config.internal:
        yield "postrouting", f"oifname != {bridge} ip saddr {subnet} masquerade"
    yield from (("forward", rule) for rule in _forward(config, bridge))


def _forward(config: NetworkConfig, bridge: str) -> Iterator[str]:
    if config.internal:
        yield f"iifname {bridge} oifname != {bridge} drop"
        yield f"iifname != {bridge} oifname {bridge} drop"
    yield f"oifname {bridge} ct state established,related accept"
    yield f"oifname {bridge} ct status dnat accept"
    yield f"iifname {bridge} oifname {bridge} {'accept' if config.icc else 'drop'}"
    # What is not published stays closed to other bridges and to hosts that route to the subnet.
    yield f"oifname {bridge} drop"
    yield f"iifname {bridge} accept"


def docker_user(config: NetworkConfig) -> list[str]:
    """Rules for Docker's chain, so that its forward policy lets this bridge be."""
    mark = f'accept comment "{config.table}"'
    return [
        f'insert rule ip filter DOCKER-USER {side} "{config.bridge}" {mark}\n'
        for side in ("iifname", "oifname")
    ]
