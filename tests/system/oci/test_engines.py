"""Other engines use knarr-oci in runc's place: podman, dockerd, and containerd by its own client."""

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import PEERS, Dockerd, busybox_tar
from tests.support.podmans import Podman
from tests.support.terminal import Terminal
from tests.system.oci.conftest import STUB

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("no_engines_cgroup_stays")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of this module's."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def runtime(place: Path) -> str:
    """knarr-oci as a program with a path, which also tells that it was asked."""
    path = place / "knarr-oci"
    path.write_text(f"#!{sys.executable}\n{STUB}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def podman(rootfs: Path, runtime: str) -> Iterator[Podman]:
    """Without containers in the end. Its directories may not have long names."""
    with tempfile.TemporaryDirectory(prefix="kpodman-") as place:
        command = Podman(Path(place), rootfs, runtime)
        yield command
        command("rm", "--all", "--force", "--time", "0")
        for point in sorted(host.mounts([place]), reverse=True):
            subprocess.run(["umount", point], check=True)


def test_podman_runs_a_container(podman: Podman) -> None:
    done = podman.run("--rm", "--", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert done.stderr.endswith("err\n")
    assert podman.run("--rm", "--", "/nosuch", check=False).returncode == 127


def test_podman_keeps_one_for_execs_and_pauses(podman: Podman) -> None:
    name = podman.run("-d", "--memory", "32m", "--", "sleep", "1000").stdout.strip()
    assert podman("exec", "-e", "A=b", name, "sh", "-c", "echo $A; exit 3", check=False).returncode == 3
    assert podman("exec", name, "echo", "in it").stdout == "in it\n"
    podman("pause", name)
    assert podman("inspect", "--format", "{{.State.Status}}", name).stdout == "paused\n"
    podman("unpause", name)
    assert name[:12] in podman("ps").stdout
    podman("kill", name)
    assert podman("wait", name).stdout == "137\n"
    podman("rm", name)


def test_podman_has_a_terminal(podman: Podman) -> None:
    words = ("run", "--rm", "-it", "--network", "none", "--rootfs", str(podman.rootfs), "sh")
    terminal = Terminal(podman.argv(*words), env=podman.environment)
    terminal.expect("# ")
    terminal.type("tty; exit 5\n")
    terminal.expect("/dev/pts/0")
    assert terminal.wait() == 5


@pytest.fixture(scope="module")
def dockerd(place: Path, runtime: str) -> Iterator[Dockerd]:
    """Debian's dockerd that has knarr-oci for a runtime."""
    daemon = Dockerd("ktbociengine0", "10.233.9.0/24", options=("--add-runtime", f"knarr={runtime}"))
    try:
        daemon.start()
        daemon.give_busybox(busybox_tar(place))
        yield daemon
    finally:
        daemon.close()


def test_dockerd_runs_a_container(dockerd: Dockerd) -> None:
    words = ("run", "--rm", "--runtime", "knarr", "--memory", "32m", "busybox", "sh", "-c", "id -u; exit 7")
    done = dockerd.docker(*words, check=False)
    assert (done.returncode, done.stdout) == (7, "0\n"), done
    failed = dockerd.docker("run", "--rm", "--runtime", "knarr", "busybox", "/nosuch", check=False)
    assert failed.returncode == 127
    assert "no such file or directory" in failed.stderr


def test_dockerd_keeps_one_for_execs_and_pauses(dockerd: Dockerd) -> None:
    dockerd.docker("run", "-d", "--runtime", "knarr", "--name", "kept", "busybox", "sleep", "1000")
    assert dockerd.docker("exec", "-u", "33", "kept", "id", "-u").stdout == "33\n"
    assert dockerd.docker("exec", "kept", "sh", "-c", "exit 3", check=False).returncode == 3
    dockerd.docker("update", "--pids-limit", "20", "kept")
    assert dockerd.docker("exec", "kept", "cat", "/sys/fs/cgroup/pids/pids.max").stdout == "20\n"
    dockerd.docker("pause", "kept")
    assert dockerd.inspect("kept")["State"]["Status"] == "paused"
    dockerd.docker("unpause", "kept")
    assert "sleep 1000" in dockerd.docker("top", "kept").stdout
    dockerd.docker("kill", "kept")
    assert dockerd.docker("wait", "kept").stdout == "137\n"
    dockerd.docker("rm", "kept")


def test_containerd_runs_a_container(dockerd: Dockerd, rootfs: Path, runtime: str) -> None:
    name = f"t{uuid.uuid4().hex[:10]}"
    argv = [str(PEERS / "usr/bin/ctr"), "--address", str(dockerd.root / "containerd.sock"), "run", "--rm"]
    argv += ["--runc-binary", runtime, "--rootfs", str(rootfs), name, "/bin/sh", "-c", "echo by ctr; exit 4"]
    environment = {**os.environ, "PATH": f"{PEERS / 'usr/bin'}:{os.environ['PATH']}"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "by ctr\n"), done
