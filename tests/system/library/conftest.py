"""Engines of the library: one in this process and one behind a socket, for the same tests; with --peer dockerd behind the socket."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from knarr import Engine
from tests.support import host
from tests.support.daemons import Daemon, Dockerd, Knarrd, busybox_tar

BRIDGE = "ktlib0"
SUBNET = "10.234.0.0/24"
CHANGES = ('CMD ["sh"]', "ENV PATH=/bin:/usr/bin")


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of a busybox root."""
    return busybox_tar(tmp_path_factory.mktemp("busybox"))


@pytest.fixture(scope="session")
def daemon(request: pytest.FixtureRequest, busybox: Path) -> Iterator[Daemon]:
    """The daemon with one image, `busybox:latest`."""
    peer = request.config.getoption("--peer")
    daemon: Daemon = Dockerd(BRIDGE, SUBNET) if peer else Knarrd(BRIDGE, SUBNET)
    try:
        daemon.start()
        daemon.give_busybox(busybox)
        yield daemon
    finally:
        daemon.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package", params=["embedded", "socket"])
async def engine(request: pytest.FixtureRequest, busybox: Path) -> AsyncIterator[Engine]:
    """An engine with busybox, which must have nothing left at the end."""
    if request.param == "socket":
        daemon: Daemon = request.getfixturevalue("daemon")
        async with Engine.connect(f"unix://{daemon.socket}") as engine:
            yield engine
        return
    if request.config.getoption("--peer"):
        pytest.skip("dockerd is in no process of ours")
    before = _on_the_host()
    async with Engine.embedded() as engine:
        await engine.images.import_root(busybox, "busybox", changes=CHANGES)
        yield engine
    host.settle(lambda: _on_the_host() - before)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """What a test made is gone with it."""
    before = _on_the_host()
    yield
    host.settle(lambda: _on_the_host() - before)


def _on_the_host() -> set[str]:
    links = {f"link {name}" for name in host.links() if name.startswith(("veth", "kn", "br-"))}
    return links | {f"mount {point}" for point in host.mounts(["/tmp/knarr-engine-"])}
