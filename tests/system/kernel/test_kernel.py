"""The wrappers on the real kernel: paths that cannot leave a root, mounts, packets with descriptors, processes, cgroups."""

import ctypes
import os
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.kernel import memfd, mounts, process, sockets, terminal
from knarr.kernel.cgroups.hierarchy import find
from knarr.kernel.cgroups.open import open_cgroup, open_paths
from knarr.kernel.cgroups.v1 import CgroupV1
from knarr.kernel.cgroups.v2 import CgroupV2
from knarr.kernel.fd import RootFd
from knarr.kernel.files import write_atomic


def in_child(function: object) -> int:
    """Runs `function` in a forked child; its exit status, 99 for an exception."""
    pid = os.fork()
    if pid == 0:
        try:
            assert callable(function)
            os._exit(int(function() or 0))
        except BaseException:
            traceback.print_exc()
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def root(tmp_path: Path) -> Iterator[RootFd]:
    tree = tmp_path / "root"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "hosts").write_text("inside")
    (tmp_path / "hosts").write_text("outside")
    for name, target in (
        ("abs", "/etc/hosts"),
        ("up", "../../../hosts"),
        ("out", str(tmp_path / "hosts")),
        ("loop", "loop"),
        ("dangling", "/nowhere"),
    ):
        (tree / name).symlink_to(target)
    with RootFd(str(tree)) as fd:
        yield fd


@pytest.mark.parametrize("path", ["etc/hosts", "/etc/hosts", "abs", "/../etc/hosts", "etc/../../etc/hosts"])
def test_paths_stay_inside(root: RootFd, path: str) -> None:
    assert root.read(path) == b"inside"


@pytest.mark.parametrize("path", ["up", "out", "loop", "dangling"])
def test_links_do_not_lead_out(root: RootFd, path: str) -> None:
    with pytest.raises(OSError):
        root.read(path)


def test_writing_and_making(root: RootFd, tmp_path: Path) -> None:
    root.write("etc/new", b"text")
    assert (tmp_path / "root/etc/new").read_bytes() == b"text"
    os.close(root.mkdirs("/a/b/c"))
    assert (tmp_path / "root/a/b/c").is_dir()
    (tmp_path / "root" / "link").symlink_to("/a/b")
    os.close(root.mkdirs("/link/d"))
    assert (tmp_path / "root/a/b/d").is_dir()
    with pytest.raises(NotADirectoryError):
        root.mkdirs("/abs/x")


def test_what_a_dangling_link_leads_to_is_made_inside(root: RootFd, tmp_path: Path) -> None:
    inside = tmp_path / "root"
    os.close(root.mkdirs("/dangling/x"))
    assert (inside / "nowhere/x").is_dir()
    (inside / "etc/jump").symlink_to("../../../gone")
    (inside / "twice").symlink_to("etc/jump/on")
    assert root.resolve("/twice/../a") == "/gone/a"
    os.close(root.mkdirs("twice"))
    assert (inside / "gone/on").is_dir()
    with pytest.raises(OSError, match="symbolic links"):
        root.mkdirs("/loop/x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hosts", "root"]


