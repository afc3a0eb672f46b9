"""Hostile images, and archives for `docker cp`: the classes of 2026's advisories, against a whole engine."""

import contextlib
import gzip
import json
import lzma
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.security.test_archives import Member, directory, link, memory, tar_of
from tests.support import host
from tests.support.daemons import Knarrd


def image(name: str, config: dict[str, Any], *members: Member) -> bytes:
    """What `docker save` would give of one layer over nothing; it has busybox, when `members` bring it."""
    layer = tar_of(*((member, dict(fields)) for member, fields in members))
    facts = {"os": "linux", "architecture": "amd64", "config": config}
    facts["rootfs"] = {"type": "layers", "diff_ids": [f"sha256:{sha256(layer).hexdigest()}"]}
    manifest = [{"Config": "c.json", "RepoTags": [name], "Layers": ["l.tar"]}]
    return tar_of(
        ("c.json", {"data": json.dumps(facts).encode()}),
        ("l.tar", {"data": layer}),
        ("manifest.json", {"data": json.dumps(manifest).encode()}),
    )


@pytest.fixture
def busybox() -> list[Member]:
    """A root of one program."""
    program = Path("/bin/busybox").read_bytes()
    return [
        ("bin", directory()),
        ("bin/busybox", {"data": program, "mode": 0o755}),
        ("bin/sh", link("busybox")),
    ]


@contextlib.contextmanager
def loaded(knarrd: Knarrd, data: bytes, name: str = "hostile:1") -> Iterator[str]:
    """An image for as long as the block."""
    knarrd.docker("load", data=data)
    try:
        yield name
    finally:
        knarrd.remove_containers()
        knarrd.docker("rmi", "-f", name)


