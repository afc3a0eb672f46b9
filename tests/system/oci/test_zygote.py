"""A warm knarr-oci does what the cold one does, for whoever asks."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from knarr.runtime.oci.client import ask
from tests.support import host
from tests.support.terminal import Terminal
from tests.system.oci.conftest import Oci


@pytest.fixture
def zygote(oci: Oci) -> Iterator[str]:
    """Its socket; afterwards nothing of it runs."""
    path = str(oci.base / "zygote.sock")
    with subprocess.Popen(oci.argv("zygote", "--listen", path)) as process:
        host.wait_for(lambda: os.path.exists(path), "the zygote's socket")
        below = host.descendants(process.pid)
        yield path
        below |= host.descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert not os.path.exists(path)
    host.wait_for(
        lambda: not [pid for pid in below if host.comm(pid).startswith("knarr-oci")], "its children's end"
    )


def test_a_run_through_it(oci: Oci, zygote: str) -> None:
    name, bundle = oci.bundle("sh", "-c", "cat; echo $PWD; exit 4")
    done = oci("--zygote", zygote, "run", "-b", bundle, name, check=False, stdin="in ")
    assert (done.returncode, done.stdout, done.stderr) == (4, "in /\n", "")


def test_every_command_through_it(oci: Oci, zygote: str) -> None:
    name, bundle = oci.bundle("sleep", "1000")
    warm = ("--zygote", zygote)
    oci(*warm, "create", name, cwd=bundle)
    oci(*warm, "start", name)
    assert oci(*warm, "exec", name, "echo", "hi").stdout == "hi\n"
    assert oci(*warm, "list", "-q").stdout == f"{name}\n"
    assert name in oci(*warm, "state", name).stdout
    assert "nosuch" in oci.fails(*warm, "exec", name, "nosuch", code=255)
    assert "container does not exist" in oci.fails(*warm, "state", "nosuch")
    assert "requires exactly" in oci.fails(*warm, "state")
    oci(*warm, "delete", "--force", name)


def test_a_library_call(oci: Oci, zygote: str) -> None:
    read, write = os.pipe()
    name, bundle = oci.bundle("sh", "-c", "echo from $A; exit 5", process={"env": ["PATH=/bin", "A=library"]})
    words = ["--root", str(oci.root), "run", "-b", bundle, name]
    assert ask(zygote, words, descriptors=(0, write, write)) == 5
    os.close(write)
    assert os.read(read, 100) == b"from library\n"
    os.close(read)


def test_failures_leave_nothing(oci: Oci, zygote: str) -> None:
    name, bundle = oci.bundle("nosuch")
    said = oci.fails("--zygote", zygote, "run", "-b", bundle, name).replace('\\"', '"')
    assert 'exec: "nosuch": executable file not found in $PATH' in said
    assert not oci.left()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"linux": {"sysctl": {"kernel.panic": "1"}}}, "is not in a separate kernel namespace"),
        ({"linux": {"resources": {"pids": {"limit": "x"}}}}, "run failed"),
        (
            {"mounts": [{"destination": "/x", "type": "bind", "source": "/nosuch", "options": ["bind"]}]},
            "/nosuch",
        ),
    ],
)
def test_what_is_wrong_is_told_whenever_it_shows(
    oci: Oci, zygote: str, changes: dict[str, object], complaint: str
) -> None:
    name, bundle = oci.bundle("true", **changes)
    assert complaint in oci.fails("--zygote", zygote, "run", "-b", bundle, name)
    assert not oci.left()


def test_signals_reach_the_container(oci: Oci, zygote: str) -> None:
    name, bundle = oci.bundle("sh", "-c", "trap 'exit 6' USR1; echo ready; while :; do sleep 0.05; done")
    argv = oci.argv("--zygote", zygote, "run", "-b", bundle, name)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGUSR1)
        assert run.wait() == 6


def test_a_terminal_through_it(oci: Oci, zygote: str) -> None:
    name, bundle = oci.bundle("sh", process={"terminal": True, "env": ["PATH=/bin", "PS1=go: "]})
    terminal = Terminal(oci.argv("--zygote", zygote, "run", "-b", bundle, name), size=(31, 77))
    terminal.expect("go: ")
    terminal.type("stty size\n")
    terminal.expect("31 77")
    terminal.resize(40, 90)
    terminal.type("while [ \"$(stty size)\" != '40 90' ]; do sleep 0.05; done; echo resized\n")
    terminal.expect("\nresized")
    terminal.type("exit 3\n")
    assert terminal.wait() == 3


def test_other_namespaces_than_the_usual_ones(oci: Oci, zygote: str) -> None:
    inode = os.readlink("/proc/self/ns/net")
    name, bundle = oci.bundle(
        "readlink",
        "/proc/self/ns/net",
        linux={"namespaces": [{"type": kind} for kind in ("mount", "pid", "uts")]},
    )
    assert oci("--zygote", zygote, "run", "-b", bundle, name).stdout.strip() == inode
    name, bundle = oci.bundle("readlink", "/proc/self/ns/net")
    assert oci("--zygote", zygote, "run", "-b", bundle, name).stdout.strip() != inode


def test_many_at_once(oci: Oci, zygote: str) -> None:
    bundles = [oci.bundle("sh", "-c", f"exit {number}") for number in range(1, 9)]
    runs = [
        subprocess.Popen(oci.argv("--zygote", zygote, "run", "-b", bundle, name)) for name, bundle in bundles
    ]
    assert [run.wait() for run in runs] == list(range(1, 9))


def test_nobody_listens(oci: Oci) -> None:
    assert "no such file or directory" in oci.fails("--zygote", "/nosuch", "list", code=255)


def test_a_second_one_is_refused(oci: Oci, zygote: str) -> None:
    assert "listens on" in oci.fails("zygote", "--listen", zygote)
