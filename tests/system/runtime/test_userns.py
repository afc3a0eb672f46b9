"""User namespaces, time namespaces, id-mapped mounts: what the process sees, and who owns files on the host."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knarr.kernel import mounts
from knarr.model.errors import KnarrError
from knarr.runtime import idmap, mapped_root
from tests.system.runtime.conftest import Runtime, read_until

UID, GID, SIZE = 100_000, 200_000, 65_536
KINDS = ("mount", "pid", "network", "ipc", "uts", "cgroup")
UIDS, GIDS = ((0, UID, SIZE),), ((0, GID, SIZE),)
OVERFLOW = 65_534


def lines(*triples: tuple[int, int, int]) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": other, "size": count} for inside, other, count in triples]


def linux(*kinds: str, **more: Any) -> dict[str, Any]:
    """With a user namespace."""
    return {
        "namespaces": [{"type": kind} for kind in (*KINDS, "user", *kinds)],
        "uidMappings": lines(*UIDS),
        "gidMappings": lines(*GIDS),
        **more,
    }


def mapped(runtime: Runtime, *command: str, **changes: Any) -> dict[str, Any]:
    """An order whose root is mapped."""
    order = runtime.order(*command, **{"linux": linux(), **changes})
    order["rootfs"]["mounts"][0][2].append("idmap")
    return order


async def run(runtime: Runtime, script: str, **changes: Any) -> str:
    """What a script in a mapped container says; it must succeed."""
    order = mapped(runtime, "sh", "-ec", script, **changes)
    ended, out, err = await runtime.live(order)
    assert (ended.code, err) == (0, b""), err
    return out.decode()


def owner(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    """A directory that only the host's root can get to, with a mount below."""
    top = tmp_path / "closed/source"
    (top / "below").mkdir(parents=True)
    top.parent.chmod(0o700)
    for path in (top / "file", top / "below/file"):
        path.write_text("x")
        os.chown(path, 5, 6)
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("y")
    os.chown(other / "file", 7, 8)
    mounts.mount(str(other), str(top / "below"), None, mounts.MS_BIND)
    yield top
    mounts.umount2(str(top / "below"), mounts.MNT_DETACH)


async def test_root_inside_is_nobody_outside(runtime: Runtime) -> None:
    script = "id; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; echo $$; hostname"
    out = (await run(runtime, script)).split("\n")
    assert out[0] == "uid=0(root) gid=0(root) groups=0(root)"
    assert [line.split() for line in out[1:3]] == [["0", str(UID), str(SIZE)], ["0", str(GID), str(SIZE)]]
    assert out[3:6] == ["allow", "1", "box"]
    shim = await runtime.launch(mapped(runtime, "cat", stdin=True))
    status = Path(f"/proc/{shim.pid}/status").read_text()
    assert f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}\n" in status
    assert f"Gid:\t{GID}\t{GID}\t{GID}\t{GID}\n" in status


async def test_files_keep_their_ids_on_disk(runtime: Runtime) -> None:
    """The layer's files belong to root inside, new ones to root on disk: the layer is anybody's."""
    script = (
        "stat -c %u:%g / /bin/busybox; echo new > /tmp/new; mkdir /tmp/dir; chown 33:34 /tmp/dir; rm /bin/noexec;"
        "echo more >> /etc/passwd; ln -s x /tmp/link; stat -c %u:%g /tmp/dir /etc/passwd"
    )
    assert (await run(runtime, script)).split() == ["0:0", "0:0", "33:34", "0:0"]
    upper = runtime.last / "upper"
    assert owner(upper / "tmp/new") == owner(upper / "etc/passwd") == owner(upper / "tmp/link") == (0, 0)
    assert owner(upper / "tmp/dir") == (33, 34)
    hidden = (upper / "bin/noexec").lstat()
    assert (hidden.st_rdev, hidden.st_uid) == (0, 0)
    assert owner(runtime.image / "etc/passwd") == (0, 0)