def test_cve_2026_57231_a_variable_without_a_value_is_not_the_hosts(
    knarrd: Knarrd, busybox: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    """podman: a name alone in an image's environment took its value from whoever ran the image."""
    monkeypatch.setenv("HOSTS_SECRET", "the client's")
    names = ["HOSTS_SECRET", "PATH=/bin", "HOME", "*", "KNARR_*", "LANG"]
    with loaded(knarrd, image("hostile:1", {"Env": names, "Cmd": ["sh", "-c", "busybox env"]}, *busybox)):
        for run in (knarrd.docker, knarrd.knarr):
            given = dict(
                line.partition("=")[::2] for line in run("run", "--rm", "hostile:1").stdout.splitlines()
            )
            assert "the client's" not in given.values()
            assert set(given) - {""} <= {"PATH", "HOSTNAME", "HOME", "SHLVL", "PWD"}


def test_cve_2026_53488_labels_of_an_image_configure_nothing(
    knarrd: Knarrd, busybox: list[Member], tmp_path: Path
) -> None:
    """containerd: labels of an image became those of the container, and one of them named the host's program for its log."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
    program.chmod(0o755)
    labels = {
        "containerd.io/restart.status": "running",
        "containerd.io/restart.policy": "always",
        "containerd.io/restart.loguri": f"binary://{program}",
        "io.podman.annotations.autoremove": "TRUE",
        "io.podman.annotations.privileged": "TRUE",
        "com.docker.volume.anonymous": "",
        "knarr": "privileged",
    }
    bare = {"Cmd": ["sh", "-c", "echo said"]}
    with loaded(knarrd, image("hostile:1", {**bare, "Labels": labels}, *busybox)):
        knarrd.docker("run", "--name", "labelled", "hostile:1")
        (labelled,) = json.loads(knarrd.docker("inspect", "labelled").stdout)
    with loaded(knarrd, image("hostile:1", bare, *busybox)):
        knarrd.docker("run", "--name", "plain", "hostile:1")
        (plain,) = json.loads(knarrd.docker("inspect", "plain").stdout)
    assert labelled["Config"]["Labels"] == labels
    assert labelled["HostConfig"] == plain["HostConfig"]
    assert [path.name for path in tmp_path.iterdir()] == ["program"]


@pytest.mark.parametrize(
    "way", ["{host}", "../../../../../../../../..{host}", "/proc/1/root{host}", "/proc/self/cwd"]
)
def test_cve_2026_55686_a_working_directory_behind_a_link(
    knarrd: Knarrd, busybox: list[Member], tmp_path: Path, way: str
) -> None:
    """podman: where WORKDIR led by a link, the host's directory was made, or given away."""
    outside = tmp_path / "host"
    outside.mkdir(mode=0o700)
    members = [*busybox, ("way", link(way.format(host=outside)))]
    config = {"WorkingDir": "/way/made/below", "User": "1234", "Cmd": ["sh", "-c", "busybox pwd"]}
    with loaded(knarrd, image("hostile:1", config, *members)):
        knarrd.docker("run", "--rm", "hostile:1", check=False)
        knarrd.docker("run", "--rm", "-w", "/way", "hostile:1", check=False)
        knarrd.docker("create", "hostile:1")
    assert list(outside.iterdir()) == []
    assert (outside.stat().st_uid, outside.stat().st_mode & 0o777) == (0, 0o700)


def test_ghsa_jpcc_p29g_p8mq_files_of_users_without_end(knarrd: Knarrd, busybox: list[Member]) -> None:
    """containerd and BuildKit: the image's passwd and group files were read whole, by the engine."""
    line = b"group-%d:x:%d:member,member,member,member\n"
    text = b"root:x:0:0::/:\n" + b"".join(line % (number, number) for number in range(50_000)) * 12
    members = [*busybox, ("etc", directory())]
    members += [(f"etc/{name}", {"data": text}) for name in ("passwd", "group")]
    config = {"User": "nobody-like-that", "Cmd": ["sh", "-c", "echo ran"]}
    data = gzip.compress(image("hostile:1", config, *members), 1)
    assert len(text) > 24 << 20
    with loaded(knarrd, data):
        status = Path(f"/proc/{knarrd.process.pid}/status")
        before = memory(status)
        missed = knarrd.docker("run", "--rm", "hostile:1", check=False)
        assert "no matching entries in passwd file" in missed.stderr
        knarrd.docker("run", "-d", "-u", "0", "--name", "up", "hostile:1", "sh", "-c", "busybox sleep 1000")
        found = knarrd.docker("exec", "-u", "root", "up", "sh", "-c", "echo ran").stdout
        assert found == "ran\n"
        assert knarrd.docker("exec", "-u", "nobody-like-that", "up", "sh", check=False).returncode != 0
        assert memory(status) - before < 20 << 10, "in KiB"


@pytest.mark.parametrize("packed", [gzip.compress, lzma.compress])
def test_cve_2026_41567_an_archive_is_unpacked_by_no_program_of_the_container(
    knarrd: Knarrd, packed: Any
) -> None:
    """docker cp: dockerd looked for xz and unpigz after it had stepped into the container's root."""
    script = """
      mkdir -p /usr/bin /usr/local/bin /usr/local/sbin /sbin
      for place in /usr/bin /bin /usr/local/bin /usr/local/sbin /sbin; do for name in unpigz pigz xz zstd bzip2 tar; do
        rm -f $place/$name; printf '#!/bin/sh\\ntouch /executed\\n' >$place/$name; chmod 755 $place/$name
      done; done; touch /laid; exec sleep 1000
    """
    knarrd.docker("run", "-d", "--name", "trap", "busybox", "sh", "-c", script)
    seen = ("exec", "trap", "test", "-e", "/laid")
    host.wait_for(lambda: knarrd.docker(*seen, check=False).returncode == 0, "the trap is laid")
    knarrd.docker("cp", "-", "trap:/tmp", data=packed(tar_of(("in", {"data": b"in\n"}))), check=False)
    there = set(knarrd.docker("exec", "trap", "ls", "/", "/tmp").stdout.split())
    assert "executed" not in there
    assert "in" in there


def test_cve_2026_42306_a_volumes_place_is_swapped_during_docker_cp(knarrd: Knarrd, tmp_path: Path) -> None:
    """And 2026-41568: dockerd mounts the volumes again for it, over paths that the container changes meanwhile."""
    outside = tmp_path / "host"
    outside.mkdir()
    swap = f"""
      mkdir -p /a/b; ln -s {outside} /a/link; touch /laid
      while :; do mv /a/b /a/kept; mv /a/link /a/b; mv /a/b /a/link; mv /a/kept /a/b; done
    """
    knarrd.docker("run", "-d", "--name", "trap", "-v", "ktswap:/a/b/c", "busybox", "sleep", "1000")
    # A mount's own place cannot be moved; the directory that it is in can.
    knarrd.docker("exec", "-d", "trap", "sh", "-c", swap)
    seen = ("exec", "trap", "test", "-e", "/laid")
    host.wait_for(lambda: knarrd.docker(*seen, check=False).returncode == 0, "the trap is laid")
    swapped = ("exec", "trap", "test", "-L", "/a/b")
    host.wait_for(lambda: knarrd.docker(*swapped, check=False).returncode == 0, "a link is in its place")
    try:
        for number in range(8):
            data = tar_of((f"in-{number}", {"data": b"in"}), ("d", directory()))
            knarrd.docker("cp", "-", "trap:/a/b/c", data=data, check=False)
            knarrd.docker("cp", "trap:/a/b", "-", check=False)
        assert list(outside.iterdir()) == []
        assert host.mounts([str(outside)]) == set()
    finally:
        knarrd.remove_containers()
        knarrd.docker("volume", "rm", "ktswap")
