"""Values of the engine's other use cases: events, volumes, networks, and explained steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened: Docker's type ("container"), action ("start"), the object's id and its attributes."""

    type: str
    action: str
    id: str
    at: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeView:
    """A named volume; `size` and `references` are -1 unless they were asked for."""

    name: str
    driver: str
    mountpoint: str
    created: int
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] | None = None
    anonymous: bool = False
    size: int = -1
    references: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkEndpoint:
    """A container on a network, as network inspect lists it; addresses with their prefix length."""

    container_id: str
    name: str
    endpoint_id: str
    mac: str
    ipv4: str
    ipv6: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkView:
    """A network: `driver` is "bridge", "host" or "null"; `ranges` are (subnet, gateway, part that is given out, reserved)."""

    id: str
    name: str
    driver: str
    created: int
    scope: str = "local"
    internal: bool = False
    attachable: bool = False
    ipv4: bool = True
    ipv6: bool = False
    config_only: bool = False
    config_from: str = ""
    ranges: tuple[tuple[str, str, str, Mapping[str, str]], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    ipam_options: Mapping[str, str] | None = None
    endpoints: tuple[NetworkEndpoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One explained step: what was done in which room, why, how long it took (nanoseconds), which kernel objects it made."""

    room: str
    name: str
    reason: str
    at: int = 0
    duration: int = 0
    objects: Mapping[str, str] = field(default_factory=dict)
