"""User namespaces, by the unmodified docker CLI: a daemon with --userns-remap, and containers with ids of their own."""

import contextlib
import json
import os
import socket
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import Daemon, Dockerd, Knarrd
from tests.support.remains import namespaces
from tests.support.terminal import Terminal

BRIDGE = "ktuserns0"
SUBNET = "10.231.7.0/24"
FIRST, SIZE = 300_000, 65_536
OVERFLOW = "65534"
# The daemon sees files of ours over the host's; nothing of it is seen outside (mount_namespaces(7)).
_COVER = (
    'mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" overlay /etc && shift && exec "$@"'
)


class _Covered(Daemon):
    """With lines of its own in /etc/subuid and /etc/subgid."""

    def commands(self) -> list[tuple[list[str], dict[str, str]]]:
        self.root.chmod(0o711)  # the remapped root must get through
        for name in ("etc", "work"):
            (self.root / name).mkdir(exist_ok=True)
        for kind in ("subuid", "subgid"):
            (self.root / "etc" / kind).write_text(f"nobody:{FIRST}:{SIZE}\n")
        *others, (argv, env) = super().commands()
        cover = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", _COVER, "cover", str(self.root)]
        return [*others, ([*cover, *argv], env)]


class _Knarrd(_Covered, Knarrd):
    pass


class _Dockerd(_Covered, Dockerd):
    pass


@pytest.fixture(scope="module")
def remapping(peer: bool, busybox: Path) -> Iterator[Daemon]:
    options = ("--userns-remap", "nobody:nogroup")
    daemon: Daemon = (_Dockerd if peer else _Knarrd)(BRIDGE, SUBNET, options=options)
    try:
        daemon.start()
        daemon.give_busybox(busybox)
        yield daemon
    finally:
        daemon.close()


@pytest.fixture
def daemon(remapping: Daemon) -> Iterator[Daemon]:
    links = host.links()
    yield remapping
    remapping.remove_containers()
    host.settle(lambda: {name for name in host.links() - links if name.startswith(("veth", "kn"))})


@pytest.fixture
def knarrd(daemon: Daemon, peer: bool) -> Daemon:
    """For what dockerd does not have."""
    if peer:
        pytest.skip("dockerd has no such thing")
    return daemon


def run(daemon: Daemon, *arguments: str) -> str:
    return daemon.docker("run", "--rm", *arguments).stdout


def mapping(daemon: Daemon, *options: str) -> list[str]:
    return run(daemon, *options, "busybox", "cat", "/proc/self/uid_map").split()


def pid(daemon: Daemon, name: str) -> int:
    return int(daemon.inspect(name)["State"]["Pid"])