async def test_a_root_whose_layers_older_kernels_take(tmp_path: Path) -> None:
    for name in ("lower", "snapshot/upper", "snapshot/work", "place", "seen"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lower/file").write_text("x")
    namespace = idmap.user_namespace(UIDS, GIDS)
    trees = idmap.mapped_trees([str(tmp_path / name) for name in ("lower", "snapshot")], namespace)
    parameters: mapped_root.Parameters = [("upperdir", "upper"), ("workdir", "work")]
    root = mapped_root.by_paths(trees, parameters, str(tmp_path / "place"))
    try:
        assert os.stat("file", dir_fd=root).st_uid == UID
        assert os.listdir(tmp_path / "place") == []
    finally:
        for fd in (root, namespace, *trees):
            os.close(fd)


async def test_devices_streams_and_kernel_files(runtime: Runtime) -> None:
    """Nodes are the host's own, the file systems the container's."""
    script = (
        "echo gone > /dev/null; head -c 3 /dev/zero | wc -c; test -c /dev/random; stat -c %F /dev/full;"
        "ls /proc/self/ns | wc -l; ls -d /sys/class/net/lo; test -w /dev/shm; touch /dev/shm/x; stat -c %u /dev/shm/x;"
        "stat -c %g /dev/pts; ls /sys/fs/cgroup > /dev/null; echo a > /dev/stdout; touch /dev/mqueue/queue;"
        "! echo 1 > /proc/sys/kernel/panic_on_oops; ! mknod /tmp/null c 1 3; ! cat /proc/kcore"
    )
    out = await run(runtime, f"({script}) 2> /dev/null")
    assert out.split("\n")[:2] == ["3", "character special file"]
    assert "/sys/class/net/lo" in out
    assert out.endswith("a\n")


async def test_a_user_of_the_container(runtime: Runtime) -> None:
    process = {"user": {"name": "web", "groups": ["log"]}, "cwd": "/srv/app"}
    out = await run(
        runtime,
        "id; echo -n > /dev/stderr; stat -c %u .; grep CapEff /proc/self/status",
        process=process,
    )
    assert out == "uid=33(web) gid=34(web) groups=4(log),29(audio),34(web)\n0\nCapEff:\t0000000000000000\n"


async def test_limits_and_scores(runtime: Runtime) -> None:
    process = {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 30}], "oomScoreAdj": 300}
    out = await run(runtime, "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj", process=process)
    assert out.split() == ["20", "30", "300"]


async def test_its_cgroup(runtime: Runtime) -> None:
    shim = await runtime.launch(mapped(runtime, "cat", "/proc/self/cgroup", stdin=True))
    assert list(await shim.pids()) == [shim.pid]
    out = await run(runtime, "cat /proc/self/cgroup")
    assert not [
        line
        for line in out.splitlines()
        if not line.endswith(":/") and "unified" not in line and line[:2] != "0:"
    ]


async def test_bind_mounts(runtime: Runtime, source: Path) -> None:
    """A source that the container's root could not reach is taken before; its owners are nobody unless they are mapped."""
    binds: list[dict[str, Any]] = [
        {"destination": f"/{name}", "type": "bind", "source": str(source), "options": ["rbind", *words]}
        for name, words in {"plain": [], "top": ["idmap"], "all": ["ridmap"], "own": []}.items()
    ]
    binds[3] |= {"uidMappings": lines((5, UID + 50, 1)), "gidMappings": lines((6, GID + 60, 1))}
    script = "for d in plain top all own; do stat -c %u:%g /$d/file /$d/below/file; done; echo new > /all/new"
    out = (await run(runtime, script, mounts=binds)).split()
    nobody = f"{OVERFLOW}:{OVERFLOW}"
    assert out == [nobody, nobody, "5:6", nobody, "5:6", "7:8", "50:60", nobody]
    assert owner(source / "new") == (0, 0)


