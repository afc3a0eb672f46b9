"""`docker cp` in all its corners, both ways: links, slashes, missing parents, owners, mounts, archives by stdin and stdout.

Each table is worked off in one container, line by line, so that it costs little; what differs is told together.
"""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemons import Daemon


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Files, directories and links of the host."""
    root = tmp_path / "here"
    (root / "dir/sub").mkdir(parents=True)
    (root / "file").write_text("file\n")
    (root / "dir/in").write_text("in\n")
    (root / "dir/sub/s").write_text("s\n")
    for name, target in (("to-file", "file"), ("to-dir", "dir"), ("to-none", "none")):
        (root / name).symlink_to(target)
    os.chown(root / "file", 1000, 1001)
    (root / "file").chmod(0o640)
    return root


@pytest.fixture
def box(daemon: Daemon) -> Daemon:
    """A stopped container `box` with a tree of its own below /x."""
    script = (
        "mkdir -p /x/y /x/z; echo a > /x/a; ln -s a /x/to-a; ln -s y /x/to-y; ln -s nope /x/to-none;"
        " ln -s /x/y /x/abs; ln -s ../../../../etc /x/out; echo yf > /x/y/yf; chown -R 33:34 /x/y"
    )
    daemon.docker(
        "run", "-d", "--name", "box", "busybox", "sh", "-c", f"[ -d /x ] || {{ {script}; }}; sleep 600"
    )
    daemon.docker("exec", "box", "sh", "-c", "until [ -e /x/y/yf ]; do :; done")
    daemon.docker("stop", "-t", "0", "box")
    return daemon


def listed(daemon: Daemon, path: str, container: str = "box") -> dict[str, tarfile.TarInfo]:
    """What is at a path of a container, as an archive tells."""
    done = daemon.open("cp", f"{container}:{path}", "-", stdin=None)
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err.decode()
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        return {member.name: member for member in tar}


Row = tuple[str, str, str, str]
"""What is copied, where to, what is looked at afterwards, and what is there: names, or words of a refusal."""

INTO: list[Row] = [
    ("file", "/f1", "/f1", "f1"),
    ("file", "/x/", "/x/file", "file"),
    ("file", "/x", "/x/file", "file"),
    ("file", "/none/", "", "no such directory"),
    ("file", "/none/f", "", "Could not find the file /none in container"),
    ("file", "/x/a/", "", "no such directory"),
    ("file", "/x/a/b", "", "not a directory"),
    ("file", "/x/to-a", "/x/a", "a"),
    ("file", "/x/to-none", "/x/nope", "nope"),
    ("file", "/x/to-y", "/x/y", "y y/file y/yf"),
    ("file", "/x/abs/ff", "/x/y/ff", "ff"),
    ("file", "/x/out/ff", "/etc/ff", "ff"),
    ("file", "relative", "/relative", "relative"),
    ("dir", "/d1", "/d1", "d1 d1/in d1/sub d1/sub/s"),
    ("dir", "/d1", "/d1/dir", "dir dir/in dir/sub dir/sub/s"),
    ("dir", "/d2/", "/d2", "d2 d2/in d2/sub d2/sub/s"),
    ("dir", "/none/d", "", "Could not find the file /none in container"),
    ("dir/", "/d3", "/d3", "d3 d3/in d3/sub d3/sub/s"),
    ("dir/.", "/d4", "/d4", "d4 d4/in d4/sub d4/sub/s"),
    ("dir/.", "/x/z", "/x/z", "z z/in z/sub z/sub/s"),
    ("dir/.", "/x/z/", "/x/z/.", ". ./in ./sub ./sub/s"),
    ("dir", "/x/a", "", "cannot copy directory"),
    ("dir/.", "/x/a", "", "cannot copy directory"),
    ("file/", "/f9", "", "not a directory"),
    ("file/.", "/f9", "", "not a directory"),
    ("to-file", "/l1", "/l1", "l1->file"),
    ("-L to-file", "/l2", "/l2", "l2"),
    ("to-dir", "/l3", "/l3", "l3->dir"),
    ("to-dir/", "/l4", "/l4", "l4 l4/in l4/sub l4/sub/s"),
    ("-L to-dir", "/l5", "/l5", "l5 l5/in l5/sub l5/sub/s"),
    ("to-none", "/l6", "/l6", "l6->none"),
    ("-L to-none", "/l7", "", "no such file or directory"),
    ("none", "/x", "", "no such file or directory"),
]

OUT: list[Row] = [
    ("/x/to-a", "o1", "o1", "->a"),
    ("-L /x/to-a", "o2", "o2", ""),
    ("/x/to-y", "o3", "o3", "->y"),
    ("-L /x/to-y", "o4", "o4", "yf"),
    ("/x/to-y/", "o5", "o5", "yf"),
    ("/x/to-y/.", "o6", "o6", "yf"),
    ("/x/to-none", "o7", "o7", "->nope"),
    ("-L /x/to-none", "o8", "", "Could not find the file"),
    ("/x/out", "o9", "o9", "->../../../../etc"),
    ("-L /x/out/passwd", "o10", "o10", ""),
    ("-L /x/abs", "o11", "o11", "yf"),
    ("/x/y", "o12", "o12", "yf"),
    ("/x/y", "o12", "o12/y", "yf"),
    ("/x/y/.", "o12", "o12", "y yf"),
    ("/x/a", "o12/new", "o12/new", ""),
    ("/x/a", "none/new", "", "invalid output path"),
    ("/x/a/", "o12/", "", "lstat /x/a/: not a directory"),
    ("/none", "o12", "", "Could not find the file /none in container"),
    ("/x/y", "file", "", "cannot copy directory"),
    ("/x/a", "file/", "", "not a directory"),
]


def work_off(rows: list[Row], check: Callable[[Row], str]) -> None:
    """Every line; the lines that differ, together."""
    wrong = [f"{row}: {said}" for row in rows if (said := check(row))]
    assert not wrong, "\n".join(wrong)


def test_into_a_stopped_container(box: Daemon, here: Path) -> None:
    def check(row: Row) -> str:
        words, target, place, wanted = row
        *flags, source = words.split()
        done = box.docker("cp", *flags, f"{here}/{source}", f"box:{target}", check=False)
        if not place:
            return "" if done.returncode == 1 and wanted in done.stderr else done.stderr or "no error"
        if done.returncode:
            return done.stderr
        found = " ".join(
            sorted(
                f"{name.rstrip('/')}->{member.linkname}" if member.issym() else name.rstrip("/")
                for name, member in listed(box, place).items()
            )
        )
        return "" if found == wanted else found

    work_off(INTO, check)


def test_out_of_a_stopped_container(box: Daemon, here: Path) -> None:
    def check(row: Row) -> str:
        words, target, place, wanted = row
        *flags, source = words.split()
        done = box.docker("cp", *flags, f"box:{source}", f"{here}/{target}", check=False)
        if not place:
            return "" if done.returncode == 1 and wanted in done.stderr else done.stderr or "no error"
        path = here / place
        if path.is_symlink():
            found = f"->{os.readlink(path)}"
        else:
            found = " ".join(sorted(os.listdir(path))) if path.is_dir() else ""
        return "" if os.path.lexists(path) and found == wanted else found or done.stderr

    work_off(OUT, check)


def test_owners(box: Daemon, here: Path) -> None:
    """Files keep theirs; -a gives them to the container's user, what comes out is the caller's."""
    box.docker("create", "--name", "of-nobody", "-u", "nobody", "busybox")
    for container, theirs in (("box", (1000, 1001)), ("of-nobody", (65534, 65534))):
        for flags, owner in (([], (1000, 1001)), (["-a"], theirs)):
            box.docker("cp", *flags, str(here / "file"), f"{container}:/owned")
            member = listed(box, "/owned", container)["owned"]
            assert ((member.uid, member.gid), member.mode) == (owner, 0o640)
    member = listed(box, "/x/y")["y/yf"]
    assert (member.uid, member.gid) == (33, 34)
    box.docker("cp", "box:/x/y", str(here / "owned"))
    found = (here / "owned/yf").stat()
    assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())


def test_a_user_that_the_container_does_not_know(daemon: Daemon, here: Path) -> None:
    daemon.docker("create", "--name", "ghost", "-u", "ghost", "busybox")
    daemon.docker("cp", str(here / "file"), "ghost:/f")
    done = daemon.docker("cp", "-a", str(here / "file"), "ghost:/f", check=False)
    assert 'failed to look up user "ghost" in container: no matching entries in passwd file' in done.stderr


def test_archives_by_stdin_and_stdout(box: Daemon, here: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.add(here / "dir", "dir")
        tar.add(here / "file", "file")
    for place, data in (("/x/z", plain.getvalue()), ("/x/y", gzip.compress(plain.getvalue()))):
        box.docker("cp", "-", f"box:{place}", data=data)
        name = place[3:]
        assert {f"{name}/dir/sub/s", f"{name}/file"} <= set(listed(box, place))
    for place, words in (("/none", "must be a directory"), ("/x/a", "must be a directory")):
        done = box.docker("cp", "-", f"box:{place}", data=plain.getvalue(), check=False)
        assert done.returncode == 1
        assert words in done.stderr
    for bad, words in (
        (b"no archive", "unexpected EOF"),
        (b"\xff" * 2000, "archive/tar: invalid tar header"),
    ):
        assert words in box.docker("cp", "-", "box:/x/z", data=bad, check=False).stderr
    assert {name.rstrip("/") for name in listed(box, "/x/y/.")} >= {".", "./yf"}


def test_what_is_no_copy(box: Daemon, here: Path) -> None:
    for words, said in (
        (["nobody:/x", str(here)], "No such container"),
        ([str(here / "file"), "nobody:/x"], "No such container"),
        (["box:/x/a", "box:/x/b"], "copying between containers is not supported"),
        ([str(here / "file"), str(here / "other")], "must specify at least one container source"),
    ):
        done = box.docker("cp", *words, check=False)
        assert done.returncode == 1
        assert said in done.stderr


def test_mounts(daemon: Daemon, here: Path, tmp_path: Path) -> None:
    """Volumes and binds are reached, stopped or not; what is mounted read-only is not written to."""
    (tmp_path / "bound").mkdir()
    flags = ["-v", "copies:/vol", "-v", "copies:/vol-ro:ro"]
    flags += ["-v", f"{tmp_path}/bound:/bound", "-v", f"{tmp_path}/bound:/bound-ro:ro"]
    daemon.docker("create", "--name", "box", *flags, "busybox", "sleep", "600")
    try:
        for state in ("stopped", "running"):
            daemon.docker("cp", str(here / "file"), f"box:/vol/{state}")
            daemon.docker("cp", str(here / "file"), f"box:/bound/{state}")
            assert (tmp_path / "bound" / state).read_text() == "file\n"
            assert f"vol/{state}" in listed(daemon, "/vol")
            assert f"bound-ro/{state}" in listed(daemon, "/bound-ro")
            for place in ("/vol-ro/x", "/bound-ro/x"):
                done = daemon.docker("cp", str(here / "file"), f"box:{place}", check=False)
                assert done.returncode == 1, place
                assert "mounted volume is marked read-only" in done.stderr
            daemon.docker("start", "box")
    finally:
        daemon.remove_containers()
        daemon.docker("volume", "rm", "copies")


def test_a_read_only_root(daemon: Daemon, here: Path) -> None:
    flags = ["--read-only", "-v", "copies:/vol", "--tmpfs", "/ram"]
    daemon.docker("run", "-d", "--name", "box", *flags, "busybox", "sleep", "600")
    try:
        for place in ("/f", "/ram/f"):
            done = daemon.docker("cp", str(here / "file"), f"box:{place}", check=False)
            assert "container rootfs is marked read-only" in done.stderr
        daemon.docker("cp", str(here / "file"), "box:/vol/f")
        assert daemon.docker("exec", "box", "cat", "/vol/f").stdout == "file\n"
        assert "passwd" in listed(daemon, "/etc/passwd")
    finally:
        daemon.remove_containers()
        daemon.docker("volume", "rm", "copies")


def test_a_running_and_a_paused_container(box: Daemon, here: Path) -> None:
    box.docker("start", "box")
    box.docker("cp", f"{here}/dir", "box:/tmp")
    found = box.docker("exec", "box", "find", "/tmp", "-type", "f").stdout.split()
    assert sorted(found) == ["/tmp/dir/in", "/tmp/dir/sub/s"]
    box.docker("pause", "box")
    assert "a" in listed(box, "/x/a")
    box.docker("unpause", "box")


def test_export_is_the_root_alone(daemon: Daemon, tmp_path: Path) -> None:
    """Of a running container as of a stopped one: of volumes, /proc and the engine's own files there are the places."""
    (tmp_path / "bound").mkdir()
    (tmp_path / "bound/file").write_text("of the host\n")
    flags = ["-v", f"{tmp_path}/bound:/bound", "-v", "copies:/vol"]
    script = "echo own > /own; echo in > /vol/in; sleep 600"
    daemon.docker("run", "-d", "--name", "box", *flags, "busybox", "sh", "-c", script)
    try:
        daemon.docker("exec", "box", "sh", "-c", "until [ -e /vol/in ]; do :; done")
        for state in ("running", "stopped"):
            daemon.docker("export", "-o", str(tmp_path / f"{state}.tar"), "box")
            with tarfile.open(tmp_path / f"{state}.tar") as tar:
                members = {member.name.removeprefix("./").rstrip("/"): member for member in tar}
                assert {"own", "bin/busybox", "bound", "vol", "proc"} <= set(members)
                assert not {"bound/file", "vol/in", "proc/1", "sys/kernel"} & set(members)
                assert members["etc/hosts"].size == 0
            daemon.docker("stop", "-t", "0", "box")
    finally:
        daemon.remove_containers()
        daemon.docker("volume", "rm", "copies")
