"""Where the results of builds go, by the real docker CLI: images, archives, registries, other targets, compose's services."""

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Daemon
from tests.support.registries import knarr_registry

pytestmark = pytest.mark.usefixtures("emptied")


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
    """A directory."""
    return tmp_path


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry of its own."""
    with knarr_registry(tmp_path_factory.mktemp("registry")) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A context whose build runs nothing."""
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCOPY file /file\n"
    )
    (tmp_path / "file").write_text("small\n")
    return tmp_path


@pytest.fixture
def archives(peer: bool) -> None:
    """dockerd has them only with containerd's image store."""
    if peer:
        pytest.skip("dockerd writes no archives")


def members(path: Path) -> dict[str, bytes]:
    """The files of an archive; each blob is what its name says."""
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                found[member.name] = file.read()
    for name, data in found.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    return found


@pytest.mark.usefixtures("archives")
def test_archives_of_images(daemon: Daemon, small: Path, tmp_path: Path) -> None:
    """An OCI layout, and what `docker load` reads, of one build; both have the image that is stored."""
    oci, docker = tmp_path / "oci.tar", tmp_path / "docker.tar"
    daemon.docker("build", "-t", "built", "-o", f"type=oci,dest={oci}", str(small))
    daemon.docker(
        "build",
        "-o",
        f"type=docker,name=built:archive,dest={docker}",
        "-o",
        "type=image,name=built:stored",
        str(small),
    )
    found = members(oci)
    index = json.loads(found["index.json"])
    assert (
        index["manifests"][0]["annotations"]["io.containerd.image.name"] == "docker.io/library/built:latest"
    )
    assert "manifest.json" not in found
    stored = daemon.inspect("built:stored")
    assert json.loads(members(docker)["manifest.json"])[0]["RepoTags"] == ["built:archive"]
    assert f"blobs/sha256/{stored['Id'].removeprefix('sha256:')}" in found
    daemon.docker("load", "-i", str(docker))
    assert daemon.inspect("built:archive")["Id"] == stored["Id"]


@pytest.mark.usefixtures("archives")
def test_an_archive_to_standard_output(daemon: Daemon, small: Path, tmp_path: Path) -> None:
    """`-o type=docker,dest=-`"""
    argv = ["docker", "build", "-q", "-o", "type=docker,name=built:out,dest=-", str(small)]
    done = subprocess.run(argv, env=daemon.environment(), check=True, capture_output=True, timeout=60)
    path = tmp_path / "out.tar"
    path.write_bytes(done.stdout)
    assert json.loads(members(path)["manifest.json"])[0]["RepoTags"] == ["built:out"]


@pytest.mark.usefixtures("archives")
def test_several_platforms(daemon: Daemon, small: Path, tmp_path: Path) -> None:
    """An index of images that differ."""
    path = tmp_path / "oci.tar"
    daemon.docker("build", "--platform", "linux/amd64,linux/arm64", "-o", f"type=oci,dest={path}", str(small))
    found = members(path)
    (top,) = json.loads(found["index.json"])["manifests"]
    index = json.loads(found[f"blobs/sha256/{top['digest'].removeprefix('sha256:')}"])
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    for entry in index["manifests"]:
        manifest = json.loads(found[f"blobs/sha256/{entry['digest'].removeprefix('sha256:')}"])
        config = json.loads(found[f"blobs/sha256/{manifest['config']['digest'].removeprefix('sha256:')}"])
        assert config["architecture"] == entry["platform"]["architecture"]
        assert f"ARCH={config['architecture']}" in config["config"]["Env"]


def test_push(daemon: Daemon, small: Path, registry: str) -> None:
    """`--push`: the registry has it, under its digest."""
    name = f"{registry}/built/pushed:one"
    daemon.docker("build", "--push", "-t", name, str(small))
    digest = daemon.inspect(name)["RepoDigests"][0].partition("@")[2]
    daemon.docker("rmi", "-f", name)
    assert digest in daemon.docker("pull", name).stdout
    daemon.docker("rmi", "-f", name)


def test_push_without_a_registry(daemon: Daemon, small: Path) -> None:
    """The registry's answer is the build's."""
    done = daemon.docker("build", "--push", "-t", "127.0.0.1:1/built:none", str(small), check=False)
    assert done.returncode == 1
    assert "connection refused" in done.stderr
    daemon.docker("rmi", "-f", "127.0.0.1:1/built:none", check=False)


def test_a_cache_that_is_not_there(daemon: Daemon, small: Path) -> None:
    """Is told of, and fails no build."""
    spec = "type=registry,ref=127.0.0.1:1/none"
    told = daemon.docker("build", "--progress=plain", "--cache-from", spec, str(small)).stderr
    assert "importing cache manifest from 127.0.0.1:1/none" in told


BAKE = """\
target "base" {
  context = "base"
}
target "default" {
  context = "top"
  contexts = { base = "target:base" }
  tags = ["built:baked"]
}
group "both" {
  targets = ["base", "default"]
}
"""


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A project of two targets, one on the other's result."""
    (tmp_path / "docker-bake.hcl").write_text(BAKE)
    for name, text in (
        ("base", "FROM busybox\nRUN echo base >/base\n"),
        ("top", "FROM base\nRUN cat /base >/file; echo top >>/file\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(text)
    return tmp_path


@pytest.mark.parametrize("target", ["default", "both"])
def test_bake_with_linked_targets(daemon: Daemon, linked: Path, target: str) -> None:
    """A target's result is another's base image."""
    file = str(linked / "docker-bake.hcl")
    argv = ["docker", "buildx", "bake", "-f", file, target]
    done = subprocess.run(
        argv, cwd=linked, env=daemon.environment(), check=False, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    assert daemon.docker("run", "--rm", "built:baked", "cat", "/file").stdout == "base\ntop\n"


COMPOSE = """\
name: built
services:
  one:
    build: .
    image: built:one
    command: cat /file
  two:
    build:
      context: .
      dockerfile_inline: |
        FROM busybox
        RUN echo inline >/file
    image: built:two
    command: cat /file
"""


def test_compose_builds(daemon: Daemon, context: Path) -> None:
    """`compose build`, and `up --build` after a change."""
    file = context / "compose.yaml"
    file.write_text(COMPOSE)
    (context / "Dockerfile").write_text("FROM busybox\nCOPY file /file\n")
    (context / "file").write_text("before\n")
    daemon.docker("compose", "-f", str(file), "build")
    assert daemon.docker("run", "--rm", "built:one", "cat", "/file").stdout == "before\n"
    assert daemon.docker("run", "--rm", "built:two", "cat", "/file").stdout == "inline\n"
    (context / "file").write_text("after\n")
    out = daemon.docker("compose", "-f", str(file), "up", "--build").stdout
    daemon.docker("compose", "-f", str(file), "down")
    assert "after" in out
    assert "inline" in out
