"""What a solver is trusted for, by real clients: what runs, what does not, what breaks the cache, and what is kept of secrets."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Daemon

pytestmark = pytest.mark.usefixtures("emptied")

# Waits for what another step does, for as long as a broken engine must be waited for.
MEET = "for i in $(seq 600); do test -e {there} && break; sleep 0.1; done; test -e {there}"


@pytest.fixture
def emptied(daemon: Daemon) -> Iterator[None]:
    """No build's leavings before and after."""
    daemon.docker("buildx", "prune", "-af")
    yield
    for image in daemon.docker("images", "-q", "built*").stdout.split():
        daemon.docker("rmi", "-f", image, check=False)
    daemon.docker("buildx", "prune", "-af")


def build(daemon: Daemon, context: Path, text: str, *words: str) -> str:
    """What a build of this Dockerfile tells."""
    (context / "Dockerfile").write_text(text)
    return daemon.docker("build", "--progress=plain", "-t", "built", *words, str(context)).stderr


def begun(daemon: Daemon, context: Path, *words: str) -> subprocess.Popen[bytes]:
    """A build that is under way."""
    return daemon.open("build", "--progress=plain", *words, str(context), stdin=subprocess.DEVNULL)


def ended(*builds: subprocess.Popen[bytes]) -> list[str]:
    """What they told, all well."""
    told = [each.communicate(timeout=100)[1].decode() for each in builds]
    assert [each.returncode for each in builds] == [0] * len(builds), "\n".join(told)
    return told


def cached(told: str) -> int:
    """How many steps were, beside their bases."""
    lines = told.splitlines()
    bases = {line.split()[0] for line in lines if re.match(r"#\d+ \[[^]]*\] FROM ", line)}
    return sum(line.endswith(" CACHED") and line.split()[0] not in bases for line in lines)


def test_times_do_not_count_and_modes_do(daemon: Daemon, tmp_path: Path) -> None:
    """A touched file is the same; one that may be run is another."""
    text = "FROM busybox\nCOPY file /file\nRUN cat /proc/sys/kernel/random/uuid > /when\n"
    (tmp_path / "file").write_text("same\n")
    build(daemon, tmp_path, text)
    os.utime(tmp_path / "file", (1, 1))
    assert cached(build(daemon, tmp_path, text)) == 2
    (tmp_path / "file").chmod(0o755)
    assert cached(build(daemon, tmp_path, text)) == 0
    (tmp_path / "beside").write_text("not copied\n")
    assert cached(build(daemon, tmp_path, text)) == 2


def test_a_secret_is_nowhere(daemon: Daemon, tmp_path: Path) -> None:
    """Neither its value counts for the cache, nor is it in history, layers or anything that the daemon keeps."""
    first, second = "hunter2-is-no-secret", "another-that-is-one"
    text = (
        "FROM busybox\nRUN --mount=type=secret,id=s,env=S --mount=type=secret,id=s,target=/run/s"
        ' test "$S" = "$(cat /run/s)" && wc -c < /run/s > /length\n'
    )
    build(daemon, tmp_path, text, "--secret", f"id=s,src={_written(tmp_path, first)}")
    assert cached(build(daemon, tmp_path, text, "--secret", f"id=s,src={_written(tmp_path, second)}")) == 1
    history = daemon.docker("history", "--no-trunc", "built").stdout
    assert first not in history
    assert _files_with(daemon.data_root, first.encode(), second.encode()) == []
    (tmp_path / "secret").unlink()
    done = daemon.docker("build", "--no-cache", str(tmp_path), check=False)
    assert done.returncode == 1


def _written(directory: Path, value: str) -> Path:
    path = directory / "secret"
    path.write_text(value)
    (directory / ".dockerignore").write_text("secret\n")
    return path


def _files_with(root: Path, *values: bytes) -> list[Path]:
    """Regular files whose bytes have one of the values; what goes meanwhile is none."""
    found = []
    for directory, _, names in os.walk(root):
        for path in (Path(directory, name) for name in names):
            try:
                data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            except OSError:
                continue
            if any(value in data for value in values):
                found.append(path)
    return found


