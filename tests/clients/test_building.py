"""Builds by the real docker CLI and buildx: what they leave in the cache, and where contexts come from."""

import functools
import http.server
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import Daemon

pytestmark = pytest.mark.usefixtures("emptied")

MIB = 1 << 20


@pytest.fixture
def emptied(daemon: Daemon) -> Iterator[None]:
    """No build's leavings before and after."""
    daemon.docker("buildx", "prune", "-af")
    yield
    for image in daemon.docker("images", "-q", "built*").stdout.split():
        daemon.docker("rmi", "-f", image, check=False)
    daemon.docker("buildx", "prune", "-af")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A directory with a file and a Dockerfile of three steps."""
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\n"
        "RUN dd if=/dev/urandom of=/noise bs=1M count=3\n"
        "RUN --mount=type=cache,id=things,target=/things dd if=/dev/urandom of=/things/some bs=1M count=2\n"
        "COPY file /file\n"
    )
    (tmp_path / "file").write_text("a file\n" * 1000)
    return tmp_path


def records(daemon: Daemon, *arguments: str) -> list[dict[str, Any]]:
    """`buildx du` as JSON."""
    out = daemon.docker("buildx", "du", "--format", "json", *arguments).stdout
    return [json.loads(line) for line in out.splitlines() if line]


def cache(daemon: Daemon) -> list[dict[str, Any]]:
    """The build cache of GET /system/df."""
    status, value = daemon.api("GET", "/v1.51/system/df?type=build-cache")
    assert status == 200
    return value["BuildCache"] or []


def on_disk(daemon: Daemon) -> int:
    """Bytes of the daemon's layers, blobs and builds."""
    from tests.clients import test_disk_usage

    return test_disk_usage.on_disk(daemon.data_root)


def test_the_cache_is_told(daemon: Daemon, context: Path) -> None:
    """A record a layer, one for the client's files, one for the cache mount, with their sizes."""
    daemon.docker("build", "-q", str(context))
    kinds = {each["Type"] for each in cache(daemon)}
    assert {"regular", "source.local", "exec.cachemount"} <= kinds
    by_words = {each["Description"]: each for each in cache(daemon)}
    noise = next(value for text, value in by_words.items() if "of=/noise" in text)
    assert noise["Size"] >= 3 * MIB
    mount = next(each for each in by_words.values() if each["Type"] == "exec.cachemount")
    assert 2 * MIB <= mount["Size"] < 2 * MIB + 100_000
    listed = {each["ID"].rstrip("*"): each for each in records(daemon)}
    assert set(listed) == {each["ID"] for each in cache(daemon)}
    table = daemon.docker("system", "df").stdout.splitlines()
    assert table[-1].startswith("Build Cache")
    assert table[-1].split()[2] == str(len(listed))


def test_filters_of_du_and_prune(daemon: Daemon, context: Path) -> None:
    """By type; the rest stays."""
    daemon.docker("build", "-q", str(context))
    assert len(records(daemon, "--filter", "type=exec.cachemount")) == 1
    out = daemon.docker("buildx", "prune", "-f", "--filter", "type=exec.cachemount").stdout
    assert "Total" in out
    assert records(daemon, "--filter", "type=exec.cachemount") == []
    assert records(daemon, "--filter", "type=regular")
    assert "CACHED" in daemon.docker("build", "--progress=plain", str(context)).stderr


def test_prune_keeps_what_images_have(daemon: Daemon, context: Path) -> None:
    """Without --all; and the image runs after either."""
    daemon.docker("build", "-q", "-t", "built", str(context))
    daemon.docker("builder", "prune", "-f")
    daemon.docker("builder", "prune", "-af")
    assert cache(daemon) == []
    assert daemon.docker("run", "--rm", "built", "cat", "/file").stdout == "a file\n" * 1000


def test_pruned_space_is_free(daemon: Daemon, context: Path) -> None:
    """What is told to be reclaimed is what the disk has more."""
    before = on_disk(daemon)
    daemon.docker("build", "-q", "--output", "type=tar,dest=/dev/null", str(context))
    assert on_disk(daemon) - before > 5 * MIB
    status, told = daemon.api("POST", "/v1.51/build/prune?all=1")
    assert status == 200
    assert len(told["CachesDeleted"]) >= 4
    assert told["SpaceReclaimed"] >= 5 * MIB
    assert on_disk(daemon) - before < 500_000
    assert cache(daemon) == []


