"""EXPOSE: `[ip:][host:]port[-port][/protocol]`, of which only ports and protocol count."""

import ipaddress
from collections.abc import Callable

from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import parse_int, quote

_HIGHEST = 65535


def parse_port(text: str, odd_casing: Callable[[str], None], odd_format: Callable[[str], None]) -> list[str]:
    """`8000-8001/TCP` as `8000/tcp`, `8001/tcp`; the functions are told of forms that checks warn of."""
    ip, host, container = _split(text)
    container, protocol = _protocol(container, text)
    if protocol != protocol.lower():
        odd_casing(text)
    if ip or host:
        odd_format(text)
    _check_ip(ip)
    ports = _range(container)
    if ports is None:
        raise DockerfileError(f"invalid containerPort: {container}")
    if host:
        _check_host(host, container, ports)
    return [f"{port}/{protocol.lower()}" for port in ports]


def _split(text: str) -> tuple[str, str, str]:
    parts = text.split(":")
    container, host = parts[-1], parts[-2] if len(parts) > 1 else ""
    return ":".join(parts[:-2]), host, container


def _protocol(container: str, text: str) -> tuple[str, str]:
    port, _, protocol = container.partition("/")
    if not port:
        raise DockerfileError(f"invalid port: {quote(text)}: no port specified")
    if protocol.lower() not in ("", "tcp", "udp", "sctp"):
        raise DockerfileError(f"invalid port: {quote(text)}: invalid proto: {protocol}")
    return port, protocol or "tcp"


def _check_ip(ip: str) -> None:
    if not ip:
        return
    bare = ip
    if ip.startswith("["):
        if not ip.endswith("]"):
            raise DockerfileError(f"invalid IP address {ip}: address {ip}:: missing ']' in address")
        bare = ip[1:-1]
    try:
        ipaddress.ip_address(bare.partition("%")[0] if "%" not in bare else "")
    except ValueError:
        raise DockerfileError(f"invalid IP address: {bare}") from None


def _check_host(host: str, container: str, ports: range) -> None:
    hosts = _range(host)
    if hosts is None:
        raise DockerfileError(f"invalid hostPort: {host}")
    if len(hosts) != len(ports) != 1:
        raise DockerfileError(
            f"invalid ranges specified for container and host Ports: {container} and {host}"
        )


def _range(text: str) -> range | None:
    first, dash, last = text.partition("-")
    start = _number(first)
    end = _number(last) if dash and first != last else start
    if start is None or end is None or end < start:
        return None
    return range(start, end + 1)


def _number(text: str) -> int | None:
    port = parse_int(text)
    return port if port is not None and 0 <= port <= _HIGHEST else None
