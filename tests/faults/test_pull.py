"""Pulls over a bad network and from bad registries. All but the fifty cuts also run on dockerd (`--peer`)."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import host, images
from tests.support.daemons import Daemon, Dockerd, Knarrd
from tests.support.proxies import CuttingProxy
from tests.support.registries import FaultyRegistry, correct, knarr_registry

CUTS, SEED = 50, 7


@pytest.fixture
def peer(request: pytest.FixtureRequest) -> bool:
    """Whether dockerd is under test."""
    return bool(request.config.getoption("--peer"))


@pytest.fixture
def puller(peer: bool) -> Iterator[Daemon]:
    """A daemon without images."""
    daemon: Daemon = (Dockerd if peer else Knarrd)("ktfault2", "10.233.67.0/24")
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    """A registry that does as it is told."""
    with FaultyRegistry() as made:
        yield made


@pytest.fixture(scope="module")
def base() -> bytes:
    """A layer that can be run."""
    return images.layer({"bin/busybox": Path("/bin/busybox").read_bytes()})


def busybox(daemon: Daemon, image: str, *words: str) -> str:
    """What a run of the image's busybox prints."""
    return daemon.docker("run", "--rm", "--network", "none", image, "/bin/busybox", *words).stdout


def stored(daemon: Daemon) -> set[str]:
    """Blobs, partial downloads, layers and leases of a knarrd, by name."""
    places = [daemon.data_root / "content", daemon.data_root / "leases"]
    places += [daemon.data_root / "snapshots/overlay2" / name for name in ("layers", "staging", "trash")]
    return {str(place / path) for place in places for path in top(place)}


def top(place: Path) -> set[str]:
    """Files down to three directories below, so that layers count as one thing."""
    return {path for path in host.files(place) if path.count("/") <= 2 and not (place / path).is_dir()} | {
        path for path in host.files(place) if path.count("/") == 0 and place.parent.name == "overlay2"
    }


@pytest.mark.timeout(400)
def test_a_pull_cut_fifty_times_ends_with_the_right_image(
    puller: Daemon, base: bytes, tmp_path: Path, peer: bool
) -> None:
    if peer:
        pytest.skip("dockerd waits five seconds and more after each cut")
    made = images.image([base, *(images.layer(images.noise(seed, 20, 120_000)) for seed in range(3))])
    with (
        knarr_registry(tmp_path) as port,
        CuttingProxy(port, cuts=CUTS, seed=SEED, least=1, most=60_000) as proxy,
    ):
        images.push(port, "cut", made)
        name = f"127.0.0.1:{proxy.port}/cut"
        for _ in range(CUTS + 1):
            done = puller.docker("pull", name, check=False)
            if done.returncode == 0:
                break
        assert done.returncode == 0, done.stderr
        assert proxy.cuts == CUTS
    assert puller.inspect(name)["Id"] == made.id
    sums = busybox(puller, name, "md5sum", "/data/2/7/7").split()[0]
    content = images.noise(2, 20, 120_000)["data/2/7/7"]
    assert sums == md5(content)
    puller.docker("rmi", name)


def md5(data: bytes) -> str:
    """As md5sum says it."""
    done = subprocess.run(["md5sum"], input=data, capture_output=True, check=True)
    return done.stdout.split()[0].decode()


def test_a_flipped_byte_is_refused(puller: Daemon, registry: FaultyRegistry, base: bytes, peer: bool) -> None:
    made = images.image([base])
    registry.add("flipped", made)

    def flip(name: str, data: bytes) -> tuple[bytes, int]:
        middle = len(data) // 2
        wrong = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        return (wrong if name in made.layers else data), len(data)

    registry.fault = flip
    name = f"127.0.0.1:{registry.port}/flipped"
    done = puller.docker("pull", name, check=False)
    assert done.returncode == 1
    assert "filesystem layer verification failed" in done.stderr or "invalid checksum" in done.stderr
    assert puller.docker("images", "-aq").stdout == ""
    if not peer:
        host.settle(lambda: stored(puller))
    registry.fault = correct
    puller.docker("pull", name)
    assert busybox(puller, name, "echo", "good") == "good\n"
    puller.docker("rmi", name)


@pytest.mark.timeout(300)
def test_a_registry_that_closes_in_the_middle_is_an_error(
    puller: Daemon, registry: FaultyRegistry, base: bytes, peer: bool
) -> None:
    made = images.image([base])
    registry.add("closing", made)
    registry.fault = lambda name, data: (data, 1000 if name in made.layers else len(data))
    name = f"127.0.0.1:{registry.port}/closing"
    done = puller.docker("pull", name, check=False, timeout=250)
    assert done.returncode == 1
    assert "unexpected EOF" in done.stderr
    assert puller.docker("images", "-aq").stdout == ""
    registry.fault = correct
    puller.docker("pull", name)
    assert busybox(puller, name, "echo", "good") == "good\n"
    puller.docker("rmi", name)


def test_two_images_hold_their_common_base_once(
    puller: Daemon, registry: FaultyRegistry, base: bytes
) -> None:
    shared = images.layer(images.noise(1, 64, 250_000))
    for number in (1, 2):
        own = images.layer({f"own/{number}": b"x" * 100_000})
        registry.add(f"child{number}", images.image([base, shared, own]))
    puller.docker("pull", f"127.0.0.1:{registry.port}/child1")
    one = disk(puller)
    told = puller.docker("pull", f"127.0.0.1:{registry.port}/child2").stdout
    assert told.count("Already exists") == 2
    assert disk(puller) - one < 2_000_000 < one
    for number in (1, 2):
        name = f"127.0.0.1:{registry.port}/child{number}"
        assert busybox(puller, name, "ls", "/own").split() == [str(number)]
    puller.docker("rmi", f"127.0.0.1:{registry.port}/child1")
    assert busybox(puller, f"127.0.0.1:{registry.port}/child2", "ls", "/own") == "2\n"
    puller.docker("rmi", f"127.0.0.1:{registry.port}/child2")


def disk(daemon: Daemon) -> int:
    """du of the data root, in bytes."""
    done = subprocess.run(["du", "-sxk", str(daemon.data_root)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) * 1024


def test_a_daemon_killed_while_pulling_goes_on_where_it_was(
    puller: Daemon, registry: FaultyRegistry, base: bytes
) -> None:
    if not isinstance(puller, Knarrd):
        pytest.skip("dockerd begins again")
    big = images.layer(images.noise(9, 40, 500_000))
    made = images.image([base, big])
    registry.add("half", made)
    size = len(made.blobs[made.layers[1]])
    registry.fault = lambda name, data: (data, size * 2 // 3 if name == made.layers[1] else len(data))
    name = f"127.0.0.1:{registry.port}/half"
    with puller.open("pull", name, stdin=subprocess.DEVNULL) as client:
        host.wait_for(
            lambda: registry.asked.count(f"/v2/half/blobs/{made.layers[1]}") >= 2, "it was cut once"
        )
        puller.kill()
        client.communicate()
    puller.start()
    registry.fault = correct
    served = registry.served
    puller.docker("pull", name)
    assert registry.served - served < size * 2 // 3
    assert busybox(puller, name, "echo", "good") == "good\n"
    puller.docker("rmi", name)
