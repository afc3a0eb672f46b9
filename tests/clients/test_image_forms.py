"""Images in all forms: imported from URLs and for platforms, saved and loaded, pulled with all tags, pruned, searched for."""

import gzip
import http.server
import io
import json
import lzma
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import BIN, Daemon

RESULTS = [
    {"name": "one", "description": "first", "star_count": 5, "is_official": True, "is_automated": False},
    {"name": "some/two", "description": "second", "star_count": 1, "is_official": False},
]


class Web(http.server.BaseHTTPRequestHandler):
    """Serves one archive and, as an index does, answers to searches."""

    archive = b""
    asked: list[str] = []  # noqa: RUF012 - the server's, filled by every request

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/rootfs.tar":
            self._answer(200, self.archive, "application/x-tar")
        elif self.path.startswith("/v1/search"):
            body = {"query": "x", "num_results": 2, "results": RESULTS}
            self._answer(200, json.dumps(body).encode(), "application/json")
        elif self.path == "/v1/_ping":
            self._answer(200, b"true", "application/json")
        else:
            self._answer(404, b"nothing here", "text/plain")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is said."""


@pytest.fixture(scope="module")
def web(busybox: Path) -> Iterator[str]:
    """The address of a web server with busybox's root."""
    Web.archive = busybox.read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a knarr-registry of its own."""
    root = tmp_path_factory.mktemp("registry")
    words = [sys.executable, str(BIN / "knarr-registry"), "serve", "--root", str(root), "-H", "127.0.0.1:0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip().rpartition(" ")[2].removeprefix("http://").rstrip("/")
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@pytest.fixture
def images(daemon: Daemon) -> Iterator[Daemon]:
    """The daemon; every image but busybox is removed afterwards."""
    yield daemon
    daemon.remove_containers()
    kept = daemon.docker("images", "-q", "busybox:latest").stdout
    for name in set(daemon.docker("images", "-q").stdout.split()) - set(kept.split()):
        daemon.docker("rmi", "-f", name, check=False)
    for line in daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split():
        if line != "busybox:latest":
            daemon.docker("rmi", line)


def refused(daemon: Daemon, *words: str, data: bytes | None = None) -> str:
    """What the daemon says to something that fails."""
    done = daemon.docker(*words, check=False, data=data)
    assert done.returncode != 0, f"{words} is not refused"
    return done.stderr.strip()


def small(name: str = "file", **members: bytes) -> bytes:
    """A root of one file, as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in (members or {name: name.encode()}).items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def imported(daemon: Daemon, name: str, *words: str, data: bytes | None = None) -> dict[str, Any]:
    """Imports a small root; what inspect tells of it."""
    daemon.docker("import", *words, "-", name, data=data or small(name))
    return json.loads(daemon.docker("image", "inspect", name).stdout)[0]  # type: ignore[no-any-return]


def test_import_from_a_url(images: Daemon, web: str) -> None:
    out = images.docker("import", "--change", "ENV PATH=/bin", f"http://{web}/rootfs.tar", "fetched:1").stdout
    assert f"Downloading from http://{web}/rootfs.tar" in out
    assert images.docker("run", "--rm", "fetched:1", "echo", "ok").stdout == "ok\n"
    value = json.loads(images.docker("image", "inspect", "fetched:1").stdout)[0]
    assert value["Comment"] == f"Imported from http://{web}/rootfs.tar"


def test_a_url_that_has_nothing(images: Daemon, web: str) -> None:
    url = f"http://{web}/none.tar"
    assert f"failed to GET {url} with status 404 Not Found: nothing here" in refused(images, "import", url)
    said = refused(images, "import", "http://127.0.0.1:1/x.tar")
    assert 'Get "http://127.0.0.1:1/x.tar": dial tcp 127.0.0.1:1: connect: connection refused' in said
    assert images.docker("images", "-q", "-f", "dangling=true").stdout == ""


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz", "zstd"])
def test_compressed_roots(images: Daemon, form: str) -> None:
    import bz2

    import zstandard

    packed: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "zstd": zstandard.compress,
    }
    plain = imported(images, "plain:1", data=small("same"))
    value = imported(images, f"{form}:1", data=packed[form](small("same")))
    assert value["RootFS"]["Layers"] == plain["RootFS"]["Layers"]


