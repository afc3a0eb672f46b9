"""Images by the docker CLI: pull, push, tag, remove, import, save, load, inspect, history."""

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import BIN, Daemon


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a knarr-registry of its own."""
    root = tmp_path_factory.mktemp("registry")
    process = subprocess.Popen(
        [sys.executable, str(BIN / "knarr-registry"), "serve", "--root", str(root), "-H", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.strip().rpartition(" ")[2].removeprefix("http://").rstrip("/")
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def scratch(daemon: Daemon) -> Iterator[str]:
    """A name under which a test may tag images; every tag with that name is removed afterwards."""
    yield "scratch"
    for name in daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split():
        if "scratch" in name:
            daemon.docker("rmi", "-f", name, check=False)


def test_images(daemon: Daemon) -> None:
    row = daemon.docker("images", "--format", "{{.Repository}} {{.Tag}} {{.ID}}", "busybox").stdout.split()
    assert row[:2] == ["busybox", "latest"]
    assert daemon.docker("images", "-q", "busybox").stdout.strip() == row[2]
    assert daemon.docker("images", "--no-trunc", "-q", "busybox").stdout.startswith("sha256:" + row[2])


def test_tag_and_remove(daemon: Daemon, scratch: str) -> None:
    daemon.docker("tag", "busybox", f"{scratch}/a:1")
    assert (
        daemon.docker("images", "-q", f"{scratch}/a").stdout
        == daemon.docker("images", "-q", "busybox").stdout
    )
    assert daemon.docker("rmi", f"{scratch}/a:1").stdout == f"Untagged: {scratch}/a:1\n"
    assert daemon.docker("images", "-q", f"{scratch}/a").stdout == ""


def test_remove_an_image_in_use(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "user", "busybox")
    done = daemon.docker("rmi", "busybox", check=False)
    assert done.returncode == 1
    assert 'conflict: unable to remove repository reference "busybox" (must force) - container' in done.stderr


def test_an_unknown_image(daemon: Daemon) -> None:
    for words in (["rmi", "ghost"], ["tag", "ghost", "x"], ["save", "ghost"], ["image", "inspect", "ghost"]):
        done = daemon.docker(*words, check=False)
        assert done.returncode == 1
        assert "no such image: ghost" in done.stderr.lower()


def test_a_bad_reference(daemon: Daemon) -> None:
    assert "must be lowercase" in daemon.docker("pull", "UPPER", check=False).stderr
    assert "invalid reference format" in daemon.docker("tag", "busybox", "a b", check=False).stderr


def test_import_with_changes(daemon: Daemon, scratch: str, busybox: Path) -> None:
    changes = [
        'CMD ["echo", "hi"]',
        "ENV A=1",
        "WORKDIR /tmp",
        "USER daemon",
        "EXPOSE 80",
        "LABEL k=v",
        "VOLUME /data",
        "STOPSIGNAL SIGUSR1",
    ]
    words = [word for change in changes for word in ("--change", change)]
    daemon.docker("import", "-m", "a message", *words, str(busybox), f"{scratch}/imported:1")
    value = json.loads(daemon.docker("image", "inspect", f"{scratch}/imported:1").stdout)[0]
    config = value["Config"]
    assert config["Cmd"] == ["echo", "hi"]
    assert "A=1" in config["Env"]
    assert (config["WorkingDir"], config["User"]) == ("/tmp", "daemon")
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert config["Labels"] == {"k": "v"}
    assert config["Volumes"] == {"/data": {}}
    assert config["StopSignal"] == "SIGUSR1"
    assert value["Comment"] == "a message"
    assert daemon.docker("run", "--rm", f"{scratch}/imported:1").stdout == "hi\n"


def test_save_and_load(daemon: Daemon, scratch: str, tmp_path: Path, busybox: Path) -> None:
    daemon.docker("import", str(busybox), f"{scratch}/saved:1")
    image = daemon.docker("images", "-q", "--no-trunc", f"{scratch}/saved:1").stdout.strip()
    daemon.docker("save", "-o", str(tmp_path / "saved.tar"), f"{scratch}/saved:1")
    with tarfile.open(tmp_path / "saved.tar") as tar:
        names = tar.getnames()
        assert "manifest.json" in names
        manifest = json.load(tar.extractfile("manifest.json") or io.BytesIO())
        assert manifest[0]["RepoTags"] == [f"{scratch}/saved:1"]
    daemon.docker("rmi", f"{scratch}/saved:1")
    assert daemon.docker("load", "-i", str(tmp_path / "saved.tar")).stdout.endswith(
        f"Loaded image: {scratch}/saved:1\n"
    )
    assert daemon.docker("images", "-q", "--no-trunc", f"{scratch}/saved:1").stdout.strip() == image
    assert daemon.docker("run", "--rm", f"{scratch}/saved:1", "echo", "ok").stdout == "ok\n"


def test_load_of_nonsense(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no tar at all" * 100)
    assert daemon.docker("load", "-i", str(tmp_path / "bad.tar"), check=False).returncode == 1


def test_history(daemon: Daemon) -> None:
    out = daemon.docker("history", "--no-trunc", "--format", "{{.ID}} {{.Comment}}", "busybox").stdout
    assert out.startswith("sha256:")


def test_push_and_pull(daemon: Daemon, registry: str, scratch: str, busybox: Path) -> None:
    name = f"{registry}/{scratch}/pushed:1"
    daemon.docker("import", str(busybox), name)
    out = daemon.docker("push", name).stdout
    assert f"The push refers to repository [{registry}/{scratch}/pushed]" in out
    assert "1: digest: sha256:" in out
    assert "Layer already exists" in daemon.docker("push", name).stdout
    image = daemon.docker("images", "-q", "--no-trunc", name).stdout
    daemon.docker("rmi", name)
    out = daemon.docker("pull", name).stdout
    assert f"Status: Downloaded newer image for {name}" in out
    assert out.splitlines()[-1] == name
    assert f"Status: Image is up to date for {name}" in daemon.docker("pull", name).stdout
    assert daemon.docker("images", "-q", "--no-trunc", name).stdout == image
    digest = json.loads(daemon.docker("image", "inspect", "-f", "{{json .RepoDigests}}", name).stdout)[0]
    daemon.docker("rmi", name)
    daemon.docker("pull", digest)
    assert daemon.docker("run", "--rm", digest, "echo", "by digest").stdout == "by digest\n"
    daemon.docker("rmi", "-f", digest)


def test_run_pulls_what_is_missing(daemon: Daemon, registry: str, scratch: str, busybox: Path) -> None:
    name = f"{registry}/{scratch}/missing:1"
    daemon.docker("import", str(busybox), name)
    daemon.docker("push", "-q", name)
    daemon.docker("rmi", name)
    done = daemon.docker("run", "--rm", name, "echo", "pulled")
    assert done.stdout == "pulled\n"
    assert f"Unable to find image '{name}' locally" in done.stderr


def test_pull_of_what_is_not_there(daemon: Daemon, registry: str, scratch: str, busybox: Path) -> None:
    done = daemon.docker("pull", f"{registry}/nobody/nothing:1", check=False)
    assert done.returncode == 1
    assert "manifest unknown" in done.stderr
    done = daemon.docker("pull", "127.0.0.1:1/x", check=False)
    assert done.returncode == 1
    assert "connection refused" in done.stderr


def test_info_and_version(daemon: Daemon) -> None:
    info = json.loads(daemon.docker("info", "-f", "{{json .}}").stdout)
    assert info["Images"] >= 1
    assert info["OSType"] == "linux"
    version = json.loads(daemon.docker("version", "-f", "{{json .Server}}").stdout)
    assert version["Os"] == "linux"
    assert version["ApiVersion"]


def test_volumes(daemon: Daemon) -> None:
    try:
        assert daemon.docker("volume", "create", "--label", "a=b", "vol").stdout == "vol\n"
        assert "vol" in daemon.docker("volume", "ls", "-q", "--filter", "label=a=b").stdout.split()
        value = json.loads(daemon.docker("volume", "inspect", "vol").stdout)[0]
        assert value["Driver"] == "local"
        daemon.docker("create", "--name", "user", "-v", "vol:/v", "busybox")
        done = daemon.docker("volume", "rm", "vol", check=False)
        assert done.returncode == 1
        assert "volume is in use" in done.stderr
        daemon.docker("rm", "user")
    finally:
        daemon.docker("volume", "rm", "-f", "vol")
    assert "no such volume" in daemon.docker("volume", "inspect", "vol", check=False).stderr.lower()


def test_system_df(daemon: Daemon) -> None:
    out = daemon.docker("system", "df").stdout
    assert out.splitlines()[0].split()[:2] == ["TYPE", "TOTAL"]


def test_system_prune(daemon: Daemon) -> None:
    cid = daemon.docker("create", "busybox").stdout.strip()
    out = daemon.docker("system", "prune", "-f").stdout
    assert cid in out
    assert "Total reclaimed space:" in out


def test_what_a_registry_has(daemon: Daemon, registry: str, scratch: str) -> None:
    name = f"{registry}/{scratch}/asked:1"
    daemon.docker("tag", "busybox", name)
    daemon.docker("push", name)
    pushed = daemon.docker("image", "inspect", "-f", "{{index .RepoDigests 0}}", name).stdout.strip()
    status, found = daemon.api("GET", f"/v1.51/distribution/{name}/json")
    assert status == 200
    assert found["Descriptor"]["digest"] == pushed.rpartition("@")[2]
    assert found["Descriptor"]["size"] > 100
    assert [(each["os"], each["architecture"]) for each in found["Platforms"]] == [("linux", "amd64")]
    status, error = daemon.api("GET", f"/v1.51/distribution/{registry}/nothing:1/json")
    assert status in (403, 404)
    assert error["message"]


def test_what_cannot_be_loaded_is_said_in_the_stream(daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "no.tar"
    file.write_bytes(b"abc")
    done = daemon.docker("load", "-i", str(file), check=False)
    assert done.returncode == 1
    assert done.stderr