def owner(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_uid, found.st_gid


def test_the_daemon_says_that_it_remaps(daemon: Daemon) -> None:
    options = json.loads(daemon.docker("info", "--format", "{{json .SecurityOptions}}").stdout)
    assert "name=userns" in options


def test_root_inside_is_nobody_outside(daemon: Daemon) -> None:
    assert mapping(daemon) == ["0", str(FIRST), str(SIZE)]
    daemon.docker("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    status = Path(f"/proc/{pid(daemon, 'one')}/status").read_text()
    assert f"Uid:\t{FIRST}\t{FIRST}" in status
    assert f"Gid:\t{FIRST}\t{FIRST}" in status
    assert daemon.inspect("one")["HostConfig"]["UsernsMode"] == ""
    assert daemon.docker("exec", "one", "sh", "-c", "id -u; cat /proc/self/uid_map").stdout.split() == [
        "0", "0", str(FIRST), str(SIZE),
    ]  # fmt: skip


def test_host_turns_it_off(daemon: Daemon) -> None:
    assert mapping(daemon, "--userns=host") == ["0", "0", "4294967295"]
    assert mapping(daemon, "--userns=host", "--privileged") == ["0", "0", "4294967295"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--privileged",), "privileged mode is incompatible with user namespaces.  You must run the container in the host"),
        (("--network=host",), "cannot share the host's network namespace when user namespaces are enabled"),
        (("--pid=host",), "cannot share the host PID namespace when user namespaces are enabled"),
        (("--userns=keep",), "invalid"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(daemon: Daemon, options: tuple[str, ...], words: str) -> None:
    done = daemon.docker("run", "--rm", *options, "busybox", "true", check=False)
    assert done.returncode == 125
    assert words in done.stderr


def test_files_of_the_root(daemon: Daemon) -> None:
    script = (
        "stat -c %u:%g /bin /etc/hosts /etc/resolv.conf /etc/hostname /dev/shm; echo 1.2.3.4 x >> /etc/hosts;"
        "echo new > /new; chown 33:34 /new; touch /dev/shm/x; stat -c %u:%g /new"
    )
    daemon.docker("run", "--name", "files", "busybox", "sh", "-ec", script)
    assert daemon.docker("logs", "files").stdout.split() == ["0:0"] * 5 + ["33:34"]
    assert "A /new" in daemon.docker("diff", "files").stdout


def test_copies_and_commits_have_the_containers_ids(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("in")
    daemon.docker(
        "run",
        "-d",
        "--name",
        "copy",
        "busybox",
        "sh",
        "-c",
        "echo out > /out; chown 5:6 /out; exec sleep 1000",
    )
    daemon.docker("cp", str(tmp_path / "in"), "copy:/in")
    assert daemon.docker("exec", "copy", "stat", "-c", "%u:%g", "/in").stdout == "0:0\n"
    daemon.docker("cp", "-a", "copy:/out", str(tmp_path / "out"))
    daemon.docker("export", "-o", str(tmp_path / "running.tar"), "copy")
    with tarfile.open(tmp_path / "running.tar") as tar:
        owners = {member.name.removeprefix("./"): (member.uid, member.gid) for member in tar}
    assert (owners["out"], owners["bin/busybox"]) == ((5, 6), (0, 0))
    daemon.docker("stop", "-t", "0", "copy")
    daemon.docker("cp", str(tmp_path / "in"), "copy:/later")
    daemon.docker("commit", "copy", "committed")
    try:
        script = "stat -c %u:%g /out /in /later"
        assert run(daemon, "committed", "sh", "-c", script).split() == ["5:6", "0:0", "0:0"]
    finally:
        daemon.docker("rm", "copy")
        daemon.docker("rmi", "committed")


def test_binds_are_the_hosts(daemon: Daemon, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("x")
    script = "stat -c %u /data/file; cat /data/file; ! touch /data/new 2> /dev/null"
    assert run(daemon, "-v", f"{tmp_path}:/data", "busybox", "sh", "-c", script) == f"{OVERFLOW}\nx"


def test_volumes_are_written_by_the_containers_root(daemon: Daemon) -> None:
    daemon.docker("volume", "create", "shared")
    try:
        script = "echo x > /data/file; chown 7:8 /data/file; stat -c %u:%g /data /data/file"
        assert run(daemon, "-v", "shared:/data", "busybox", "sh", "-c", script).split() == ["0:0", "7:8"]
    finally:
        daemon.docker("volume", "rm", "shared")


def test_streams_terminals_limits_and_init(daemon: Daemon) -> None:
    assert run(daemon, "-u", "33:34", "busybox", "sh", "-c", "echo a > /dev/stdout; id -u") == "a\n33\n"
    assert daemon.docker("run", "--rm", "-i", "busybox", "cat", data=b"in").stdout == "in"
    options = ("-m", "64m", "--pids-limit", "50", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    assert (
        run(daemon, *options, "--read-only", "--tmpfs", "/t", "busybox", "sh", "-c", "touch /t/x; ls /t")
        == "x\n"
    )
    assert (
        run(daemon, "--device", "/dev/zero:/dev/zero", "busybox", "sh", "-c", "head -c 3 /dev/zero | wc -c")
        == "3\n"
    )
    assert "init" in run(daemon, "--init", "busybox", "cat", "/proc/1/cmdline")
    with Terminal(["docker", "run", "--rm", "-it", "busybox", "sh"], daemon.environment()) as terminal:
        terminal.expect("# ")
        terminal.type("stat -c owner=%u $(tty)\n")
        terminal.expect("owner=0")
        terminal.type("exit\n")
        assert terminal.wait() == 0


def test_its_network_is_its_own(daemon: Daemon) -> None:
    """Its root rules it, with a capability for that; the kernel's files of it are there."""
    script = "ip link set lo mtu 1400 && ip address show eth0 && ls /sys/class/net"
    out = run(daemon, "--cap-add", "NET_ADMIN", "busybox", "sh", "-c", script)
    assert f"inet {SUBNET.rpartition('.')[0]}." in out
    assert "lo" in out.split()
    serve = "while true; do echo hi | nc -l -p 80; done"
    daemon.docker("run", "-d", "--name", "web", "-p", "127.0.0.1:18473:80", "busybox", "sh", "-c", serve)
    host.wait_for(lambda: _said("127.0.0.1", 18473) == b"hi\n", "an answer")


def _said(address: str, port: int) -> bytes:
    try:
        with socket.create_connection((address, port), 5) as connection:
            return connection.recv(100)
    except OSError:
        return b""


def test_a_shared_network_comes_with_its_user_namespace(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "first", "--ipc", "shareable", "busybox", "sleep", "1000")
    shared = [f"--{kind}=container:first" for kind in ("network", "pid", "ipc")]
    script = "readlink /proc/self/ns/net; readlink /proc/self/ns/user; ls /dev/mqueue; ps | grep -q sleep && echo seen"
    namespaces = run(daemon, *shared, "busybox", "sh", "-ec", script).split()
    assert namespaces[2:] == ["seen"]
    assert namespaces[:2] == [
        os.readlink(f"/proc/{pid(daemon, 'first')}/ns/{kind}") for kind in ("net", "user")
    ]


def test_it_lives_again(daemon: Daemon) -> None:
    daemon.docker(
        "run",
        "-d",
        "--name",
        "again",
        "--restart",
        "on-failure:2",
        "busybox",
        "sh",
        "-c",
        "echo life >> /lives; exit 1",
    )
    daemon.docker("wait", "again")
    host.settle(lambda: set() if daemon.inspect("again")["RestartCount"] == 2 else {"not restarted twice"})
    host.settle(lambda: set() if daemon.inspect("again")["State"]["Status"] == "exited" else {"not over"})
    daemon.docker("commit", "again", "lived")
    try:
        assert run(daemon, "lived", "cat", "/lives") == "life\n" * 3
    finally:
        daemon.docker("rm", "again")
        daemon.docker("rmi", "lived")


def test_ids_on_disk_are_the_images(knarrd: Daemon) -> None:
    """Nothing is chowned: what the container's root makes is root's."""
    knarrd.docker(
        "run",
        "--name",
        "disk",
        "-v",
        "vol:/data",
        "busybox",
        "sh",
        "-c",
        "touch /new /data/new; chown 5:6 /data/new",
    )
    upper = knarrd.inspect("disk")["GraphDriver"]["Data"]["UpperDir"]
    point = json.loads(knarrd.docker("volume", "inspect", "vol").stdout)[0]["Mountpoint"]
    assert owner(f"{upper}/new") == (0, 0)
    assert owner(f"{point}/new") == (5, 6)
    assert (
        run(knarrd, "--userns=host", "-v", "vol:/data", "busybox", "stat", "-c", "%u:%g", "/data/new")
        == "5:6\n"
    )
    knarrd.docker("rm", "disk")
    knarrd.docker("volume", "rm", "vol")


def test_a_device_by_another_name(knarrd: Daemon) -> None:
    out = run(
        knarrd, "--device", "/dev/zero:/dev/nothing", "busybox", "sh", "-c", "head -c 3 /dev/nothing | wc -c"
    )
    assert out == "3\n"


def test_binds_that_are_mapped(knarrd: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    tmp_path.chmod(0o700)
    script = "stat -c %u /data/file; touch /data/new"
    assert run(knarrd, "-v", f"{tmp_path}:/data:idmap", "busybox", "sh", "-c", script) == "0\n"
    assert owner(str(tmp_path / "new")) == (0, 0)
    refused = knarrd.docker("run", "--rm", "-v", "/proc:/data:idmap", "busybox", "true", check=False)
    assert "failed to set MOUNT_ATTR_IDMAP on /proc" in refused.stderr


def test_ranges_of_a_containers_own(knarrd: Daemon) -> None:
    for name in ("one", "two"):
        knarrd.docker(
            "run", "-d", "--name", name, "--security-opt", "userns=auto", "busybox", "sleep", "1000"
        )
    maps = [
        knarrd.docker("exec", name, "cat", "/proc/self/uid_map").stdout.split() for name in ("one", "two")
    ]
    assert [(line[0], line[2]) for line in maps] == [("0", str(SIZE))] * 2
    firsts = sorted(int(line[1]) for line in maps)
    assert firsts[0] + SIZE <= firsts[1]
    assert all(first + SIZE <= FIRST or first >= FIRST + SIZE for first in firsts)
    assert _ranges(knarrd) == set(firsts)
    knarrd.docker("restart", "-t", "0", "one")
    assert knarrd.docker("exec", "one", "cat", "/proc/self/uid_map").stdout.split() == maps[0]
    knarrd.docker("rm", "-f", "two")
    assert _ranges(knarrd) == {int(maps[0][1])}
    assert mapping(knarrd, "--security-opt", "userns=private") == ["0", str(FIRST), str(SIZE)]
    knarrd.docker("run", "-d", "--name", "plain", "--userns=host", "busybox", "sleep", "1000")
    refused = knarrd.docker(
        "run",
        "--rm",
        "--security-opt",
        "userns=auto",
        "--network=container:plain",
        "busybox",
        "true",
        check=False,
    )
    assert "cannot share namespaces of container" in refused.stderr


def _ranges(daemon: Daemon) -> set[int]:
    """Where the ranges begin that containers have for themselves."""
    with contextlib.closing(sqlite3.connect(f"file:{daemon.data_root}/state.db?mode=ro", uri=True)) as state:
        return {first for (first,) in state.execute("SELECT first FROM id_ranges")}


def test_knarrs_own_command_line(knarrd: Knarrd) -> None:
    line = knarrd.knarr("run", "--rm", "--userns=auto", "busybox", "cat", "/proc/self/uid_map").stdout.split()
    assert line[0] == "0"
    assert int(line[1]) >= FIRST + SIZE


def test_a_daemon_that_comes_back_finds_it(knarrd: Knarrd) -> None:
    knarrd.docker("run", "-d", "--name", "stays", "busybox", "sleep", "1000")
    before = pid(knarrd, "stays")
    knarrd.kill()
    knarrd.start()
    assert pid(knarrd, "stays") == before
    assert knarrd.docker("exec", "stays", "id", "-u").stdout == "0\n"
    knarrd.docker("rm", "-f", "stays")
    host.settle(lambda: namespaces(knarrd))


def test_a_user_without_ranges_is_named(peer: bool) -> None:
    if peer:
        pytest.skip("dockerd makes the user")
    daemon = _Knarrd(BRIDGE, SUBNET, options=("--userns-remap", "default"))
    words = 'no subuid ranges found for user "dockremap": add a line such as "dockremap:100000:65536" to /etc/subuid'
    try:
        daemon.begin()
        daemon.process.wait(60)
        assert f"knarrd: failed to start daemon: {words}" in daemon.log.read_text()
    finally:
        daemon.close()