def test_what_is_no_archive(images: Daemon) -> None:
    assert "unexpected EOF" in refused(images, "import", "-", "bad", data=b"bad\n")
    assert "archive/tar: invalid tar header" in refused(images, "import", "-", "bad", data=b"\xff" * 3000)


def test_every_instruction_of_change(images: Daemon) -> None:
    changes = [
        "CMD a b", 'ENTRYPOINT ["x"]', "HEALTHCHECK --interval=5s CMD foo", "ENV a=b c=d", "ONBUILD RUN x",
        'VOLUME ["/a","/b"]', 'LABEL a="b c"', "EXPOSE 80/udp 90", "USER me", "WORKDIR /w",
        "STOPSIGNAL 9",
    ]  # fmt: skip
    flags = [word for each in changes for word in ("-c", each)]
    config = imported(images, "made:1", "-m", "hello", *flags)["Config"]
    assert config["Cmd"] == ["/bin/sh", "-c", "a b"]
    assert config["Entrypoint"] == ["x"]
    assert config["Healthcheck"]["Interval"] == 5_000_000_000
    assert config["Env"] == ["a=b", "c=d"]
    assert config["OnBuild"] == ["RUN x"]
    assert config["Volumes"] == {"/a": {}, "/b": {}}
    assert config["Labels"] == {"a": "b c"}
    assert config["ExposedPorts"] == {"80/udp": {}, "90/tcp": {}}
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("me", "/w", "9")
    for bad in ("RUN x", "FOO x", 'SHELL ["sh"]'):
        refused(images, "import", "-c", bad, "-", "bad", data=small())


def test_a_root_for_another_platform(images: Daemon, busybox: Path) -> None:
    value = imported(
        images, "far:1", "--platform", "linux/arm/v7", "-c", "CMD true", data=busybox.read_bytes()
    )
    assert (value["Os"], value["Architecture"], value["Variant"]) == ("linux", "arm", "v7")
    done = images.docker("create", "far:1")
    assert (
        "The requested image's platform (linux/arm/v7) does not match the detected host platform"
        in done.stderr
    )
    assert images.docker("create", "--platform", "linux/arm/v7", "far:1").stderr == ""
    assert "operating system is not supported" in refused(
        images, "import", "--platform", "plan9/386", "-", "bad", data=small()
    )


def test_a_platform_that_is_not_here(images: Daemon) -> None:
    words = "was found but its platform (linux/amd64) does not match the specified platform (linux/s390x)"
    far = ["--platform", "linux/s390x"]
    assert words in refused(images, "create", *far, "--pull", "never", "busybox")
    assert words in refused(images, "image", "inspect", *far, "busybox")
    assert words in refused(images, "history", *far, "busybox")
    assert words in refused(images, "push", *far, "busybox")
    said = refused(images, "save", *far, "busybox")
    assert "no suitable export target found for platform linux/s390x" in said
    for path in ("json?", "history?", "get?"):
        status, told = images.api("GET", f"/v1.49/images/busybox/{path}platform=bad")
        assert (status, told["message"][:24]) == (400, "failed to parse platform")
    near = json.loads(images.docker("image", "inspect", "--platform", "linux/amd64", "busybox").stdout)
    assert near[0]["Architecture"] == "amd64"