def test_a_fifo_does_not_hang_a_reader(root: RootFd, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "root" / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        root.read("fifo")


def test_magic_links_are_refused(tmp_path: Path) -> None:
    with RootFd("/proc") as proc, pytest.raises(OSError):
        proc.open(f"{os.getpid()}/root/etc/passwd", os.O_RDONLY)


def test_overlay_by_the_new_mount_api(tmp_path: Path) -> None:
    def child() -> int:
        process.unshare(process.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        for name in ("one", "two", "upper", "work", "merged"):
            (tmp_path / name).mkdir()
        (tmp_path / "one" / "a").write_text("1")
        (tmp_path / "two" / "b").write_text("2")
        options: list[tuple[str, str | None]] = [
            ("lowerdir+", str(tmp_path / "two")),
            ("lowerdir+", str(tmp_path / "one")),
        ]
        options += [("upperdir", str(tmp_path / "upper")), ("workdir", str(tmp_path / "work"))]
        fd = mounts.new_mount("overlay", "overlay", options)
        target = os.open(tmp_path / "merged", os.O_PATH)
        mounts.attach_mount(fd, target)
        return 0 if sorted(os.listdir(tmp_path / "merged")) == ["a", "b"] else 1

    assert in_child(child) == 0


def test_overlay_by_descriptors(tmp_path: Path) -> None:
    """As for old kernels, with paths that fsconfig(2) would not take; the working directory comes back."""
    deep = tmp_path.joinpath(*["long" * 30] * 3)

    def child() -> int:
        process.unshare(process.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        for name in ("one", "two", "upper", "work", "merged"):
            (deep / name).mkdir(parents=True)
        (deep / "one" / "a").write_text("lower")
        (deep / "two" / "a").write_text("upper")
        (deep / "one" / "b").write_text("")
        os.chdir(tmp_path)
        before = sorted(os.listdir("/proc/self/fd"))
        fd = mounts.overlay_by_descriptors(
            [str(deep / "two"), str(deep / "one")],
            [("upperdir", str(deep / "upper")), ("workdir", str(deep / "work"))],
        )
        with RootFd("merged", fd) as root:
            root.write("c", b"new")
            found = sorted(os.listdir(root.open("/", os.O_RDONLY))), root.read("a")
        left = len(os.listdir("/proc/self/fd")) - len(before)
        kept = (deep / "upper" / "c").read_bytes()
        return (
            0
            if (*found, kept, left, os.getcwd()) == (["a", "b", "c"], b"upper", b"new", 1, str(tmp_path))
            else 1
        )

    assert in_child(child) == 0


def test_a_failed_mount_says_why(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nonsense"):
        mounts.new_mount("overlay", "overlay", [("lowerdir+", str(tmp_path)), ("nonsense", "x")])


def test_packets_carry_descriptors() -> None:
    here, there = sockets.socketpair()
    with here, there:
        fd = memfd.sealed("x", b"payload")
        sockets.send_packet(here, b"{}", [fd])
        os.close(fd)
        data, fds = sockets.recv_packet(there)
        assert data == b"{}"
        assert memfd.contents(fds[0]) == b"payload"
        assert not os.get_inheritable(fds[0])
        with pytest.raises(PermissionError):
            os.pwrite(fds[0], b"x", 0)
        os.close(fds[0])
        assert sockets.peer(here)[0] == os.getpid()


def test_clone3_gives_pid_namespace_and_pidfd() -> None:
    pid, pidfd = process.clone3(process.CLONE_NEWPID)
    if pid == 0:
        os._exit(0 if os.getpid() == 1 else 1)
    result = process.waitid_pidfd(pidfd)
    os.close(pidfd)
    assert result is not None
    assert result.si_status == 0


def sleeper(group: CgroupV2) -> tuple[int, int]:
    """A process that was born in the cgroup."""
    directory = group.open_for_clone()
    pid, pidfd = process.clone3(0, directory)
    if pid == 0:
        while True:
            signal.pause()
    os.close(directory)
    return pid, pidfd


def test_version_2_holds_freezes_and_kills(unified: CgroupV2) -> None:
    pid, pidfd = sleeper(unified)
    assert unified.pids() == [pid]
    unified.freeze()
    unified.kill()
    result = process.waitid_pidfd(pidfd)
    os.close(pidfd)
    assert result is not None
    assert result.si_status == signal.SIGKILL
    unified.thaw()
    assert unified.pids() == []


def test_version_2_reads_past_threaded_cgroups(unified: CgroupV2) -> None:
    directory = Path(unified.paths()[""])
    (directory / "threads").mkdir()
    (directory / "threads" / "cgroup.type").write_text("threaded")
    pid, pidfd = sleeper(unified)
    assert unified.pids() == [pid]
    with pytest.raises(OSError):
        unified.remove()
    unified.kill()
    process.waitid_pidfd(pidfd)
    os.close(pidfd)
    unified.remove()
    assert not directory.exists()


def test_signals_are_all_reset() -> None:
    def child() -> int:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
        process.reset_signals()
        status = Path("/proc/self/status").read_text()
        masks = {
            line.split(":")[0]: int(line.split()[1], 16)
            for line in status.splitlines()
            if line.startswith(("SigBlk", "SigIgn", "SigCgt"))
        }
        return 0 if not any(masks.values()) else 1

    assert in_child(child) == 0


def test_capabilities_go() -> None:
    def child() -> int:
        process.drop_bounding(21)
        process.capset(1, 1, 0)
        return 0 if process.capget() == (1, 1, 0) and process.prctl(process.PR_CAPBSET_READ, 21) == 0 else 1

    assert in_child(child) == 0


def test_a_terminal() -> None:
    master, number = terminal.open_ptmx()
    slave = terminal.peer(master)
    terminal.set_size(master, 99, 33)
    assert terminal.size(slave) == (99, 33)
    assert os.ttyname(slave) == f"/dev/pts/{number}"
    os.close(slave)
    os.close(master)


def test_an_atomic_write_leaves_nothing_of_a_failure(tmp_path: Path) -> None:
    write_atomic(str(tmp_path / "file"), b"one")
    write_atomic(str(tmp_path / "file"), b"two")
    assert (tmp_path / "file").read_bytes() == b"two"
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError):
        write_atomic(str(tmp_path / "directory"), b"three")
    assert sorted(os.listdir(tmp_path)) == ["directory", "file"]


@pytest.fixture
def cgroup() -> Iterator[CgroupV1 | CgroupV2]:
    hierarchy = find()
    group = open_cgroup(f"knarr-test-kernel-{os.getpid()}/one", hierarchy)
    group.create()
    yield group
    group.remove()
    open_cgroup(f"knarr-test-kernel-{os.getpid()}", hierarchy).remove()


def test_a_cgroup_limits_freezes_and_kills(cgroup: CgroupV1 | CgroupV2) -> None:
    cgroup.apply({"pids": {"limit": 50}, "memory": {"limit": 64 << 20}})
    ready_r, ready_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        cgroup.enter()
        os.write(ready_w, b"x")
        while True:
            signal.pause()
    assert os.read(ready_r, 1) == b"x"
    os.close(ready_r)
    os.close(ready_w)
    assert cgroup.pids() == [pid]
    cgroup.freeze()
    cgroup.thaw()
    assert cgroup.oom_kills() == 0
    assert cgroup.stats()["pids"]["current"] == 1
    cgroup.kill()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_a_cgroup_is_found_again_by_its_paths(cgroup: CgroupV1 | CgroupV2) -> None:
    again = open_paths(cgroup.paths())
    assert again.paths() == cgroup.paths()
    again.freeze()
    assert cgroup.frozen()
    again.thaw()
    assert not cgroup.frozen()
    again.remove()
    assert again.pids() == []
    assert not again.frozen()
    again.thaw()
    assert not any(Path(path).exists() for path in cgroup.paths().values())


def test_a_cgroup_below_others(cgroup: CgroupV1 | CgroupV2) -> None:
    inner = open_cgroup("two", find().below(dict.fromkeys(cgroup.paths(), f"/{cgroup.path}")))
    inner.create()
    assert inner.paths() == {name: f"{path}/two" for name, path in cgroup.paths().items()}
    assert in_child(inner.enter) == 0
    inner.remove()


def test_removing_twice_is_no_error(cgroup: CgroupV1 | CgroupV2) -> None:
    cgroup.remove()
    cgroup.remove()


def test_errors_carry_errno_and_path() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        mounts.umount2("/no/such/place")
    assert caught.value.filename == "/no/such/place"
    assert ctypes.get_errno() >= 0
