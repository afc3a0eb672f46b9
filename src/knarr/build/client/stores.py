"""Content stores that a builder reads and writes (containerd.services.content.v1): OCI layouts in directories of the client's.

The other end is frontdoor/contents. A blob that is being written lies beside the others and is renamed when it is whole and
what it was said to be. `index.json` is the client's own to read and write.
"""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf.empty_pb2 import Empty

from knarr.build.frontdoor.contents import STORE
from knarr.build.frontdoor.services import Service
from knarr.build.proto.content_pb2 import (
    COMMIT,
    STAT,
    WRITE,
    AbortRequest,
    Info,
    InfoRequest,
    InfoResponse,
    ReadContentRequest,
    ReadContentResponse,
    WriteContentRequest,
    WriteContentResponse,
)
from knarr.grpc.calls import Metadata
from knarr.grpc.services import Call
from knarr.grpc.status import RpcError, Status

_PIECE = 1 << 20
_NAME = "org.opencontainers.image.ref.name"


class Stores:
    """Those of one build, by the names that the builder has for them."""

    def __init__(self, roots: Mapping[str, str]):
        self._roots = roots

    def service(self) -> Service:
        """As gRPC has it."""
        service = Service("containerd.services.content.v1.Content")
        service.unary("Info", self.info, InfoRequest)
        service.unary("Abort", self.abort, AbortRequest)
        service.streaming("Read", self.read, ReadContentRequest)
        service.streaming("Write", self.write, WriteContentRequest)
        return service

    async def info(self, asked: InfoRequest, metadata: Metadata) -> InfoResponse:
        """Raises RpcError for what is not there."""
        with self._opened(metadata, asked.digest) as file:
            return InfoResponse(info=Info(digest=asked.digest, size=os.fstat(file.fileno()).st_size))

    async def abort(self, _: AbortRequest, __: Any) -> Empty:
        """What was written in part went with its stream."""
        return Empty()

    async def read(self, stream: Call[ReadContentRequest]) -> None:
        """A blob, or a part of it. Raises RpcError."""
        asked = await stream.receive() or ReadContentRequest()
        with self._opened(stream.metadata, asked.digest) as file:
            offset = file.seek(asked.offset)
            left = asked.size or os.fstat(file.fileno()).st_size - offset
            while left > 0 and (data := file.read(min(left, _PIECE))):
                await stream.send(ReadContentResponse(offset=offset, data=data))
                offset, left = offset + len(data), left - len(data)

    async def write(self, stream: Call[WriteContentRequest]) -> None:
        """One blob. Raises RpcError."""
        root = self._root(stream.metadata)
        first = await stream.receive()
        if first is None:
            return
        if first.expected and os.path.exists(_path(root, first.expected)):
            raise RpcError(Status.ALREADY_EXISTS, f"content {first.expected}: already exists")
        aside = f"{root}/.{secrets.token_hex(8)}.part"
        os.makedirs(root, exist_ok=True)
        try:
            with open(aside, "xb") as file:
                await _written(stream, first, file, root)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside)

    def _root(self, metadata: Metadata) -> str:
        name = metadata.get(STORE)
        if name not in self._roots:
            raise RpcError(Status.NOT_FOUND, f"no content store {name}")
        return self._roots[name]

    def _opened(self, metadata: Metadata, digest: str) -> BinaryIO:
        try:
            return open(_path(self._root(metadata), digest), "rb")
        except FileNotFoundError:
            raise RpcError(Status.NOT_FOUND, f"content {digest}: not found") from None


async def _written(
    stream: Call[WriteContentRequest],
    first: WriteContentRequest,
    file: BinaryIO,
    root: str,
) -> None:
    total, offset = hashlib.sha256(), 0
    message: WriteContentRequest | None = first
    while message is not None:
        if message.action in (WRITE, COMMIT) and message.data:
            if message.offset != offset:
                raise RpcError(Status.INVALID_ARGUMENT, f"write at {message.offset}, not at {offset}")
            file.write(message.data)
            total.update(message.data)
            offset += len(message.data)
        digest = f"sha256:{total.hexdigest()}"
        if message.action == COMMIT:
            if (message.expected and message.expected != digest) or (
                message.total and message.total != offset
            ):
                raise RpcError(Status.FAILED_PRECONDITION, f"unexpected commit digest {digest}")
            file.flush()
            path = _path(root, digest)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.rename(file.name, path)
            await stream.send(WriteContentResponse(action=COMMIT, offset=offset, digest=digest))
            return
        action = STAT if message.action == STAT else WRITE
        await stream.send(WriteContentResponse(action=action, offset=offset, total=message.total))
        message = await stream.receive()


def _path(root: str, digest: str) -> str:
    algorithm, _, encoded = digest.partition(":")
    if not (algorithm.isalnum() and encoded.isalnum()):
        raise RpcError(Status.INVALID_ARGUMENT, f"invalid digest {digest!r}")
    return f"{root}/blobs/{algorithm}/{encoded}"


def found(root: str, tag: str = "") -> str:
    """The digest that an OCI layout's index has for a tag ("" is latest, or the only one); "" for none."""
    try:
        manifests = json.loads(Path(root, "index.json").read_bytes())["manifests"]
    except (OSError, ValueError, KeyError):
        return ""
    for each in manifests:
        if (each.get("annotations") or {}).get(_NAME) == (tag or "latest"):
            return str(each["digest"])
    return str(manifests[0]["digest"]) if len(manifests) == 1 and not tag else ""


def put(root: str, descriptor: Mapping[str, Any], tag: str = "") -> None:
    """Names a manifest in the index of an OCI layout, in the place of what had the name."""
    path = Path(root, "index.json")
    try:
        manifests = json.loads(path.read_bytes())["manifests"]
    except (OSError, ValueError, KeyError):
        manifests = []
    name = tag or "latest"
    kept = [each for each in manifests if (each.get("annotations") or {}).get(_NAME) != name]
    named = {**descriptor, "annotations": {**(descriptor.get("annotations") or {}), _NAME: name}}
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [*kept, named],
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(index))
    part.rename(path)
    Path(root, "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
