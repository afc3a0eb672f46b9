"""--publish and --expose: [ip:][host[-range]:]container[-range][/protocol]."""

from collections.abc import Iterable
from typing import Any

from knarr.cli.common import refused


def _numbers(text: str, word: str, what: str) -> range:
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise refused(f"Invalid {what}: {word}")
    numbers = range(int(first), int(last or first) + 1)
    if not numbers or numbers[-1] > 65535:
        raise refused(f"Invalid {what}: {word}")
    return numbers


def exposed(words: Iterable[str]) -> dict[str, None]:
    """--expose words as ports with their protocols. Raises Failed."""
    found: dict[str, None] = {}
    for word in words:
        if ":" in word:
            raise refused(f"invalid port format for --expose: {word}")
        number, _, protocol = word.partition("/")
        first, _, last = number.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            wrong = last if first.isdigit() else first
            why = f'strconv.ParseUint: parsing "{wrong}": invalid syntax'
            raise refused(f"invalid range format for --expose: {word}, error: {why}")
        for port in _numbers(number, number, "containerPort"):
            found[f"{port}/{protocol or 'tcp'}"] = None
    return found


def _standard(word: str) -> str:
    """published=8080,target=80,protocol=tcp in the usual notation."""
    if "=" not in word:
        return word
    table = {"protocol": "tcp"}
    for part in word.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise refused(f"invalid publish opts format (should be name=value but got '{part}')")
        table[key] = value
    return f"{table.get('published', '')}:{table.get('target', '')}/{table['protocol']}"


def ports(words: Iterable[str]) -> tuple[dict[str, None], dict[str, list[dict[str, str]]]]:
    """-p words as exposed ports and bindings. Raises Failed."""
    opened: dict[str, None] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for word in map(_standard, words):
        for port, binding in _mappings(word):
            opened[port] = None
            bindings.setdefault(port, []).append(binding)
    return opened, bindings


def _mappings(word: str) -> Iterable[tuple[str, dict[str, Any]]]:
    address, _, protocol = word.partition("/")
    rest, _, container = address.rpartition(":")
    ip, host = "", rest
    if rest.startswith("["):
        ip, _, host = rest[1:].partition("]")
        host = host.removeprefix(":")
    elif ":" in rest:
        ip, _, host = rest.rpartition(":")
    if not container:
        raise refused(f"No port specified: {word}<empty>")
    if ip:
        _check_address(ip)
    protocol = (protocol or "tcp").lower()
    if protocol not in ("tcp", "udp", "sctp"):
        raise refused(f"Invalid proto: {protocol}")
    inside = _numbers(container, container, "containerPort")
    outside = [""] * len(inside) if not host else [str(port) for port in _numbers(host, host, "hostPort")]
    if len(inside) == 1 and len(outside) > 1:
        outside = [host]
    if len(outside) != len(inside):
        raise refused(f"Invalid ranges specified for container and host Ports: {container} and {host}")
    for port, bound in zip(inside, outside, strict=True):
        yield f"{port}/{protocol}", {"HostIp": ip, "HostPort": bound}


def _check_address(ip: str) -> None:
    import ipaddress

    if ":" in ip and ip.count(":") < 2:
        raise refused(f"Invalid ip address {ip}: address {ip}: too many colons in address")
    try:
        ipaddress.ip_address(ip)
    except ValueError:
        raise refused(f"Invalid ip address: {ip}") from None
