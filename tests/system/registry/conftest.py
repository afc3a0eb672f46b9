"""One registry and one client for each test."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from knarr.registry.client.client import RegistryClient
from knarr.registry.server.server import RegistryServer
from tests.system.registry.world import Site, self_signed


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A registry that listens."""
    registry = RegistryServer(str(tmp_path / "registry"))
    site = await Site.open(registry.handle)
    site.registry = registry
    yield site
    await site.close()
    site.registry.close()


@pytest.fixture
async def client() -> AsyncIterator[RegistryClient]:
    """A client that does not wait long between attempts."""
    client = RegistryClient(agent="knarr/test", pause=0.01)
    yield client
    await client.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's context with a certificate that nobody signed."""
    directory = tmp_path_factory.mktemp("tls")
    self_signed(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context