async def test_id_mapped_mounts_without_a_user_namespace(runtime: Runtime, source: Path) -> None:
    bind = {"destination": "/data", "type": "bind", "source": str(source), "options": ["bind"]}
    own = {"uidMappings": lines((5, 1005, 1), (0, 2000, 1)), "gidMappings": lines((6, 1006, 1))}
    _, out, _ = await runtime.run("stat", "-c", "%u:%g", "/data/file", mounts=[{**bind, **own}])
    assert out == b"1005:1006\n"
    implied = {**bind, "options": ["bind", "idmap"]}
    with pytest.raises(KnarrError, match="id-mapped mounts must have both uid and gid mappings specified"):
        await runtime.launch(runtime.order("true", mounts=[implied]))
    half = {**bind, "uidMappings": lines((0, 1, 1))}
    with pytest.raises(KnarrError, match="id-mapped mounts must have both uid and gid mappings specified"):
        await runtime.launch(runtime.order("true", mounts=[half]))


async def test_what_cannot_be_mapped_is_named(runtime: Runtime) -> None:
    bind = {"destination": "/data", "type": "bind", "source": "/proc", "options": ["bind", "idmap"]}
    with pytest.raises(
        KnarrError, match=r"failed to set MOUNT_ATTR_IDMAP on /proc: invalid argument \(maybe the filesystem"
    ):
        await runtime.launch(mapped(runtime, "true", mounts=[bind]))


async def test_execs(runtime: Runtime) -> None:
    shim = await runtime.launch(mapped(runtime, "sleep", "1000"))
    await shim.start()
    mine, theirs = socket.socketpair()
    process = {
        "args": [
            "sh",
            "-c",
            "id -u; cat /proc/self/uid_map; echo x > /tmp/exec; echo y > /dev/stdout; echo end",
        ],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"name": ""},
        "oomScoreAdj": 100,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 50}],
    }
    with mine:
        handle = await shim.exec(
            "one", process, sock_fd=theirs.fileno(), stdout=True, stderr=True, framed=False
        )
        theirs.close()
        assert (await handle.exited).code == 0
        out = await read_until(mine, b"end\n")
    assert out.split() == [b"0", b"0", str(UID).encode(), str(SIZE).encode(), b"y", b"end"]
    assert owner(runtime.last / "upper/tmp/exec") == (0, 0)


async def test_a_terminal(runtime: Runtime) -> None:
    order = mapped(runtime, "sh", "-c", "test -t 0 && stat -c %u $(tty); echo z > /dev/console", tty=True)
    ended, out, _ = await runtime.live(order)
    assert (ended.code, out) == (0, b"0\r\nz\r\n")


async def test_namespaces_that_are_not_its_own(runtime: Runtime) -> None:
    """Without a network namespace of its own it may not make a sysfs: it gets the host's, as with /proc and the queues."""
    kinds = [{"type": kind} for kind in ("mount", "uts", "cgroup", "user")]
    script = "ls -d /dev/mqueue /sys/class/net; test -d /proc/1; ! touch /sys/x 2> /dev/null; readlink /proc/self/ns/net"
    out = (
        await run(runtime, script, linux=linux() | {"namespaces": kinds}, bundle={"hostname": "box"})
    ).split()
    assert out == ["/dev/mqueue", "/sys/class/net", os.readlink("/proc/self/ns/net")]


