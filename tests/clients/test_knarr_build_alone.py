"""`knarr build` speaks BuildKit's protocol itself: what goes in and comes out, its display, and its end. dockerd serves it too."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import BIN, Daemon
from tests.support.terminal import Terminal

DOCKERFILE = "FROM busybox\nARG WHO=nobody\nCOPY . /ctx/\nRUN echo hi $WHO > /hi && cat /hi\n"
KNARR = str(BIN / "knarr")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "ctx"
    (root / "sub/deep").mkdir(parents=True)
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / "a.txt").write_text("a")
    (root / "sub/b.md").write_text("b")
    (root / "sub/deep/c.md").write_text("c")
    (root / "link").symlink_to("sub/b.md")
    (root / "big").write_bytes(bytes(300_000))
    (root / ".dockerignore").write_text("**/*.md\n!sub/deep/*.md\nDockerfile\n")
    return root


def build(
    daemon: Daemon, *words: str, data: bytes = b"", code: int = 0
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [KNARR, "build", *words],
        env={**daemon.environment(), "DOCKER_BUILDKIT": "1", "TOKEN": "t0ken"},
        input=data,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()
    return done


def test_a_context_goes_in_and_an_image_comes_out(daemon: Daemon, context: Path, tmp_path: Path) -> None:
    words = ("--build-arg", "WHO=me", "--label", "x=y", "--iidfile", str(tmp_path / "id"))
    done = build(daemon, "-t", "alone", *words, "--metadata-file", str(tmp_path / "md"), str(context))
    lines = done.stderr.decode().splitlines()
    assert any(line.endswith("[3/3] RUN echo hi me > /hi && cat /hi") for line in lines)
    assert any(line.startswith("#") and line.endswith(" hi me") for line in lines)
    image = daemon.inspect("alone")
    assert image["Config"]["Labels"] == {"x": "y"}
    assert (tmp_path / "id").read_text() == image["Id"]
    assert json.loads((tmp_path / "md").read_text())["containerimage.config.digest"] == image["Id"]
    found = daemon.docker("run", "--rm", "alone", "find", "/ctx").stdout.split()
    assert sorted(found) == [
        "/ctx",
        "/ctx/.dockerignore",
        "/ctx/a.txt",
        "/ctx/big",
        "/ctx/link",
        "/ctx/sub",
        "/ctx/sub/deep",
        "/ctx/sub/deep/c.md",
    ]
    again = build(daemon, "-t", "alone", *words, str(context))
    assert again.stderr.count(b" CACHED\n") == 2
    assert build(daemon, "-q", *words, str(context)).stdout.decode().strip() == image["Id"]


def test_files_and_archives_come_out(daemon: Daemon, context: Path, tmp_path: Path) -> None:
    (context / "Dockerfile").write_text(
        "FROM busybox AS b\nRUN mkdir /o && echo x > /o/x && chmod 4750 /o/x && ln -s x /o/l && ln /o/x /o/h\n"
        "FROM scratch\nCOPY --from=b /o /o\n"
    )
    out = tmp_path / "out"
    out.mkdir()
    (out / "o").symlink_to("/nowhere")
    build(daemon, "-o", str(out), str(context))
    assert (out / "o/x").read_text() == "x\n"
    assert (out / "o/x").stat().st_mode & 0o7777 == 0o4750
    assert (out / "o/x").stat().st_ino == (out / "o/h").stat().st_ino
    assert os.readlink(out / "o/l") == "x"
    done = build(daemon, "-o", "-", "-q", str(context))
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert "o/x" in archive.getnames()
    done = build(daemon, "-o", f"type=tar,dest={tmp_path}/none/t", str(context), code=1)
    assert b"No such file or directory" in done.stderr


def test_a_dockerfile_and_an_archive_from_standard_input(daemon: Daemon, context: Path) -> None:
    build(daemon, "-t", "alone", "-", data=b"FROM busybox\nLABEL from=stdin\n")
    assert daemon.inspect("alone")["Config"]["Labels"] == {"from": "stdin"}
    build(daemon, "-t", "alone", "-f", "-", str(context), data=b"FROM busybox\nCOPY a.txt /\nLABEL f=dash\n")
    assert daemon.inspect("alone")["Config"]["Labels"] == {"f": "dash"}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("Dockerfile", "a.txt", "big", "sub"):
            tar.add(context / name, name)
    (context / "Dockerfile").write_text("FROM nothing\n")
    build(daemon, "-t", "alone", "-", data=archive.getvalue())
    assert daemon.docker("run", "--rm", "alone", "cat", "/hi").stdout == "hi nobody\n"


def test_other_contexts_secrets_and_agents(daemon: Daemon, context: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/o").write_text("other")
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "df").write_text(
        "FROM base\nCOPY --from=other o /o\n"
        "RUN --mount=type=secret,id=file --mount=type=secret,id=env,env=V cat /run/secrets/file; echo $V\n"
        "RUN --mount=type=ssh,required=true test -S $SSH_AUTH_SOCK && echo agent\n"
    )
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    words = ["-f", str(tmp_path / "df"), "--build-context", "base=docker-image://busybox"]
    words += ["--build-context", f"other={tmp_path}/other", "--secret", f"id=file,src={tmp_path}/secret"]
    words += ["--secret", "id=env,env=TOKEN", "--no-cache"]
    told = build(daemon, *words, "--ssh", f"default={tmp_path}/key", str(context)).stderr.decode()
    assert " s3crett0ken\n" in told
    assert " agent\n" in told
    done = build(daemon, *words, str(context), code=1)
    assert b"unset ssh forward key" in done.stderr
    leftover = subprocess.run(
        ["pgrep", "-f", "ssh-agent -s -a .*knarr-agent-"], capture_output=True, check=False
    )
    assert leftover.stdout == b""


def test_questions_are_answered_and_nothing_is_built(daemon: Daemon, context: Path) -> None:
    assert build(daemon, "--check", str(context)).stdout == b"Check complete, no warnings found.\n"
    (context / "Dockerfile").write_text("FROM busybox as b\nRUN false\n")
    done = build(daemon, "--check", str(context), code=1)
    assert done.stdout.startswith(b"Check complete, 1 warning has been found!\n")
    assert b"FromAsCasing" in done.stdout
    told = build(daemon, "-q", "--call=targets,format=json", str(context)).stdout
    assert [each["name"] for each in json.loads(told)["targets"]] == ["b"]


def test_an_error_shows_the_step_and_its_line(daemon: Daemon) -> None:
    done = build(daemon, "-", data=b"FROM busybox\nRUN echo out; exit 7\n", code=1)
    told = done.stderr.decode()
    assert "------\n > [2/2] RUN echo out; exit 7:\n" in told
    assert "   2 | >>> RUN echo out; exit 7\n" in told
    assert told.endswith(
        "ERROR: failed to build: failed to solve: "
        'process "/bin/sh -c echo out; exit 7" did not complete successfully: exit code: 7\n'
    )
    done = build(daemon, "--progress", "rawjson", "-", data=b"FROM busybox\nRUN echo json; false\n", code=1)
    *lines, last = done.stderr.decode().splitlines()
    assert last.startswith("ERROR: ")
    logs = [log for line in lines for log in json.loads(line).get("logs", ())]
    assert any(log["data"] == "anNvbgo=" for log in logs)


def test_a_terminal_shows_a_picture(daemon: Daemon, context: Path) -> None:
    env = {**daemon.environment(), "TERM": "xterm", "DOCKER_BUILDKIT": "1"}
    with Terminal([KNARR, "build", str(context)], env, (24, 100)) as terminal:
        terminal.expect(r"\[\+\] Building \d+\.\ds \(\d+/\d+\) FINISHED")
        terminal.expect(r" => \S*\s?\[2/3\] COPY \. /ctx/ +\d+\.\ds")
        terminal.expect(r" => => exporting layers")
        assert terminal.wait() == 0
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo oh; exit 3\n")
    with Terminal([KNARR, "build", str(context)], env) as terminal:
        terminal.expect(r" => ERROR \[2/2\] RUN echo oh; exit 3")
        terminal.expect(r"2 \| >>> RUN echo oh")
        assert terminal.wait() == 1


@pytest.mark.parametrize("mode", ["tty", "plain"])
def test_ctrl_c_ends_it_at_once(daemon: Daemon, tmp_path: Path, mode: str) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo begun; sleep 98765\n")
    env = {**daemon.environment(), "TERM": "xterm", "DOCKER_BUILDKIT": "1"}
    with Terminal([KNARR, "build", "--progress", mode, str(tmp_path)], env, (24, 100)) as terminal:
        terminal.expect(r"=> \[2/2\] RUN echo begun.*\s+ => => # begun" if mode == "tty" else r"\d begun\s")
        terminal.type("\x03")
        terminal.expect("Canceled: context canceled")
        assert terminal.wait() == 130
    host.settle(lambda: set(_sleeping()))


def _sleeping() -> list[str]:
    done = subprocess.run(["pgrep", "-f", "^sleep 98765"], capture_output=True, text=True, check=False)
    return done.stdout.split()


def test_caches_and_images_in_directories(daemon: Daemon, context: Path, tmp_path: Path, peer: bool) -> None:
    if peer:
        pytest.skip("dockerd without containerd's image store exports no caches")
    cache, layout = tmp_path / "cache", tmp_path / "layout"
    build(daemon, "--cache-to", f"type=local,dest={cache},mode=max", str(context))
    daemon.api("POST", "/build/prune?all=1")
    done = build(daemon, "--cache-from", f"type=local,src={cache}", str(context))
    assert done.stderr.count(b" CACHED\n") == 2
    done = build(daemon, "--cache-from", f"type=local,src={tmp_path}/none", str(context))
    assert f"local cache import at {tmp_path}/none not found".encode() in done.stderr
    archive = build(daemon, "-q", "-o", "type=oci,dest=-", str(context)).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(layout, filter="data")
    words = ("-t", "alone", "--build-context", f"base=oci-layout://{layout}", "-f", "-", str(context))
    build(daemon, *words, data=b"FROM base\nRUN cp /hi /again\n")
    assert daemon.docker("run", "--rm", "alone", "cat", "/again").stdout == "hi nobody\n"
    done = build(daemon, "--build-context", f"base=oci-layout://{tmp_path}:x", str(context), code=1)
    assert b"no image x in the OCI layout" in done.stderr
