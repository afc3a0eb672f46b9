"""Listening handlers, and images made of thin air."""

import asyncio
import json
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from knarr.loop.http.messages import Request, Response
from knarr.loop.http.server import Server
from knarr.model.descriptor import OCI_LAYER, OCI_MANIFEST, Descriptor
from knarr.model.digest import Digest
from knarr.model.reference import Reference
from knarr.registry.client.client import RegistryClient
from knarr.registry.server.server import RegistryServer

Handler = Callable[[Request], Awaitable[Response | None]]


@dataclass
class Credentials:
    """What X-Registry-Auth has."""

    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class Site:
    """A listening handler that may be replaced."""

    registry: RegistryServer

    def __init__(self, handler: Handler):
        self.handler = handler
        self.requests: list[Request] = []
        self.server = Server(self._handle)
        self.port = 0

    @classmethod
    async def open(cls, handler: Handler, context: ssl.SSLContext | None = None) -> "Site":
        """One that listens."""
        site = cls(handler)
        site.port = await site.server.listen_tcp("127.0.0.1", 0, context)
        return site

    async def close(self) -> None:
        """It listens no more."""
        await self.server.close(1)

    async def _handle(self, request: Request) -> Response | None:
        self.requests.append(request)
        return await self.handler(request)

    @property
    def domain(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def reference(self, name: str, tag: str = "latest") -> Reference:
        """A name in this registry."""
        return Reference(self.domain, name, tag)

    def secrets(self) -> list[str]:
        """Every Authorization that came here."""
        return [
            request.headers["authorization"]
            for request in self.requests
            if "authorization" in request.headers
        ]


def self_signed(directory: Path) -> tuple[bytes, bytes]:
    """Makes `cert.pem` for localhost and its `key.pem`; what they hold."""
    key, certificate = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        (
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {key} -out {certificate} "
            "-days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        ).split(),
        check=True,
        capture_output=True,
    )
    return certificate.read_bytes(), key.read_bytes()


async def push_blob(
    client: RegistryClient, ref: Reference, data: bytes, tmp_path: Path, auth: Credentials | None = None
) -> Descriptor:
    """Pushes `data` from a file."""
    path = tmp_path / "blob"
    path.write_bytes(data)
    descriptor = Descriptor(OCI_LAYER, Digest.of(data), len(data))
    await client.push_blob(ref, descriptor, path, auth)
    return descriptor


def manifest_of(config: Descriptor, *layers: Descriptor) -> bytes:
    """An OCI manifest."""

    def plain(descriptor: Descriptor) -> dict[str, object]:
        return {"mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size}

    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": plain(config),
        "layers": [plain(layer) for layer in layers],
    }
    return json.dumps(value).encode()


async def read(
    client: RegistryClient,
    ref: Reference,
    descriptor: Descriptor,
    offset: int = 0,
    auth: Credentials | None = None,
) -> bytes:
    """A blob's bytes."""
    return b"".join([piece async for piece in client.open_blob(ref, descriptor, offset, auth)])


async def raw(
    site: Site, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request byte by byte: (status, headers in lower case, body)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    head, _, rest = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *others = head.decode().split("\r\n")
    return (
        int(first.split()[1]),
        {line.split(":")[0].lower(): line.partition(":")[2].strip() for line in others},
        rest,
    )
