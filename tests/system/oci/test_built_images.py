"""Images that knarr built run on other engines: Debian's podman and containerd, from an OCI archive and from a registry."""

import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import host
from tests.support.daemons import BIN, PEERS, Dockerd, Knarrd, busybox_tar
from tests.support.podmans import Podman
from tests.support.registries import knarr_registry

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("no_engines_cgroup_stays")]

DOCKERFILE = """FROM busybox AS made
RUN mkdir -p /opt/app && echo built > /opt/app/made && ln -s made /opt/app/link && ln /opt/app/made /opt/app/hard
RUN echo gone > /gone && mkdir /emptied && echo x > /emptied/x
FROM busybox
COPY --from=made --chown=65534:65534 --chmod=750 /opt/app /opt/app
COPY --from=made /gone /emptied /there/
RUN rm -r /there/gone && mkdir /etc/more && chmod 1777 /etc/more
ENV WORD=said
WORKDIR /opt/app
USER nobody
LABEL a=b
ENTRYPOINT ["sh", "-c", "echo $(id -u) $(pwd) $WORD $(cat link) $(stat -c %a:%U . /etc/more) $(ls /there) $0"]
CMD ["end"]
"""
SAID = "65534 /opt/app said built 750:nobody 1777:root x end\n"


class Built(NamedTuple):
    """One image: its OCI archive, and its name in a registry."""

    archive: Path
    name: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Built once, by `knarr build`, and given away in both ways."""
    directory = tmp_path_factory.mktemp("built")
    (directory / "Dockerfile").write_text(DOCKERFILE)
    daemon = Knarrd("ktbuilt0", "10.231.7.0/24")
    with knarr_registry(directory / "registry") as port:
        name = f"127.0.0.1:{port}/team/app:1"
        try:
            daemon.start()
            daemon.docker(
                "import", "--change", "ENV PATH=/bin", str(busybox_tar(directory)), "busybox:latest"
            )
            archive = directory / "app.tar"
            words = ["-t", name, "-o", f"type=oci,dest={archive}", "--push", str(directory)]
            subprocess.run(
                [str(BIN / "knarr"), "build", "-q", *words], env=daemon.environment(), check=True, timeout=120
            )
            yield Built(archive, name)
        finally:
            daemon.close()


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """With its own runtime, and nothing of it left."""
    with tempfile.TemporaryDirectory(prefix="kpodman-") as place:
        command = Podman(Path(place), runtime=str(PEERS / RUNC))
        yield command
        command("rm", "--all", "--force", "--time", "0")
        for point in sorted(host.mounts([place]), reverse=True):
            subprocess.run(["umount", point], check=True)


@pytest.fixture(scope="module")
def containerd() -> Iterator[Dockerd]:
    """containerd alone, as dockerd's tests start it."""
    daemon = Dockerd("ktbuilt1", "10.231.8.0/24")
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()


# Debian's podman comes with crun, which knows no host of both cgroup versions: runc does.
RUNC = "usr/sbin/runc"
# podman's own limits are higher than some hosts allow.
RUN = ("run", "--rm", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")


def test_podman_runs_an_archive(podman: Podman, built: Built) -> None:
    name = podman("load", "-q", "-i", str(built.archive)).stdout.strip().rpartition(" ")[2]
    assert podman(*RUN, name).stdout == SAID
    assert podman("image", "inspect", "--format", "{{.Labels}}", name).stdout == "map[a:b]\n"


def test_podman_runs_what_a_registry_has(podman: Podman, built: Built) -> None:
    podman("pull", "-q", "--tls-verify=false", built.name)
    assert podman(*RUN, built.name).stdout == SAID


def ctr(containerd: Dockerd, *words: str) -> str:
    argv = [str(PEERS / "usr/bin/ctr"), "--address", str(containerd.root / "containerd.sock"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize("way", ["archive", "registry"])
def test_containerd_runs_both(containerd: Dockerd, built: Built, way: str) -> None:
    if way == "archive":
        ctr(containerd, "images", "import", str(built.archive))
    else:
        ctr(containerd, "images", "pull", "--plain-http", built.name)
    name = next(line.split()[0] for line in ctr(containerd, "images", "ls").splitlines()[1:])
    assert ctr(containerd, "run", "--rm", name, f"t{uuid.uuid4().hex[:10]}") == SAID
    ctr(containerd, "images", "rm", "--sync", name)