def test_proxies_count_for_nothing(daemon: Daemon, tmp_path: Path) -> None:
    """The predefined ones are in no key and no history; a declared argument is in both."""
    text = "FROM busybox\nARG A\nRUN echo $A $HTTP_PROXY > /said\n"
    build(daemon, tmp_path, text, "--build-arg", "HTTP_PROXY=http://one:1", "--build-arg", "A=1")
    told = build(daemon, tmp_path, text, "--build-arg", "HTTP_PROXY=http://two:2", "--build-arg", "A=1")
    assert cached(told) == 1
    history = daemon.docker("history", "--no-trunc", "built").stdout
    assert "|1 A=1" in history
    assert "one" not in history
    assert cached(build(daemon, tmp_path, text, "--build-arg", "A=2")) == 0


def test_arguments_that_look_like_secrets_are_warned_of(daemon: Daemon, tmp_path: Path) -> None:
    """By name, at their lines."""
    told = build(daemon, tmp_path, "FROM busybox\nARG API_TOKEN\nENV DB_PASSWORD=x\nARG PUBLIC_KEY\n")
    assert "SecretsUsedInArgOrEnv" in told
    assert 'ARG "API_TOKEN"' in told
    assert 'ENV "DB_PASSWORD"' in told
    assert "PUBLIC_KEY" not in told.partition("warning")[2]


def test_one_stage_without_the_cache(daemon: Daemon, tmp_path: Path) -> None:
    """--no-cache-filter: its steps run again, the others' do not."""
    text = (
        "FROM busybox AS one\nRUN cat /proc/sys/kernel/random/uuid > /one\nFROM busybox AS two\nRUN cat /proc/sys/kernel/random/uuid > /two\n"
        "FROM busybox\nCOPY --from=one /one /\nCOPY --from=two /two /\n"
    )
    build(daemon, tmp_path, text)
    before = _said(daemon)
    build(daemon, tmp_path, text, "--no-cache-filter", "two")
    after = _said(daemon)
    assert before[0] == after[0]
    assert before[1] != after[1]


def _said(daemon: Daemon) -> list[str]:
    return daemon.docker("run", "--rm", "built", "cat", "/one", "/two").stdout.splitlines()


def test_independent_stages_meet(daemon: Daemon, tmp_path: Path) -> None:
    """Each waits for the other's file in a cache mount that they share; the one that nobody needs would fail."""
    mount = "RUN --mount=type=cache,id=meeting,target=/c"
    text = (
        f"FROM busybox AS one\n{mount} touch /c/one; {MEET.format(there='/c/two')}\n"
        f"FROM busybox AS two\n{mount} touch /c/two; {MEET.format(there='/c/one')}\n"
        "FROM busybox AS three\nRUN false\n"
        "FROM busybox\nCOPY --from=one /etc/group /a\nCOPY --from=two /etc/group /b\n"
    )
    build(daemon, tmp_path, text)


def test_equal_steps_of_concurrent_builds_run_once(daemon: Daemon, tmp_path: Path) -> None:
    """Two builds that have a slow step in common, begun together: what it made is the same in both."""
    builds = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(
            f"FROM busybox\nRUN sleep 1; head -c 16 /dev/urandom | md5sum > /chance\nLABEL name={name}\n"
        )
        builds.append(begun(daemon, tmp_path / name, "-t", f"built:{name}"))
    ended(*builds)
    first, second = (
        daemon.docker("run", "--rm", f"built:{name}", "cat", "/chance").stdout for name in ("one", "two")
    )
    assert first == second


def test_a_locked_cache_mount_is_one_builds_at_a_time(daemon: Daemon, tmp_path: Path) -> None:
    """Three builds at once; none sees what another has not taken away yet."""
    builds = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "Dockerfile").write_text(
            "FROM busybox\nRUN --mount=type=cache,id=locked,sharing=locked,target=/c "
            f"test ! -e /c/held && touch /c/held && sleep 0.3 && rm /c/held && echo {number}\n"
        )
        builds.append(begun(daemon, tmp_path / str(number)))
    ended(*builds)


def test_a_private_cache_mount_is_nobody_elses(daemon: Daemon, tmp_path: Path) -> None:
    """Two builds that are in their steps at the same time, which a shared mount shows them, have two of them."""
    builds = []
    for own, other in (("one", "two"), ("two", "one")):
        (tmp_path / own).mkdir()
        (tmp_path / own / "Dockerfile").write_text(
            "FROM busybox\nRUN --mount=type=cache,id=private,sharing=private,target=/p "
            "--mount=type=cache,id=lobby,target=/c "
            f"touch /p/{own} /c/{own}; {MEET.format(there=f'/c/{other}')}; test ! -e /p/{other}\n"
        )
        builds.append(begun(daemon, tmp_path / own))
    ended(*builds)
