"""Images made of thin air, and how to put them into any registry: only the standard library, so that nothing of ours judges itself."""

import gzip
import hashlib
import http.client
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest(data: bytes) -> str:
    """`sha256:…`"""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer(files: Mapping[str, bytes]) -> bytes:
    """A tar with these files and the directories they need."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in sorted({str(parent) for path in files for parent in Path(path).parents} - {"."}):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def noise(seed: int, files: int, size: int) -> dict[str, bytes]:
    """Files that compress to about half, always the same for a seed."""
    source = random.Random(seed)
    half = size // 2
    return {
        f"data/{seed}/{number % 50}/{number}": source.randbytes(half) + bytes([number % 256]) * half
        for number in range(files)
    }


@dataclass(frozen=True)
class Image:
    """What a registry has of one image."""

    manifest: bytes
    blobs: Mapping[str, bytes]

    @property
    def layers(self) -> list[str]:
        """The digests of the compressed layers, base first."""
        return [each["digest"] for each in json.loads(self.manifest)["layers"]]

    @property
    def id(self) -> str:
        """The configuration's digest."""
        found: str = json.loads(self.manifest)["config"]["digest"]
        return found


def image(layers: Sequence[bytes], command: Sequence[str] = ("sh",)) -> Image:
    """An amd64 image of these tars."""
    compressed = [gzip.compress(each, 1, mtime=0) for each in layers]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": list(command), "Env": ["PATH=/bin:/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(each) for each in layers]},
            "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
        }
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CONFIG, config),
        "layers": [_descriptor(LAYER, each) for each in compressed],
    }
    return Image(json.dumps(manifest).encode(), {digest(each): each for each in (config, *compressed)})


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(data), "digest": digest(data)}


def push(port: int, repository: str, made: Image, tag: str = "latest") -> None:
    """Puts an image into the registry on a loopback port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        for name, data in made.blobs.items():
            location = _ask(connection, "POST", f"/v2/{repository}/blobs/uploads/")
            joint = "&" if "?" in location else "?"
            _ask(connection, "PUT", f"{location}{joint}digest={name}", data, "application/octet-stream")
        _ask(connection, "PUT", f"/v2/{repository}/manifests/{tag}", made.manifest, MANIFEST)
    finally:
        connection.close()


def _ask(
    connection: http.client.HTTPConnection, method: str, target: str, data: bytes = b"", media_type: str = ""
) -> str:
    headers = {"Content-Length": str(len(data))}
    if media_type:
        headers["Content-Type"] = media_type
    connection.request(method, target, body=data, headers=headers)
    response = connection.getresponse()
    text = response.read()
    assert response.status in (201, 202), f"{method} {target}: {response.status} {text.decode()}"
    return response.headers.get("Location", "")
