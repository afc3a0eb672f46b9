"""POST /build as docker-py and `DOCKER_BUILDKIT=0` use it: fields that are wrong, that are refused, and that count."""

import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.daemons import Daemon


def archive(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def post(daemon: Daemon, query: str, **files: str) -> tuple[int, str, str]:
    """Status, all that was said, and the error."""
    done = subprocess.run(
        [
            "curl",
            "-s",
            "-m",
            "60",
            "--unix-socket",
            str(daemon.socket),
            "-X",
            "POST",
            "--data-binary",
            "@-",
            "-H",
            "Content-Type: application/x-tar",
            "-w",
            "\n%{http_code}",
            f"http://d/v1.45/build?{query}",
        ],
        input=archive(**(files or {"Dockerfile": "FROM busybox\n"})),
        capture_output=True,
        check=True,
    )
    *lines, status = done.stdout.decode().splitlines()
    values: list[dict[str, Any]] = [json.loads(line) for line in lines if line.strip()]
    errors = [str(each.get("error") or each.get("message") or "") for each in values]
    return int(status), "".join(str(each.get("stream", "")) for each in values), "".join(errors)


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ("squash=1", 400, "squash is only supported with experimental mode"),
        ("securityopt=x", 400, "security options are not supported on linux"),
        ("isolation=x", 400, 'unsupported isolation: "x"'),
        ("version=7", 400, 'invalid version "7"'),
        (
            "ulimits=zz",
            400,
            "error reading ulimit settings: invalid character 'z' looking for beginning of value",
        ),
        (
            "buildargs=x",
            400,
            "error reading build args: invalid character 'x' looking for beginning of value",
        ),
        ("labels=x", 400, "error reading labels: invalid character 'x' looking for beginning of value"),
        ("target=nosuch", 400, 'target stage "nosuch" could not be found'),
        ("isolation=default&memory=x&cpuquota=zz&rm=x&version=1&squash=0", 200, ""),
    ],
)
def test_fields_that_are_wrong(daemon: Daemon, query: str, status: int, error: str) -> None:
    assert post(daemon, query)[::2] == (status, error)


def test_a_dockerfile_outside_of_the_context_is_refused(daemon: Daemon) -> None:
    assert post(daemon, "dockerfile=../x")[2] == "forbidden path outside the build context: ../x ()"


def test_limits_labels_and_networks(daemon: Daemon) -> None:
    limits = quote(json.dumps([{"Name": "nofile", "Soft": 100, "Hard": 200}]))
    labels = quote(json.dumps({"x": "y", "a": "c d"}))
    file = "FROM busybox\nRUN echo limits $(ulimit -n) $(ulimit -Hn); ls /sys/class/net\n"
    query = f"t=classic&nocache=1&ulimits={limits}&labels={labels}&networkmode=none"
    status, said, error = post(daemon, query, Dockerfile=file)
    assert (status, error) == (200, "")
    assert "limits 100 200\nlo\n" in said
    assert "Step 2/4 : RUN echo" in said
    assert "Step 3/4 : LABEL a=c d\n" in said
    assert "Step 4/4 : LABEL x=y\n" in said
    assert daemon.inspect("classic")["Config"]["Labels"] == {"a": "c d", "x": "y"}
    error = post(daemon, "nocache=1&networkmode=nosuch", Dockerfile=file)[2]
    assert "network nosuch not found" in error


def test_dockers_archive_without_an_end(daemon: Daemon, tmp_path: Path) -> None:
    """A Dockerfile outside is added by docker's CLI as the last file, without what should follow it."""
    (tmp_path / "context").mkdir()
    (tmp_path / "context/a").write_text("a")
    (tmp_path / "outside").write_text("FROM busybox\nCOPY a /\nLABEL from=outside\n")
    subprocess.run(
        ["docker", "build", "-t", "classic", "-f", str(tmp_path / "outside"), str(tmp_path / "context")],
        env={**daemon.environment(), "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        check=True,
        timeout=100,
    )
    assert daemon.inspect("classic")["Config"]["Labels"] == {"from": "outside"}
