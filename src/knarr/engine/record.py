"""What the engine keeps of a container: values that are rows in the state, and their JSON.

`Extra` is the engine's own column: what was decided at create and at start and is not part of the request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from knarr.engine.userns import NO_IDS, Ids
from knarr.model.container import ContainerSpec, ContainerState, MountPoint

# Who asked for a mount of a build's step.
STEP = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A mount decided: `source` is the host's path ("" for tmpfs), `name` the volume's, `image` the id of an image of layers
    `chain` that `snapshot` is a view of."""

    type: str
    target: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    writable: bool = True
    propagation: str = ""
    options: tuple[str, ...] = ()
    asked_by: str = "mounts"
    anonymous: bool = False
    subpath: str = ""
    shallow: bool = False
    deep: bool = False
    image: str = ""
    called: str = ""
    snapshot: str = ""
    chain: tuple[str, ...] = ()

    def point(self) -> MountPoint:
        """As inspect tells of it."""
        return MountPoint(
            type=self.type,
            name=self.name or self.called,
            source=f"{self.source}/{self.subpath}".rstrip("/") if self.subpath else self.source,
            target=self.target,
            driver=self.driver,
            mode=self.mode,
            writable=self.writable,
            propagation=self.propagation,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """`chain` are the layers, `endpoints` network.plan's plans of this life, `failures` the short lives in a row, `ids` the
    user namespace's mappings."""

    path: str
    args: tuple[str, ...]
    chain: tuple[str, ...]
    mounts: tuple[Placed, ...] = ()
    endpoints: tuple[Mapping[str, Any], ...] = ()
    failures: int = 0
    cgroup: str = ""
    ids: Ids = NO_IDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of `containers`."""

    id: str
    name: str
    created: int
    image: str
    spec: ContainerSpec
    state: ContainerState
    extra: Extra


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeValue:
    """The JSON column of `volumes`. `making_for` names what a half-made volume is being made for."""

    driver: str = "local"
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] | None = None
    anonymous: bool = False
    making_for: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """One IPAM configuration: `gateway` is "" where nobody has one. `asked`: a user chose the subnet (None: see `own_subnet`)."""

    subnet: str
    gateway: str
    within: str = ""
    reserved: Mapping[str, str] = field(default_factory=dict)
    gateway_asked: bool = False
    asked: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkValue:
    """The JSON column of `networks`. `own_subnet`: the user chose one, so addresses may be chosen, too. `bridge` is the bridge's or
    the parent link's name, `kept` whether it was there before and stays."""

    driver: str
    bridge: str
    ranges: tuple[Range, ...]
    own_subnet: bool = False
    ipv4: bool = True
    ipv6: bool = False
    kept: bool = False
    config_only: bool = False
    config_from: str = ""
    internal: bool = False
    attachable: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    ipam_options: Mapping[str, str] | None = None


def encode(value: object) -> str:
    """A value as JSON text."""
    return msgspec.json.encode(value).decode()


_spec = msgspec.json.Decoder(ContainerSpec)
_state = msgspec.json.Decoder(ContainerState)
_extra = msgspec.json.Decoder(Extra)
_volume = msgspec.json.Decoder(VolumeValue)
_network = msgspec.json.Decoder(NetworkValue)


def decode_row(values: tuple[Any, ...]) -> Row:
    """Reads (id, name, created, image, spec, state, extra)."""
    container_id, name, created, image, spec, state, extra = values
    return Row(
        id=container_id,
        name=name,
        created=created,
        image=image,
        spec=_spec.decode(spec),
        state=_state.decode(state),
        extra=_extra.decode(extra),
    )


def decode_volume(text: str) -> VolumeValue:
    """Reads the JSON column of `volumes`."""
    return _volume.decode(text)


def decode_network(text: str) -> NetworkValue:
    """Reads the JSON column of `networks`."""
    return _network.decode(text)