def test_several_names_in_one_archive(images: Daemon, tmp_path: Path) -> None:
    first, second = imported(images, "many:1"), imported(images, "other:1")
    images.docker("tag", "many:1", "many:2")
    images.docker("save", "-o", str(tmp_path / "many.tar"), "many", "other:1")
    with tarfile.open(tmp_path / "many.tar") as tar:
        listed = json.load(tar.extractfile("manifest.json") or io.BytesIO())
        index = json.load(tar.extractfile("index.json") or io.BytesIO())
        assert "oci-layout" in tar.getnames()
    assert sorted(name for each in listed for name in each["RepoTags"]) == ["many:1", "many:2", "other:1"]
    notes = [each["annotations"]["io.containerd.image.name"] for each in index["manifests"]]
    assert sorted(notes) == [f"docker.io/library/{name}" for name in ("many:1", "many:2", "other:1")]
    images.docker("rmi", "many:1", "many:2", "other:1")
    out = images.docker("load", "-i", str(tmp_path / "many.tar")).stdout
    for name in ("many:1", "many:2", "other:1"):
        assert f"Loaded image: {name}\n" in out
    for name, made in (("many:2", first), ("other:1", second)):
        assert json.loads(images.docker("image", "inspect", name).stdout)[0]["Id"] == made["Id"]


@pytest.mark.parametrize("form", ["gzip", "xz", "zstd"])
def test_a_compressed_archive_is_loaded(images: Daemon, tmp_path: Path, form: str) -> None:
    import zstandard

    imported(images, "packed:1")
    images.docker("save", "-o", str(tmp_path / "plain.tar"), "packed:1")
    images.docker("rmi", "packed:1")
    packed: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "xz": lzma.compress,
        "zstd": zstandard.compress,
    }
    (tmp_path / "packed").write_bytes(packed[form]((tmp_path / "plain.tar").read_bytes()))
    out = images.docker("load", "-q", "-i", str(tmp_path / "packed")).stdout
    assert out == "Loaded image: packed:1\n"


def test_an_image_without_a_name_is_saved_by_its_id(images: Daemon, tmp_path: Path) -> None:
    made = images.docker("import", "-", data=small("nameless")).stdout.strip()
    images.docker("save", "-o", str(tmp_path / "one.tar"), made)
    images.docker("rmi", made)
    assert images.docker("load", "-i", str(tmp_path / "one.tar")).stdout.endswith(
        f"Loaded image ID: {made}\n"
    )


def test_a_loaded_name_takes_the_name_from_another(images: Daemon, tmp_path: Path) -> None:
    old = imported(images, "name:1", data=small("old"))
    images.docker("save", "-o", str(tmp_path / "old.tar"), "name:1")
    new = imported(images, "name:1", data=small("new"))
    out = images.docker("load", "-i", str(tmp_path / "old.tar")).stdout
    words = f"The image name:1 already exists, renaming the old one with ID {new['Id']} to empty string"
    assert words in out
    assert json.loads(images.docker("image", "inspect", "name:1").stdout)[0]["Id"] == old["Id"]


def test_another_platform_is_left_in_the_archive(images: Daemon, tmp_path: Path) -> None:
    imported(images, "here:1")
    images.docker("save", "-o", str(tmp_path / "here.tar"), "here:1")
    images.docker("rmi", "here:1")
    images.docker("load", "--platform", "linux/s390x", "-i", str(tmp_path / "here.tar"))
    assert images.docker("images", "-q", "here").stdout == ""
    images.docker("load", "--platform", "linux/amd64", "-i", str(tmp_path / "here.tar"))
    assert images.docker("images", "-q", "here").stdout != ""


def test_what_cannot_be_saved(images: Daemon) -> None:
    assert "No such image: ghost" in refused(images, "save", "busybox", "ghost")
    assert "reference does not exist" in refused(images, "save", "busybox:none")


def test_pull_of_all_tags(images: Daemon, registry: str) -> None:
    for tag in ("1", "2"):
        imported(images, f"{registry}/all:{tag}", data=small(tag))
        images.docker("push", "-q", f"{registry}/all:{tag}")
    images.docker("rmi", f"{registry}/all:1", f"{registry}/all:2")
    out = images.docker("pull", "-a", f"{registry}/all").stdout
    for tag in ("1", "2"):
        assert f"{tag}: Pulling from all" in out
    assert out.splitlines()[-2:] == [f"Status: Downloaded newer image for {registry}/all", f"{registry}/all"]
    tags = images.docker("images", "--format", "{{.Tag}}", f"{registry}/all").stdout.split()
    assert sorted(tags) == ["1", "2"]
    out = images.docker("pull", "-a", f"{registry}/all").stdout
    assert f"Status: Image is up to date for {registry}/all" in out