async def test_joining_a_user_namespace(runtime: Runtime) -> None:
    first = await runtime.launch(mapped(runtime, "sleep", "1000"))
    await first.start()
    path = f"/proc/{first.pid}/ns/user"
    joined = linux() | {"namespaces": [*({"type": kind} for kind in KINDS), {"type": "user", "path": path}]}
    assert (await run(runtime, "readlink /proc/self/ns/user", linux=joined)).strip() == os.readlink(path)
    order = runtime.order("sh", "-c", "id -u", linux={**joined, "uidMappings": [], "gidMappings": []})
    assert (await runtime.live(order))[1] == b"0\n"
    shared = {
        "namespaces": [
            {"type": "mount"},
            *({"type": kind, "path": f"/proc/{first.pid}/ns/{name}"} for kind, name in
              (("network", "net"), ("user", "user"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"))),
        ]
    }  # fmt: skip
    out = (
        await run(
            runtime,
            "readlink /proc/self/ns/net; hostname; ps | grep -c sleep",
            linux=linux() | shared,
            bundle={"hostname": ""},
        )
    ).split()
    assert out[:2] == [os.readlink(f"/proc/{first.pid}/ns/net"), "box"]
    assert int(out[2]) >= 1
    wrong = {**joined, "uidMappings": lines((0, UID + 1, SIZE))}
    with pytest.raises(KnarrError, match="both namespace path and non-matching mapping specified"):
        await runtime.launch(mapped(runtime, "true", linux=wrong))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"uidMappings": [], "gidMappings": []}, "no namespace path to join nor mappings to apply specified"),
        ({"uidMappings": lines((1, UID, 5))}, "no root user found"),
        ({"namespaces": [{"type": "mount"}, {"type": "user", "path": "/no/such"}]}, "failed to open /no/such: no such file"),
        ({"namespaces": [{"type": "mount"}, {"type": "user", "path": "/proc/self/ns/net"}]}, "failed to setns into user namespace: invalid argument"),
    ],
)  # fmt: skip
async def test_what_is_refused(runtime: Runtime, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(KnarrError, match=words):
        make = (
            runtime.order
            if "namespaces" in changes
            else lambda *words, **more: mapped(runtime, *words, **more)
        )
        await runtime.launch(make("true", linux=linux() | changes, bundle={"hostname": ""}))


async def test_a_command_that_is_missing_is_told_as_ever(runtime: Runtime) -> None:
    with pytest.raises(KnarrError, match=r'exec: "nosuch": executable file not found in \$PATH'):
        await runtime.launch(mapped(runtime, "nosuch"))


OFFSETS = {"monotonic": {"secs": 7881, "nanosecs": 2_718_281}, "boottime": {"secs": 1_000_000}}


@pytest.mark.parametrize("user", [False, True])
async def test_time_namespaces(runtime: Runtime, user: bool) -> None:
    own = {"namespaces": [{"type": kind} for kind in (*KINDS, "time")]} if not user else linux("time")
    order = runtime.order(
        "sh",
        "-c",
        "cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime",
        linux={**own, "timeOffsets": OFFSETS},
    )
    if user:
        order["rootfs"]["mounts"][0][2].append("idmap")
    ended, out, err = await runtime.live(order)
    assert (ended.code, err) == (0, b"")
    words = out.split()
    assert words[:6] == [b"monotonic", b"7881", b"2718281", b"boottime", b"1000000", b"0"]
    assert int(words[6]) >= 1_000_000


async def test_an_exec_has_the_containers_time(runtime: Runtime) -> None:
    shim = await runtime.launch(
        runtime.order(
            "sleep",
            "1000",
            linux={"namespaces": [{"type": kind} for kind in (*KINDS, "time")], "timeOffsets": OFFSETS},
        )
    )
    await shim.start()
    mine, theirs = socket.socketpair()
    process = {
        "args": ["cat", "/proc/self/timens_offsets"],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"name": ""},
    }
    with mine:
        handle = await shim.exec("one", process, sock_fd=theirs.fileno(), stdout=True, framed=False)
        theirs.close()
        assert (await handle.exited).code == 0
        assert b"7881" in await read_until(mine, b"boottime")
    joined = [*({"type": kind} for kind in KINDS), {"type": "time", "path": f"/proc/{shim.pid}/ns/time"}]
    _, out, _ = await runtime.run("readlink", "/proc/self/ns/time", linux={"namespaces": joined})
    assert out.decode().strip() == os.readlink(f"/proc/{shim.pid}/ns/time")


def test_a_namespace_to_map_by(tmp_path: Path) -> None:
    namespace = idmap.user_namespace(UIDS, GIDS)
    try:
        shown = subprocess.run(
            ["nsenter", f"--user=/proc/self/fd/{namespace}", "cat", "/proc/self/uid_map"],
            pass_fds=[namespace], capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert shown.stdout.split() == ["0", str(UID), str(SIZE)]
    finally:
        os.close(namespace)
