"""Layers and a configuration become an archive that is docker's and an OCI layout at once; the same input, the same bytes."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from isal import isal_zlib

from knarr.model.descriptor import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_INDEX
from knarr.model.digest import Digest
from knarr.model.platform import Platform
from knarr.model.reference import Reference

_CHUNK = 1 << 20
_LEVEL = 2


class Layer(NamedTuple):
    """A layer compressed in `path`; `created_by` tells where it is from."""

    path: Path
    diff: Digest
    digest: Digest
    size: int
    created_by: str


class Written(NamedTuple):
    """The image's id and its manifest's digest."""

    image: Digest
    manifest: Digest


def compress(tar: Path, target: Path, created_by: str) -> Layer:
    """A plain layer tar becomes a gzip one."""
    plain, packed, size = hashlib.sha256(), hashlib.sha256(), 0
    compressor = isal_zlib.compressobj(_LEVEL, wbits=31)
    with tar.open("rb") as source, target.open("wb") as sink:
        for data, last in _pieces(source):
            plain.update(data)
            out = compressor.compress(data) + (compressor.flush() if last else b"")
            packed.update(out)
            size += len(out)
            sink.write(out)
    return Layer(target, _digest(plain.hexdigest()), _digest(packed.hexdigest()), size, created_by)


def _pieces(source: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    data = source.read(_CHUNK)
    while data:
        following = source.read(_CHUNK)
        yield data, not following
        data = following


def _digest(hexadecimal: str) -> Digest:
    return Digest("sha256", hexadecimal)


def write(
    archive: Path,
    name: str,
    layers: Sequence[Layer],
    config: dict[str, Any],
    platform: Platform,
    created: int,
) -> Written:
    """`created` is in seconds."""
    moment = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = _json(
        {
            "architecture": platform.architecture,
            **({"variant": platform.variant} if platform.variant else {}),
            "config": config,
            "created": moment,
            "history": [{"created": moment, "created_by": layer.created_by} for layer in layers],
            "os": platform.os,
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff) for layer in layers]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": _entry(DOCKER_CONFIG, Digest.of(document), len(document)),
            "layers": [_entry(DOCKER_LAYER_GZIP, layer.digest, layer.size) for layer in layers],
        }
    )
    small = {_blob(Digest.of(document)): document, _blob(Digest.of(manifest)): manifest}
    small |= _frame(Reference.parse(name).tagged(), document, manifest, layers)
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path, data in sorted(small.items()):
            tar.addfile(_member(path, len(data)), io.BytesIO(data))
        for path, layer in sorted((_blob(layer.digest), layer) for layer in layers):
            with layer.path.open("rb") as source:
                tar.addfile(_member(path, layer.size), source)
    return Written(Digest.of(document), Digest.of(manifest))


def _frame(ref: Reference, config: bytes, manifest: bytes, layers: Sequence[Layer]) -> dict[str, bytes]:
    """The documents that lead to the blobs."""
    entry = _entry(DOCKER_MANIFEST, Digest.of(manifest), len(manifest))
    entry["annotations"] = {
        "io.containerd.image.name": str(ref),
        "org.opencontainers.image.ref.name": ref.tag or "",
    }
    listed = {
        "Config": _blob(Digest.of(config)),
        "RepoTags": [ref.familiar],
        "Layers": [_blob(layer.digest) for layer in layers],
    }
    return {
        "index.json": _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}),
        "manifest.json": _json([listed]),
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
    }


def _entry(media_type: str, digest: Digest, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "size": size, "digest": str(digest)}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _blob(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _member(path: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.size = size
    return member
