"""A store of images with real layers and a real zygote, a registry in memory, and images made of thin air."""

import asyncio
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from knarr.content.leases import Leases
from knarr.content.store import Blobs
from knarr.engine.events import Events
from knarr.engine.images.images import Images
from knarr.engine.images.rooms import Rooms
from knarr.engine.zygote import Zygote
from knarr.model.descriptor import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_INDEX,
    Descriptor,
)
from knarr.model.digest import Digest
from knarr.model.errors import NotFound, Unavailable
from knarr.model.image import Progress
from knarr.model.platform import Platform
from knarr.model.reference import Reference
from knarr.registry.client.transport import Auth
from knarr.snapshots.overlay import Overlay
from knarr.state.database import Database

AMD64 = Platform("linux", "amd64")
_CHUNK = 16 << 10


def layer_tar(files: Mapping[str, bytes]) -> bytes:
    """A layer with these files; a name that ends with / is a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mode = 0o755
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            else:
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


@dataclass
class Made:
    """One image as a registry has it."""

    config: bytes
    layers: list[bytes]
    manifest: bytes

    @property
    def id(self) -> Digest:
        return Digest.of(self.config)

    @property
    def digest(self) -> Digest:
        return Digest.of(self.manifest)

    def blobs(self) -> dict[Digest, bytes]:
        """Everything but the manifest."""
        return {Digest.of(data): data for data in (self.config, *self.layers)}


def make_image(
    layers: Sequence[bytes],
    *,
    platform: Platform = AMD64,
    labels: Mapping[str, str] | None = None,
    pack: Callable[[bytes], bytes] = lambda data: gzip.compress(data, 1, mtime=0),
) -> Made:
    """`layers` are plain tars."""
    config = json.dumps(
        {
            "architecture": platform.architecture,
            "os": platform.os,
            "created": "2024-01-02T03:04:05Z",
            "config": {"Cmd": ["sh"], "Env": ["A=1"], "Labels": dict(labels or {})},
            "history": [
                {"created": "2024-01-02T03:04:05Z", "created_by": f"step {i}"} for i in range(len(layers))
            ],
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(layer)) for layer in layers]},
        }
    ).encode()
    packed = [pack(layer) for layer in layers]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": _entry(DOCKER_CONFIG, config),
            "layers": [_entry(DOCKER_LAYER_GZIP, data) for data in packed],
        }
    ).encode()
    return Made(config, packed, manifest)


def make_index(images: Sequence[tuple[Made, Platform]]) -> bytes:
    """An index of images for several platforms."""
    entries = [
        {
            **_entry(DOCKER_MANIFEST, made.manifest),
            "platform": {"os": platform.os, "architecture": platform.architecture},
        }
        for made, platform in images
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def _entry(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data)}


@dataclass
class FakeRegistry:
    """`manifests` by name (`tag` or digest), `blobs` of all repositories. `served` counts bytes of each blob."""

    names: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[Digest, bytes] = field(default_factory=dict)
    blobs: dict[Digest, bytes] = field(default_factory=dict)
    served: dict[Digest, int] = field(default_factory=dict)
    requests: list[tuple[Digest, int]] = field(default_factory=list)
    break_after: dict[Digest, int] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    asked: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def asked_for(self, count: int) -> None:
        """Waits until so many blobs were asked for."""
        async with self.asked:
            await asyncio.wait_for(self.asked.wait_for(lambda: len(self.requests) >= count), 60)

    def put(self, tag: str, made: Made) -> None:
        """Offers an image."""
        self.names[tag] = made.manifest
        self.manifests[made.digest] = made.manifest
        self.blobs.update(made.blobs())

    def put_index(self, tag: str, data: bytes) -> None:
        """Offers an index; its images were put before."""
        self.names[tag] = self.manifests[Digest.of(data)] = data

    async def tags(self, ref: Reference, auth: Auth | None = None) -> list[str]:
        return [name.rpartition(":")[2] for name in self.names if name.startswith(f"{ref.familiar_name}:")]

    async def resolve(self, ref: Reference, auth: Auth | None = None) -> Descriptor:
        data = (
            self.manifests.get(ref.digest) if ref.digest else self.names.get(f"{ref.familiar_name}:{ref.tag}")
        )
        if data is None:
            raise NotFound(f"manifest for {ref.familiar} not found: manifest unknown: manifest unknown")
        return Descriptor(json.loads(data)["mediaType"], Digest.of(data), len(data))

    async def fetch_manifest(self, ref: Reference, digest: Digest, auth: Auth | None = None) -> bytes:
        return self.manifests[digest]

    async def open_blob(
        self, ref: Reference, descriptor: Descriptor, offset: int = 0, auth: Auth | None = None
    ) -> AsyncIterator[bytes]:
        digest = descriptor.digest
        async with self.asked:
            self.requests.append((digest, offset))
            self.asked.notify_all()
        data = self.blobs[digest]
        limit = self.break_after.pop(digest, None)
        for start in range(offset, len(data), _CHUNK):
            if limit is not None and start >= limit:
                raise Unavailable("connection reset by peer")
            if self.gate is not None and not data.startswith(b"{"):
                await self.gate.wait()
            piece = data[start : start + _CHUNK]
            self.served[digest] = self.served.get(digest, 0) + len(piece)
            yield piece
            await asyncio.sleep(0)

    async def has_blob(self, ref: Reference, descriptor: Descriptor, auth: Auth | None = None) -> bool:
        return descriptor.digest in self.blobs

    async def push_blob(
        self,
        ref: Reference,
        descriptor: Descriptor,
        path: Path,
        auth: Auth | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> bool:
        if descriptor.digest in self.blobs:
            return False
        data = path.read_bytes()
        assert hashlib.sha256(data).hexdigest() == descriptor.digest.hex
        if progress is not None:
            progress(len(data))
        self.blobs[descriptor.digest] = data
        return True

    async def mount_blob(
        self, ref: Reference, descriptor: Descriptor, source: Reference, auth: Auth | None = None
    ) -> bool:
        return False

    async def push_manifest(
        self, ref: Reference, media_type: str, data: bytes, auth: Auth | None = None
    ) -> Digest:
        self.names[f"{ref.familiar_name}:{ref.tag}"] = self.manifests[Digest.of(data)] = data
        return Digest.of(data)


class World:
    """Everything under one directory."""

    def __init__(self, root: Path, rooms: Rooms, registry: FakeRegistry) -> None:
        self.root = root
        self.rooms = rooms
        self.registry = registry
        self.images = Images(rooms)

    @classmethod
    async def open(cls, root: Path, registry: FakeRegistry | None = None) -> "World":
        """Opens what is there, as a daemon does when it starts."""
        registry = registry or FakeRegistry()
        root.mkdir(exist_ok=True)
        db = await Database.open(str(root / "state.db"))
        rooms = Rooms(
            db=db,
            events=Events(db),
            blobs=Blobs(root / "content"),
            leases=Leases(root / "leases"),
            snapshots=Overlay(root / "overlay2"),
            zygote=await Zygote.start(str(root / "exec")),
            registry=registry,
            platform=AMD64,
        )
        world = cls(root, rooms, registry)
        await asyncio.to_thread(rooms.snapshots.sweep, ())
        await world.images.recover()
        return world

    async def close(self) -> None:
        await self.rooms.zygote.close()
        await self.rooms.db.close()

    async def pull(self, name: str, platform: Platform | None = None) -> list[str]:
        """The lines that docker would print, without the progress bars."""
        return await lines(self.images.pull(Reference.parse(name), platform=platform))

    def layer(self, chain: Digest) -> Path:
        """An unpacked layer's tree."""
        return self.root / "overlay2" / "layers" / chain.hex / "diff"

    def leftovers(self) -> list[str]:
        """Every file and directory of content and layers that is not the store's own frame."""
        found = []
        for top in ("content", "overlay2", "leases"):
            for path, directories, files in os.walk(self.root / top):
                depth = len(Path(path).relative_to(self.root).parts)
                found += [os.path.join(path, name) for name in files]
                if depth >= 2 and top == "overlay2":
                    found += [os.path.join(path, name) for name in directories]
        return found

    async def container(self, identity: str, image: Digest, status: str, chain: Sequence[Digest]) -> None:
        """A row as the engine's containers have it."""
        extra = json.dumps({"chain": [str(one) for one in chain]})
        await self.rooms.db.write(
            lambda tx: tx.execute(
                "INSERT INTO containers VALUES (?, ?, 1, ?, ?, '{}', '{}', ?)",
                (identity, f"name-{identity[:8]}", str(image), status, extra),
            )
        )

    async def actions(self) -> list[str]:
        """Every event so far as `action name`."""
        rows = await self.rooms.db.read(
            lambda tx: tx.execute("SELECT action, attributes FROM events ORDER BY number").fetchall()
        )
        return [f"{action} {json.loads(attributes).get('name', '')}" for action, attributes in rows]


def shown(line: Progress) -> str:
    """As a client without a terminal prints it."""
    return line.stream.rstrip("\n") or (f"{line.id}: {line.status}" if line.id else line.status)


async def lines(work: AsyncIterator[Progress]) -> list[str]:
    """Everything that work tells, bars excepted."""
    return [shown(line) async for line in work if not line.total and not line.aux]


async def stream(data: bytes) -> AsyncIterator[bytes]:
    """As a request's body comes."""
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]
