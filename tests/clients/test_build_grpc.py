"""gRPC as clients speak it: without an upgrade, and errors whose details are large."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Daemon

BUILDER = "by-address"


@pytest.fixture
def builder(daemon: Daemon, peer: bool) -> Iterator[str]:
    """buildx' driver for builders elsewhere, pointed at the engine's own socket: it speaks HTTP/2 from the first byte. Newer
    dockerds answer so, than the one that the other tests are held against."""
    if peer:
        pytest.skip("dockerd 28 serves gRPC behind an upgrade only")
    daemon.docker("buildx", "create", "--name", BUILDER, "--driver", "remote", f"unix://{daemon.socket}")
    yield BUILDER
    daemon.docker("buildx", "rm", "-f", BUILDER)
    daemon.docker("buildx", "prune", "-af")


@pytest.mark.parametrize("size", [60_000, 2_000_000])
def test_an_error_has_its_place_in_a_dockerfile_of_any_size(
    daemon: Daemon, tmp_path: Path, size: int
) -> None:
    comment = "# nothing to see\n"
    lines = size // len(comment)
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\n{comment * lines}RUN exit 3\n")
    done = daemon.docker("build", str(tmp_path), check=False)
    assert f"Dockerfile:{lines + 2}" in done.stderr
    assert f"{lines + 2} | >>> RUN exit 3" in done.stderr


def test_a_builder_at_an_address(daemon: Daemon, builder: str, tmp_path: Path) -> None:
    told = daemon.docker("buildx", "inspect", builder).stdout
    assert "running" in told
    (tmp_path / "word").write_text("said")
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nCOPY word /\nRUN --mount=type=secret,id=s cat /word /run/secrets/s > /all\n"
        "FROM scratch\nCOPY --from=0 /all /\n"
    )
    (tmp_path / "secret").write_text(" softly")
    daemon.docker(
        "buildx", "build", "--builder", builder, "--secret", f"id=s,src={tmp_path}/secret",
        "-o", f"type=local,dest={tmp_path}/out", str(tmp_path),
    )  # fmt: skip
    assert (tmp_path / "out/all").read_text() == "said softly"
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN exit 3\n")
    done = daemon.docker("buildx", "build", "--builder", builder, str(tmp_path), check=False)
    assert "exit code: 3" in done.stderr
    assert "Dockerfile:2" in done.stderr