def test_push_of_nothing(images: Daemon, registry: str) -> None:
    done = images.docker("push", f"{registry}/ghost", check=False)
    assert f"The push refers to repository [{registry}/ghost]" in done.stdout
    assert f"An image does not exist locally with the tag: {registry}/ghost" in done.stderr


def test_list_filters(images: Daemon) -> None:
    imported(images, "some/first:1", "-c", "LABEL k=v")
    imported(images, "some/second:1", "-c", "LABEL k=w")
    nameless = images.docker("import", "-", data=small("nameless")).stdout.strip()

    def found(*filters: str) -> list[str]:
        words = [word for each in filters for word in ("--filter", each)]
        return sorted(images.docker("images", "--format", "{{.Repository}}", *words).stdout.split())

    assert found("reference=some/*") == ["some/first", "some/second"]
    assert found("reference=some/f*:1") == found("reference=*/first") == ["some/first"]
    assert found("label=k") == ["some/first", "some/second"]
    assert found("label=k=w") == ["some/second"]
    assert found("since=some/first:1", "reference=some/*") == ["some/second"]
    assert found("before=some/second:1", "reference=some/*") == ["some/first"]
    assert found("until=1h") == []
    ids = images.docker("images", "-q", "--no-trunc", "--filter", "dangling=true").stdout.split()
    assert ids == [nameless]
    for bad in ("nope=1", "dangling=maybe", "until=bad", "since=ghost", "before=ghost"):
        refused(images, "images", "--filter", bad)


def test_prune_in_all_forms(images: Daemon) -> None:
    nameless = images.docker("import", "-c", "LABEL k=v", "-", data=small("nameless")).stdout.strip()
    imported(images, "used:1")
    imported(images, "free:1", "-c", "LABEL keep=1")
    images.docker("create", "used:1", "x")
    images.docker("create", "busybox")

    def pruned(*words: str) -> str:
        return images.docker("image", "prune", "-f", *words).stdout

    assert "deleted" not in pruned("--filter", "until=24h")
    assert "deleted" not in pruned("--filter", "label=other")
    assert "deleted" not in pruned("--filter", "label!=k")
    out = pruned("--filter", "label=k=v")
    assert f"deleted: {nameless}" in out
    assert "Total reclaimed space:" in out
    assert "free" not in pruned("-a", "--filter", "label!=keep")
    out = pruned("-a")
    assert "untagged: free:1" in out
    assert "used" not in out
    assert "invalid filter 'nope'" in refused(images, "image", "prune", "-f", "--filter", "nope=1")


def test_search(images: Daemon, web: str) -> None:
    def names(*words: str) -> list[str]:
        out = images.docker("search", "--format", "{{.Name}} {{.StarCount}}", *words, f"{web}/x").stdout
        return out.splitlines()

    # docker's CLI puts an index's own name before what it found.
    assert [line.rpartition("/")[2] for line in names()] == ["one 5", "two 1"]
    assert len(names("--filter", "is-official=true")) == 1
    assert len(names("--filter", "stars=3")) == 1
    assert any("q=x" in path and "n=7" in path for path in (names("--limit", "7"), Web.asked)[1])
    assert "limit 200 is outside the range of [1, 100]" in refused(images, "search", "--limit", "200", "x")
    assert "invalid filter 'nope'" in refused(images, "search", "--filter", "nope=1", "x")
    assert "strconv.Atoi" in refused(images, "search", "--filter", "stars=bad", "x")
    assert "invalid filter 'is-official=[bad]'" in refused(
        images, "search", "--filter", "is-official=bad", "x"
    )


def test_search_without_a_way_out(images: Daemon) -> None:
    assert "connection refused" in refused(images, "search", "127.0.0.1:1/x")
