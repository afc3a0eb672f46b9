"""Results as an archive: an OCI layout, and with docker's `manifest.json` one that every `docker load` reads.

Nothing of it is stored here but the layers, which are here already. The same results give the same bytes.
"""

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from knarr.build.tree import Tree
from knarr.engine.images.config import dump_json
from knarr.engine.images.manifest import config_descriptor, dump_index, dump_manifest
from knarr.engine.images.rooms import Rooms
from knarr.engine.images.saving import archive
from knarr.model.descriptor import OCI_INDEX, OCI_MANIFEST, Descriptor
from knarr.model.digest import Digest
from knarr.model.platform import Platform
from knarr.model.reference import Reference

Members = Mapping[str, "bytes | Digest | None"]


class Part(NamedTuple):
    """One platform's image."""

    platform: Platform
    config: bytes
    tree: Tree


class Layout(NamedTuple):
    """What goes into the archive, and the descriptor of the whole."""

    members: Members
    top: Descriptor
    config: Digest | None

    def told(self) -> Mapping[str, str]:
        """BuildKit's exporter response."""
        value = {"mediaType": self.top.media_type, "digest": str(self.top.digest), "size": self.top.size}
        told = {
            "containerimage.digest": str(self.top.digest),
            "containerimage.descriptor": base64.b64encode(dump_json(value)).decode(),
        }
        if self.config is not None:
            told["containerimage.config.digest"] = str(self.config)
        return told


def layout(parts: Sequence[Part], names: Sequence[Reference], *, multi: bool, docker: bool) -> Layout:
    """`multi`: the images are in an index, whatever their number."""
    blobs: dict[Digest, bytes | Digest] = {}
    entries = []
    for part in parts:
        layers = [layer.blob for layer in part.tree.layers]
        document = dump_manifest(config_descriptor(part.config), layers)
        entry = Descriptor(OCI_MANIFEST, Digest.of(document), len(document))
        entries.append(entry._replace(platform=part.platform))
        blobs |= {entry.digest: document, Digest.of(part.config): part.config}
        blobs |= {layer.digest: layer.digest for layer in layers}
    top = entries[0]
    if multi:
        document = dump_index(entries)
        top = Descriptor(OCI_INDEX, Digest.of(document), len(document))
        blobs[top.digest] = document
    members: dict[str, bytes | Digest | None] = {"blobs/": None, "blobs/sha256/": None}
    members |= {_path(digest): blobs[digest] for digest in sorted(blobs)}
    members["index.json"] = dump_index(_named(top, names))
    if docker:
        members["manifest.json"] = _manifest(parts[0], names)
    members["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    return Layout(members, top, None if multi else Digest.of(parts[0].config))


def stream(rooms: Rooms, made: Layout) -> AsyncIterator[bytes]:
    """The archive's bytes."""
    return archive(rooms, made.members)


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _named(top: Descriptor, names: Sequence[Reference]) -> list[Descriptor]:
    if not names:
        return [top]
    return [
        top._replace(
            annotations={
                "io.containerd.image.name": str(name),
                "org.opencontainers.image.ref.name": name.tag or "",
            }
        )
        for name in names
    ]


def _manifest(part: Part, names: Sequence[Reference]) -> bytes:
    return dump_json(
        [
            {
                "Config": _path(Digest.of(part.config)),
                "RepoTags": [name.familiar for name in names] or None,
                "Layers": [_path(layer.blob.digest) for layer in part.tree.layers],
            }
        ]
    )
