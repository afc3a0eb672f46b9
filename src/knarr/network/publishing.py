"""Decides at which addresses of the host a port is published, in Docker's way. Pure.

A wish without an address means every address of both families, or the network's own choice (`host_binding_ipv4`). A family
that is routed publishes nothing on the host: the container's port is open at its own address instead (host port 0).
"""

from dataclasses import dataclass

from knarr.network.config import ROUTED, NetworkConfig

_ANY = ("", "0.0.0.0")


@dataclass(frozen=True, slots=True)
class Hosts:
    """For one endpoint: which families it has, and which the host has."""

    config: NetworkConfig
    four: bool
    six: bool
    host_six: bool

    def of(self, asked: str) -> tuple[str, ...]:
        """The addresses of the host that a wish means."""
        if asked:
            return () if ":" not in asked and not self.four else (asked,)
        if self.config.binding not in (*_ANY, "::"):
            return (self.config.binding,) if self.four or ":" in self.config.binding else ()
        every = ("::",) if self.host_six else ()
        return ("0.0.0.0", *every) if self.four and self.config.binding != "::" else every

    def routed(self, address: str) -> bool:
        """Whether a port at this address of the host is none of the host's."""
        six = ":" in address
        mode = self.config.mode6 if six else self.config.mode4
        return mode == ROUTED and (self.six if six else self.four)
