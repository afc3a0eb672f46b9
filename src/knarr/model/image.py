"""Images: the configuration that containers inherit, and what `images` and inspect tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from knarr.model.container import Healthcheck
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.platform import Platform
from knarr.model.ports import Port


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """The `config` object of an image (OCI image spec, config.md), parsed. None: the image does not say."""

    user: str = ""
    exposed_ports: tuple[Port, ...] = ()
    environment: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] | None = None
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()
    args_escaped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One step of an image's making; `created` in nanoseconds, `size` bytes of the layer it made."""

    created: int = 0
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False
    id: str = "<missing>"
    tags: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image of this store. `id` is its config's digest; `layers` are DiffIDs, lowest first; `manifest` the digest of
    the manifest it was pulled by, where there is one. `parent` is the image a local build or commit came from."""

    id: Digest
    platform: Platform
    config: ImageConfig
    layers: tuple[Digest, ...]
    created: int
    author: str = ""
    comment: str = ""
    docker_version: str = ""
    os_version: str = ""
    manifest: Digest | None = None
    parent: Digest | None = None


class ManifestView(NamedTuple):
    """What an image's manifest is, the bytes that are kept of it and of what it names, and the containers of the image; `size` its
    layers' unpacked. An attestation tells what it is `about`."""

    descriptor: Descriptor
    content: int
    users: tuple[str, ...] = ()
    size: int = 0
    about: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageView:
    """An image with its names: `tags` like `nginx:latest`, `digests` like `nginx@sha256:…`; sizes in bytes. `manifest` is told
    where it was asked for: of the index where there is one, then with its `members`."""

    image: Image
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    size: int = 0
    shared_size: int = -1
    containers: int = -1
    last_tagged: int = 0
    graph_data: Mapping[str, str] = field(default_factory=dict)
    manifest: ManifestView | None = None
    members: tuple[ManifestView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What removing an image did: one of the two is set."""

    untagged: str = ""
    deleted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One line of a long transfer, in the field names that docker's progress display reads.

    `id` names the layer or tag, `status` is Docker's word for the step; `current` and `total` are bytes, 0 where none.
    `aux` is Docker's machine-readable end line, such as `{"Tag": …, "Digest": …, "Size": …}`.
    """

    status: str = ""
    id: str = ""
    current: int = 0
    total: int = 0
    stream: str = ""
    aux: Mapping[str, object] | None = None
