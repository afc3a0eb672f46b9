"""`knarr build --shell-on-fail`: a person enters the step that failed, where it failed and as who it ran."""

import subprocess
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import BIN, Daemon
from tests.support.terminal import Terminal

KNARR = str(BIN / "knarr")
DOCKERFILE = """FROM busybox
ENV WHERE=there
WORKDIR /work
RUN chmod 777 /work
USER nobody
COPY file /file
RUN --mount=type=cache,target=/cache,uid=65534 --mount=type=secret,id=s,uid=65534 \
    echo half > made; echo kept > /cache/kept; exit 42
"""


@pytest.fixture(scope="module", autouse=True)
def only_knarr(peer: bool) -> None:
    if peer:
        pytest.skip("dockerd lends no failed steps")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("x")
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    return tmp_path


def entered(daemon: Daemon, context: Path) -> Terminal:
    words = ("--shell-on-fail", "--secret", f"id=s,src={context}/secret", str(context))
    env = {**daemon.environment(), "TERM": "xterm"}
    return Terminal([KNARR, "build", *words], env, (40, 100))


def test_the_shell_is_where_the_command_was(daemon: Daemon, context: Path) -> None:
    with entered(daemon, context) as terminal:
        terminal.expect(r"exit 42 failed: a shell where it ran; its exit ends the build\.")
        terminal.expect(r"\$ ")
        terminal.type("echo $(id -un) $(pwd) $WHERE $(cat made /cache/kept /run/secrets/s) $(stty size)\n")
        terminal.expect(r"nobody /work there half kept s3cret 40 100\s")
        terminal.resize(30, 90)
        terminal.type("until [ \"$(stty size)\" = '30 90' ]; do :; done; echo si''zed\n")
        terminal.expect("sized")
        terminal.type("exit 3\n")
        terminal.expect(r"ERROR: failed to build: failed to solve: process .* exit code: 42")
        assert terminal.wait() == 1
    # The fixture looks for what is left; the step is not in the cache.
    assert "exit code: 42" in daemon.docker("build", str(context), check=False).stderr


def test_who_hangs_up_leaves_nothing(daemon: Daemon, context: Path) -> None:
    with entered(daemon, context) as terminal:
        terminal.expect(r"\$ ")
        terminal.type("sleep 87654\n")
        host.settle(lambda: not _sleeping())
    host.settle(_sleeping)


def test_a_step_without_a_shell_and_a_client_without_a_terminal(daemon: Daemon, context: Path) -> None:
    (context / "Dockerfile").write_text(
        'FROM busybox AS b\nFROM scratch\nCOPY --from=b /bin/busybox /no\nRUN ["/no", "false"]\n'
    )
    with entered(daemon, context) as terminal:
        terminal.expect("the step cannot be entered: ")
        terminal.expect("exit code: 1")
        assert terminal.wait() == 1
    done = subprocess.run(
        [KNARR, "build", "--shell-on-fail", str(context)],
        env=daemon.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "--shell-on-fail needs a terminal to itself" in done.stderr


def _sleeping() -> list[str]:
    done = subprocess.run(["pgrep", "-f", "^sleep 87654"], capture_output=True, text=True, check=False)
    return done.stdout.split()