def test_rest_prune_with_amounts_and_filters(daemon: Daemon, context: Path) -> None:
    """What is used lately or fits stays; unknown filters are refused."""
    daemon.docker("build", "-q", str(context))
    there = len(cache(daemon))
    for query in ("keep-storage=10000000000", "filters=%7B%22until%22%3A%5B%2224h%22%5D%7D"):
        status, told = daemon.api("POST", f"/v1.51/build/prune?all=1&{query}")
        assert (status, told["SpaceReclaimed"]) == (200, 0)
    assert len(cache(daemon)) == there
    status, told = daemon.api("POST", "/v1.51/build/prune?filters=%7B%22colour%22%3A%5B%22red%22%5D%7D")
    assert status == 400
    out = daemon.docker("system", "prune", "-f").stdout
    assert "Deleted build cache objects:" in out


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory, and the address under which it is on the web."""
    directory = tmp_path / "web"
    directory.mkdir()
    handler = functools.partial(QuietHandler, directory=str(directory))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield directory, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Tells nobody."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


DOCKERFILE = b"FROM busybox\nCOPY file /file\nRUN cat /file\n"


def tar(*, compressed: bool) -> bytes:
    """A context as an archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz" if compressed else "w") as archive:
        for name, data in (("Dockerfile", DOCKERFILE), ("file", b"from afar\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def said(daemon: Daemon) -> str:
    """What the built image's file has."""
    return daemon.docker("run", "--rm", "built", "cat", "/file").stdout


def test_an_archive_on_the_web(daemon: Daemon, served: tuple[Path, str]) -> None:
    """By buildx and by the classic builder."""
    directory, address = served
    (directory / "context.tar.gz").write_bytes(tar(compressed=True))
    daemon.docker("build", "-t", "built", f"{address}/context.tar.gz")
    assert said(daemon) == "from afar\n"
    daemon.docker("rmi", "-f", "built")
    classic = {**daemon.environment(), "DOCKER_BUILDKIT": "0"}
    argv = ["docker", "build", "-t", "built", f"{address}/context.tar.gz"]
    subprocess.run(argv, env=classic, check=True, capture_output=True, timeout=60)
    assert said(daemon) == "from afar\n"


def test_a_dockerfile_on_the_web(daemon: Daemon, served: tuple[Path, str]) -> None:
    """Which is all that there is."""
    directory, address = served
    (directory / "some").write_bytes(b"FROM busybox\nRUN echo alone >/file\n")
    daemon.docker("build", "-t", "built", f"{address}/some")
    assert said(daemon) == "alone\n"
    done = daemon.docker("build", f"{address}/none", check=False)
    assert done.returncode == 1
    assert "404" in done.stderr


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_from_standard_input(daemon: Daemon, compressed: bool) -> None:
    """`docker build - < context.tar`"""
    daemon.docker("build", "-t", "built", "-", data=tar(compressed=compressed))
    assert said(daemon) == "from afar\n"


def test_a_dockerfile_from_standard_input(daemon: Daemon, tmp_path: Path) -> None:
    """Alone, and with a context beside it."""
    daemon.docker("build", "-t", "built", "-", data=b"FROM busybox\nRUN echo alone >/file\n")
    assert said(daemon) == "alone\n"
    (tmp_path / "file").write_text("near\n")
    daemon.docker("build", "-t", "built", "-f", "-", str(tmp_path), data=DOCKERFILE)
    assert said(daemon) == "near\n"


def test_a_commit_of_a_repository(daemon: Daemon, served: tuple[Path, str], tmp_path: Path) -> None:
    """The directory of a branch; and its Dockerfile may be the client's."""
    directory, address = served
    work = tmp_path / "work"
    (work / "below").mkdir(parents=True)
    (work / "below/Dockerfile").write_bytes(DOCKERFILE)
    (work / "below/file").write_text("committed\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(work)]
    for words in (["init", "-q", "-b", "other"], ["add", "."], ["commit", "-qm", "One"]):
        subprocess.run([*git, *words], check=True)
    bare = directory / "project.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)
    subprocess.run(["git", "-C", str(bare), "update-server-info"], check=True)
    daemon.docker("build", "-t", "built", f"{address}/project.git#other:below")
    assert said(daemon) == "committed\n"
    kept = b"FROM busybox\nRUN --mount=target=/c cp /c/.git/HEAD /file\n"
    keep = ("--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1")
    daemon.docker("build", "-t", "built", *keep, "-f", "-", f"{address}/project.git#other", data=kept)
    assert said(daemon).strip()
    local = b"FROM busybox\nCOPY below/file /file\n"
    daemon.docker("build", "-t", "built", "-f", "-", f"{address}/project.git#other", data=local)
    assert said(daemon) == "committed\n"


def test_a_private_cache_mount_is_found_again(daemon: Daemon, tmp_path: Path) -> None:
    for word in ("first", "second"):
        (tmp_path / "Dockerfile").write_text(
            "FROM busybox\n"
            "RUN --mount=type=cache,id=mine,sharing=private,target=/mine "
            f"echo {word} >> /mine/words && cp /mine/words /words\n"
        )
        daemon.docker("build", "-t", "built-private", str(tmp_path))
    out = daemon.docker("run", "--rm", "built-private", "cat", "/words").stdout
    assert out.split() == ["first", "second"]


def test_a_step_depends_on_the_files_that_are_mounted(daemon: Daemon, tmp_path: Path) -> None:
    """Of a client's files and of another stage's."""
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS made\n"
        "ARG WORD\n"
        "RUN echo $WORD > /word; echo same > /kept\n"
        "FROM busybox\n"
        "RUN --mount=type=bind,source=deps,target=/deps "
        "--mount=type=bind,from=made,source=/kept,target=/kept "
        "cat /deps /kept /dev/urandom | head -c 64 > /random\n"
        "COPY . /src\n"
    )
    (tmp_path / "deps").write_text("deps")

    def build(word: str) -> str:
        daemon.docker("build", "-t", "built-mounting", "--build-arg", f"WORD={word}", str(tmp_path))
        return daemon.docker("run", "--rm", "built-mounting", "sha256sum", "/random").stdout

    first = build("one")
    (tmp_path / "other").write_text("other")
    assert build("two") == first
    (tmp_path / "deps").write_text("others")
    assert build("two") != first
