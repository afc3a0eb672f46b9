"""Ports of containers and where they are published on the host."""

from typing import NamedTuple

from knarr.model.errors import Invalid

PROTOCOLS = ("tcp", "udp", "sctp")


class Port(NamedTuple):
    """A container's port: `str()` gives docker's `80/tcp`."""

    number: int
    protocol: str = "tcp"

    @classmethod
    def parse(cls, text: str) -> "Port":
        """Reads `80` or `80/tcp`. Raises Invalid."""
        number, _, protocol = text.partition("/")
        protocol = protocol.lower() or "tcp"
        if not number.isascii() or not number.isdigit() or len(number) > 9 or not 0 < int(number) < 65536:
            raise Invalid(f"invalid port specification: {text!r}")
        if protocol not in PROTOCOLS:
            raise Invalid(f"invalid protocol: {protocol}")
        return cls(int(number), protocol)

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


class PortBinding(NamedTuple):
    """A wish: publish `port` at `host_ip` ("" is every address); `first`..`last` is the host range, 0 any free port."""

    port: Port
    host_ip: str = ""
    first: int = 0
    last: int = 0


class Published(NamedTuple):
    """A fact: `port` answers at `host_ip`:`host_port`."""

    port: Port
    host_ip: str
    host_port: int
