"""knarr's own command line against the daemon: the same words as docker's, and what only it has."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.daemons import BIN, Daemon, Knarrd
from tests.support.terminal import Terminal


@pytest.fixture
def knarrd(daemon: Daemon) -> Knarrd:
    """The daemon under test; with --peer there is nothing to test here."""
    if not isinstance(daemon, Knarrd):
        pytest.skip("knarr's own command line talks to knarrd")
    return daemon


def test_run_and_its_exit_code(knarrd: Knarrd) -> None:
    done = knarrd.knarr("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


@pytest.mark.parametrize(("command", "code"), [("nothing-like-that", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_run(knarrd: Knarrd, command: str, code: int) -> None:
    assert knarrd.knarr("run", "--rm", "busybox", command, check=False).returncode == code


def test_stdin_goes_in(knarrd: Knarrd) -> None:
    data = b"0123456789" * 50_000
    assert knarrd.knarr("run", "--rm", "-i", "busybox", "cat", data=data).stdout.encode() == data


def test_a_terminal(knarrd: Knarrd) -> None:
    argv = [str(BIN / "knarr"), "run", "-it", "--rm", "busybox", "sh"]
    with Terminal(argv, knarrd.environment(), size=(31, 97)) as terminal:
        terminal.expect("/ # ")
        terminal.type("stty size\n")
        terminal.expect("31 97\r\n")
        terminal.type("exit 5\n")
        assert terminal.wait() == 5


def test_detach_keys(knarrd: Knarrd) -> None:
    argv = [str(BIN / "knarr"), "run", "-it", "--name", "kept", "busybox", "sh"]
    with Terminal(argv, knarrd.environment()) as terminal:
        terminal.expect("/ # ")
        terminal.type("\x10\x11")
        assert terminal.wait() == 0
    assert knarrd.inspect("kept")["State"]["Running"] is True


def test_a_life(knarrd: Knarrd) -> None:
    cid = knarrd.knarr(
        "run", "-d", "--name", "box", "-p", "127.0.0.1::80", "busybox", "sleep", "1000"
    ).stdout.strip()
    assert re.fullmatch(r"[0-9a-f]{64}", cid)
    assert knarrd.knarr("ps", "-q", "--no-trunc").stdout.strip() == cid
    assert knarrd.knarr("ps", "--format", "{{.Names}} {{.State}}").stdout == "box running\n"
    assert knarrd.knarr("port", "box", "80").stdout.startswith("127.0.0.1:")
    assert (
        knarrd.knarr("exec", "-e", "A=1", "box", "sh", "-c", "echo $A; exit 3", check=False).stdout == "1\n"
    )
    assert "sleep 1000" in knarrd.knarr("top", "box").stdout
    knarrd.knarr("pause", "box")
    knarrd.knarr("unpause", "box")
    knarrd.knarr("rename", "box", "other")
    assert json.loads(knarrd.knarr("inspect", "other").stdout)[0]["Id"] == cid
    assert knarrd.knarr("stop", "-t", "0", "other").stdout == "other\n"
    assert knarrd.knarr("wait", "other").stdout == "137\n"
    assert knarrd.knarr("rm", "other").stdout == "other\n"
    assert knarrd.knarr("rm", "other", check=False).returncode == 1


def test_logs(knarrd: Knarrd) -> None:
    knarrd.knarr("run", "--name", "talker", "busybox", "sh", "-c", "echo a; echo b; echo c >&2")
    done = knarrd.knarr("logs", "talker")
    assert (done.stdout, done.stderr) == ("a\nb\n", "c\n")
    assert re.match(r"\d{4}-\d\d-\d\dT[0-9:.]+Z a\n", knarrd.knarr("logs", "-t", "talker").stdout)
    assert knarrd.knarr("logs", "--since", "1h", "--tail", "1", "talker").stderr == "c\n"


def test_copy(knarrd: Knarrd, tmp_path: Path) -> None:
    knarrd.knarr("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_text("deep")
    knarrd.knarr("cp", str(tmp_path / "d"), "box:/root")
    assert knarrd.knarr("exec", "box", "cat", "/root/d/e/f").stdout == "deep"
    knarrd.knarr("cp", "box:/root/d", str(tmp_path / "back"))
    assert (tmp_path / "back" / "e" / "f").read_text() == "deep"
    assert knarrd.knarr("cp", "box:/nothing", str(tmp_path), check=False).returncode == 1


def test_images(knarrd: Knarrd, tmp_path: Path) -> None:
    knarrd.knarr("tag", "busybox", "copy:1")
    assert "copy" in knarrd.knarr("images").stdout
    knarrd.knarr("save", "-o", str(tmp_path / "copy.tar"), "copy:1")
    assert knarrd.knarr("rmi", "copy:1").stdout == "Untagged: copy:1\n"
    assert knarrd.knarr("load", "-i", str(tmp_path / "copy.tar")).stdout.endswith("Loaded image: copy:1\n")
    assert knarrd.knarr("history", "-q", "--no-trunc", "copy:1").stdout.startswith("sha256:")
    knarrd.knarr("rmi", "copy:1")


def test_commit(knarrd: Knarrd) -> None:
    knarrd.knarr("run", "--name", "box", "busybox", "touch", "/made")
    identity = knarrd.knarr("commit", "-m", "why", "-c", "ENV A=1", "box", "committed").stdout.strip()
    assert knarrd.knarr("run", "--rm", "committed", "sh", "-c", "ls /made; echo $A").stdout == "/made\n1\n"
    knarrd.knarr("rm", "box")
    assert f"Deleted: {identity}" in knarrd.knarr("rmi", "committed").stdout


def test_networks(knarrd: Knarrd) -> None:
    key = knarrd.knarr("network", "create", "--subnet", "10.231.60.0/24", "--label", "l=v", "front").stdout
    assert json.loads(knarrd.knarr("network", "inspect", "front").stdout)[0]["Id"] == key.strip()
    flags = ("--network", "front", "--network-alias", "uno", "--ip", "10.231.60.9")
    knarrd.knarr("run", "-d", "--name", "one", *flags, "busybox", "sleep", "1000")
    knarrd.knarr("run", "-d", "--name", "two", "busybox", "sleep", "1000")
    knarrd.knarr("network", "connect", "--alias", "due", "front", "two")
    assert "10.231.60.9" in knarrd.knarr("exec", "two", "nslookup", "-type=a", "uno").stdout
    assert knarrd.knarr("exec", "one", "ping", "-c1", "due").returncode == 0
    assert "front" in knarrd.knarr("network", "ls", "--filter", "label=l").stdout
    knarrd.knarr("network", "disconnect", "front", "two")
    knarrd.knarr("rm", "-f", "one", "two")
    assert knarrd.knarr("network", "prune", "-f").stdout == "Deleted Networks:\nfront\n\n"
    assert "network front not found" in knarrd.knarr("network", "rm", "front", check=False).stderr


def test_stats(knarrd: Knarrd) -> None:
    knarrd.knarr("run", "-d", "--name", "box", "-m", "64m", "busybox", "sh", "-c", "while :; do :; done")
    header, line = knarrd.knarr("stats", "--no-stream", "box").stdout.splitlines()
    assert header.split()[:3] == ["CONTAINER", "ID", "NAME"]
    assert " / 64MiB" in line
    row = json.loads(knarrd.knarr("stats", "--no-stream", "--format", "json").stdout)
    assert float(row["CPUPerc"].rstrip("%")) > 1
    assert "No such container" in knarrd.knarr("stats", "--no-stream", "nobody", check=False).stderr


def test_an_explained_run(knarrd: Knarrd) -> None:
    text = knarrd.knarr("run", "--rm", "--explain", "-p", "127.0.0.1::80", "busybox", "true").stderr
    for wanted in (
        r"mnt = \d+",
        r"net = \d+",
        r"cgroup = \S+",
        r"lowerdir = \S+",
        r"veth = kv\w+",
        r"address( \d+)? = [0-9.]+",
        r"published_at \d = 127\.0\.0\.1 \. tcp",
    ):
        assert re.search(wanted, text), wanted
    assert "the intent is on record before the kernel is touched" in text


def test_mistakes(knarrd: Knarrd) -> None:
    assert knarrd.knarr("run", "--no-such-flag", "busybox", check=False).returncode == 125
    assert knarrd.knarr("no-such-verb", check=False).returncode == 1
    done = knarrd.knarr("stop", "ghost", check=False)
    assert "No such container: ghost" in done.stderr


def test_events_and_system(knarrd: Knarrd) -> None:
    assert knarrd.knarr("info", "--format", "{{.Driver}}").stdout == "overlay2\n"
    assert "API version" in knarrd.knarr("version").stdout
    assert knarrd.knarr("system", "df").stdout.startswith("TYPE")
    assert "bridge" in knarrd.knarr("network", "ls").stdout
    assert knarrd.knarr("volume", "create", "vol").stdout == "vol\n"
    assert knarrd.knarr("volume", "rm", "vol").stdout == "vol\n"


def test_no_daemon() -> None:
    env = {**os.environ, "DOCKER_HOST": "unix:///nowhere/knarr.sock"}
    done = subprocess.run([str(BIN / "knarr"), "ps"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Is the knarr daemon running?" in done.stderr
