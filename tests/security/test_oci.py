"""knarr-oci by itself: what it inherited from its caller, and what a bundle leaves unsaid."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.security.conftest import PARENT
from tests.support import host
from tests.system.oci.conftest import Oci, rootfs

__all__ = ["rootfs"]


@pytest.fixture
def oci(tmp_path: Path, rootfs: Path) -> Iterator[Oci]:
    """The command; nothing of any container is left afterwards."""
    command = Oci(tmp_path, rootfs)
    yield command
    assert not command.root.exists() or os.listdir(command.root) == []
    host.settle(lambda: host.cgroups(PARENT))
    for parent in [host.CGROUP / PARENT, *host.CGROUP.glob(f"*/{PARENT}")]:
        if parent.exists():
            parent.rmdir()


def run(oci: Oci, *command: str, flags: tuple[str, ...] = (), third: Path, **changes: Any) -> str:
    """What a container says; the caller has left a directory open as descriptor 3."""
    linux = {"cgroupsPath": f"/{PARENT}/{uuid.uuid4().hex}", **changes.pop("linux", {})}
    name, bundle = oci.bundle(*command, linux=linux, **changes)
    argv = oci.argv("run", *flags, "-b", bundle, name)
    done = subprocess.run(
        ["sh", "-c", 'exec 3<"$0"; exec "$@"', str(third), *argv],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_cve_2024_21626_descriptors_of_the_caller_stay_outside(oci: Oci, tmp_path: Path) -> None:
    """What the caller left open is a way to the host; only --preserve-fds says that it is meant."""
    (tmp_path / "secret").write_text("the host's")
    read = ("cat", "/proc/self/fd/3/secret")
    assert run(oci, *read, flags=("--preserve-fds", "1"), third=tmp_path) == "the host's"
    assert "the host's" not in run(oci, *read, third=tmp_path)
    there = {"cwd": "/proc/self/fd/3"}
    for flags in ((), ("--preserve-fds", "1")):
        said = run(oci, "cat", "secret", flags=flags, third=tmp_path, process=there)
        assert "the host's" not in said
        assert "run failed" in said


def test_cve_2019_5736_the_runtime_is_no_command(oci: Oci, tmp_path: Path) -> None:
    assert run(oci, "/bin/busybox", "echo", "a command", third=tmp_path) == "a command\n"
    assert "ymbolic links" in run(oci, "/proc/self/exe", "-c", "print(1)", third=tmp_path)


def test_a_bundle_that_names_no_capabilities_gets_none(oci: Oci, tmp_path: Path) -> None:
    read = ("grep", "Cap", "/proc/self/status")
    named = run(oci, *read, third=tmp_path)
    assert named.count("0" * 16) < 5
    unnamed = run(oci, *read, third=tmp_path, process={"capabilities": None})
    assert unnamed.count("0" * 16) == 5
