"""oras and crane, unmodified, against knarr-registry."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.registries import knarr_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry of its own."""
    with knarr_registry(tmp_path_factory.mktemp("registry")) as port:
        yield f"127.0.0.1:{port}"


class Tool:
    """One program in a home and a working directory of its own."""

    def __init__(self, program: Path, directory: Path):
        self._program = program
        self.directory = directory

    def __call__(self, *arguments: str, check: bool = True) -> str:
        result = subprocess.run(
            [str(self._program), *arguments],
            cwd=self.directory,
            env={**os.environ, "HOME": str(self.directory), "DOCKER_CONFIG": str(self.directory)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert not check or result.returncode == 0, result.stderr
        return result.stdout if result.returncode == 0 else result.stderr


@pytest.fixture
def oras(clients: Path, tmp_path: Path) -> Tool:
    return Tool(clients / "oras", tmp_path)


@pytest.fixture
def crane(clients: Path, tmp_path: Path) -> Tool:
    return Tool(clients / "crane", tmp_path)


def test_oras_pushes_and_pulls_an_artifact(oras: Tool, registry: str) -> None:
    (oras.directory / "hello.txt").write_text("hello")
    (oras.directory / "large.bin").write_bytes(bytes(range(256)) * 20_000)
    name = f"{registry}/art/hello:v1"
    oras("push", "--plain-http", name, "hello.txt:text/plain", "large.bin")
    (oras.directory / "out").mkdir()
    oras("pull", "--plain-http", "-o", "out", name)
    assert (oras.directory / "out/hello.txt").read_text() == "hello"
    assert (oras.directory / "out/large.bin").read_bytes() == bytes(range(256)) * 20_000
    assert oras("repo", "tags", "--plain-http", f"{registry}/art/hello").split() == ["v1"]
    assert "art/hello" in oras("repo", "ls", "--plain-http", registry).split()


def test_oras_attaches_and_discovers(oras: Tool, registry: str) -> None:
    (oras.directory / "a.txt").write_text("a")
    (oras.directory / "signature.txt").write_text("s")
    name = f"{registry}/art/signed:v1"
    oras("push", "--plain-http", name, "a.txt")
    oras("attach", "--plain-http", "--artifact-type", "example/signature", name, "signature.txt")
    found = json.loads(oras("discover", "--plain-http", "--format", "json", name))
    entries = found.get("referrers") or found.get("manifests")
    assert [each["artifactType"] for each in entries] == ["example/signature"]
    # The referrers API answered: no fallback tag was written.
    assert oras("repo", "tags", "--plain-http", f"{registry}/art/signed").split() == ["v1"]


def test_oras_copies_and_deletes(oras: Tool, registry: str) -> None:
    (oras.directory / "a.txt").write_text("copied")
    oras("push", "--plain-http", f"{registry}/art/from:1", "a.txt")
    plain = ("--from-plain-http", "--to-plain-http")
    oras("cp", *plain, f"{registry}/art/from:1", f"{registry}/art/to:2")
    oras("manifest", "delete", "--plain-http", "-f", f"{registry}/art/from:1")
    assert "not found" in oras("manifest", "fetch", "--plain-http", f"{registry}/art/from:1", check=False)
    assert json.loads(oras("manifest", "fetch", "--plain-http", f"{registry}/art/to:2"))["layers"]


def test_crane_appends_copies_and_lists(crane: Tool, registry: str) -> None:
    (crane.directory / "etc").mkdir()
    (crane.directory / "etc/issue").write_text("knarr\n")
    subprocess.run(["tar", "-cf", "layer.tar", "etc"], cwd=crane.directory, check=True)
    name = f"{registry}/img/base:1"
    crane("append", "--insecure", "-f", "layer.tar", "-t", name)
    digest = crane("digest", "--insecure", name).strip()
    manifest = json.loads(crane("manifest", "--insecure", name))
    assert len(manifest["layers"]) == 1
    crane("copy", "--insecure", name, f"{registry}/img/copy:2")
    assert crane("digest", "--insecure", f"{registry}/img/copy:2").strip() == digest
    crane("tag", "--insecure", name, "stable")
    assert crane("ls", "--insecure", f"{registry}/img/base").split() == ["1", "stable"]
    assert {"img/base", "img/copy"} <= set(crane("catalog", "--insecure", registry).split())
    assert crane("blob", "--insecure", f"{registry}/img/base@{manifest['config']['digest']}").startswith("{")
    crane("export", "--insecure", f"{registry}/img/copy:2", "root.tar")
    listed = subprocess.run(
        ["tar", "-tf", "root.tar"], cwd=crane.directory, check=True, capture_output=True, text=True
    )
    assert "etc/issue" in listed.stdout
    crane("validate", "--insecure", "--remote", name)


def test_crane_is_told_what_is_not_there(crane: Tool, registry: str) -> None:
    assert "MANIFEST_UNKNOWN" in crane("manifest", "--insecure", f"{registry}/nobody:1", check=False)
    assert "NAME_UNKNOWN" in crane("ls", "--insecure", f"{registry}/nobody", check=False)
