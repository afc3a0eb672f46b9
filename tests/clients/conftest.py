"""One daemon for the whole run, knarrd or (with --peer) dockerd, driven by the unmodified docker CLI."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import host
from tests.support import stack as project
from tests.support.daemons import CLIENTS, Daemon, Dockerd, Knarrd, busybox_tar

BRIDGE = "ktclients0"
SUBNET = "10.231.0.0/24"
STACK = {f"{name}:latest" for name in ("nginx", "postgres", "redis", "web")}


@pytest.fixture(scope="session")
def peer(request: pytest.FixtureRequest) -> bool:
    """Whether dockerd is under test: it must pass what judges knarrd."""
    return bool(request.config.getoption("--peer"))


@pytest.fixture(scope="session")
def clients() -> Path:
    """The directory of the real clients' programs."""
    return CLIENTS / "usr/bin"


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of a busybox root."""
    return busybox_tar(tmp_path_factory.mktemp("busybox"))


@pytest.fixture(scope="session")
def running_daemon(peer: bool, busybox: Path) -> Iterator[Daemon]:
    """The daemon with one image, `busybox:latest`."""
    daemon: Daemon = Dockerd(BRIDGE, SUBNET) if peer else Knarrd(BRIDGE, SUBNET)
    try:
        daemon.start()
        daemon.docker(
            "import",
            "--change",
            'CMD ["sh"]',
            "--change",
            "ENV PATH=/bin:/usr/bin",
            str(busybox),
            "busybox:latest",
        )
        yield daemon
    finally:
        daemon.close()


@pytest.fixture(scope="module")
def stack(running_daemon: Daemon) -> None:
    """The daemon has a real project's images: nginx, postgres, redis, web; a test of pruning may have taken them away."""
    if STACK - _tags(running_daemon):
        running_daemon.docker("load", "--input", str(project.archive()), timeout=250)


@pytest.fixture(scope="module", autouse=True)
def tidy(running_daemon: Daemon) -> Iterator[None]:
    """A module leaves no image, volume, network and no build's cache to the next, but for what all of them use."""
    yield
    for tag in _tags(running_daemon) - STACK - {"busybox:latest"}:
        running_daemon.api("DELETE", f"/images/{tag}?force=1")
    for kind in ("images", "networks"):
        running_daemon.api("POST", f"/{kind}/prune")
    running_daemon.api("POST", "/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D")
    running_daemon.api("POST", "/build/prune?all=1")


def _tags(daemon: Daemon) -> set[str]:
    _, images = daemon.api("GET", "/images/json")
    return {tag for image in images for tag in image["RepoTags"] or ()}


@pytest.fixture
def daemon(running_daemon: Daemon) -> Iterator[Daemon]:
    """The daemon without containers; afterwards everything that the test made on the host must be gone."""
    before = _on_the_host(running_daemon)
    yield running_daemon
    running_daemon.remove_containers()
    host.settle(lambda: _on_the_host(running_daemon) - before)


def _on_the_host(daemon: Daemon) -> set[str]:
    """Mounts, devices and cgroups; the volumes' and images' own files are not counted."""
    mounts = {
        f"mount {point}" for point in host.mounts([str(daemon.root)]) if not point.endswith("netns/default")
    }
    links = {f"link {name}" for name in host.links() if name.startswith(("veth", "kn"))}
    return mounts | links
