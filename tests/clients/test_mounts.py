"""`--mount`, `-v`, `--tmpfs` and `--volumes-from` in all their words, and what is wrong with them in Docker's."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import Daemon, Dockerd


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory of the host with a file and a directory."""
    (tmp_path / "source/sub").mkdir(parents=True)
    (tmp_path / "source/file").write_text("of the host\n")
    return tmp_path / "source"


@pytest.fixture
def nested(source: Path) -> Iterator[Path]:
    """The same, with a file system mounted on the directory in it; all of it shared."""
    for words in (
        ["mount", "--bind", str(source), str(source)],
        ["mount", "--make-shared", str(source)],
        ["mount", "-t", "tmpfs", "tmpfs", str(source / "sub")],
    ):
        subprocess.run(words, check=True)
    (source / "sub/deep").write_text("deep\n")
    yield source
    subprocess.run(["umount", "-R", str(source)], check=True)


@pytest.fixture
def volumes(daemon: Daemon) -> Iterator[Daemon]:
    """The daemon; the volumes of the test are removed afterwards."""
    yield daemon
    daemon.remove_containers()
    names = daemon.docker("volume", "ls", "-q").stdout.split()
    if names:
        daemon.docker("volume", "rm", *names)


def run(daemon: Daemon, flags: list[str], script: str) -> str:
    """What a script prints in a container with these flags."""
    return daemon.docker("run", "--rm", *flags, "busybox", "sh", "-c", script).stdout


def refused(daemon: Daemon, *words: str) -> str:
    """What the daemon says to something that fails."""
    done = daemon.docker(*words, check=False)
    assert done.returncode != 0, f"{words} is not refused"
    return done.stderr.strip()


def points(daemon: Daemon, name: str) -> dict[str, dict[str, Any]]:
    """Mounts of inspect by their destination."""
    return {each["Destination"]: each for each in daemon.inspect(name)["Mounts"]}


_BAD: list[tuple[str, str]] = [
    ("--mount type=bind,source={s}/nope,target=/m", 'type "bind": bind source path does not exist: {s}/nope'),
    ("--mount type=bind,source={s},target=m", "type \"bind\": invalid mount path: 'm' mount path must be absolute"),
    ("--mount type=bind,source={s},target=/", "type \"bind\": invalid specification: destination can't be '/'"),
    ("--mount type=bind,target=/m", 'type "bind": field Source must not be empty'),
    ("--mount type=bind,source={s},target=/m,bind-propagation=bad", "invalid propagation mode: bad"),
    ("--mount type=tmpfs,source=x,target=/m", 'type "tmpfs": field Source must not be specified'),
    ("--mount type=nope,target=/m", 'type "nope": mount type unknown'),
    ("--mount type=volume,source=/abs,target=/m", "includes invalid characters for a local volume name"),
    ("--mount type=volume,target=/m,volume-subpath=x", "must not set Subpath when using anonymous volumes"),
    ("--mount type=image,target=/m", 'type "image": field Source must not be empty'),
    ("--mount type=image,source=busybox,target=/m,image-subpath=../x", "subpath must be a relative path"),
    ("--mount type=image,source=busybox,target=/m,image-subpath=/x", "subpath must be a relative path"),
    ("--mount type=bind,source={s},target=/m -v {s}:/m", "Duplicate mount point: /m"),
    ("--tmpfs /m -v {s}:/m", "Duplicate mount point: /m"),
    ("-v {s}:/m -v {s}:/m/", "Duplicate mount point: /m"),
    ("--tmpfs m", "invalid mount path: 'm' mount path must be absolute"),
    ("-v {s}:/m:bad", "invalid mode: bad"),
    ("-v {s}:/m:ro,rw", "invalid mode: ro,rw"),
    ("-v {s}:/m:z,Z", "invalid mode: z,Z"),
    ("-v {s}:/m:nocopy", "'{s}:/m:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not"),
    ("-v vol:/m:rshared", "'vol:/m:rshared': invalid mount config for type \"volume\": field BindOptions must not"),
    ("-v {s}:m", "invalid mount path: 'm' mount path must be absolute"),
    ("-v {s}:/", "'{s}:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'"),
    ("-v vol:/", "'vol:/': invalid mount config for type \"volume\": invalid specification: destination can't be '/'"),
    ("--volumes-from nobody", "No such container: nobody"),
]  # fmt: skip


def test_what_is_refused(daemon: Daemon, source: Path) -> None:
    """The whole table; the lines that differ are told together."""
    wrong = []
    for flags, words in _BAD:
        said = refused(daemon, "create", *flags.replace("{s}", str(source)).split(), "busybox")
        if words.replace("{s}", str(source)) not in said:
            wrong.append(f"{flags}: {said}")
    assert not wrong, "\n".join(wrong)
    assert daemon.docker("ps", "-aq").stdout == ""


_MIXED: list[tuple[str, dict[str, Any], str]] = [
    ("1.48", {"Type": "bind", "VolumeOptions": {}}, 'VolumeOptions must not be specified on mount type "bind"'),
    ("1.48", {"Type": "bind", "TmpfsOptions": {}}, 'TmpfsOptions must not be specified on mount type "bind"'),
    ("1.48", {"Type": "bind", "ImageOptions": {}}, 'type "bind": field ImageOptions must not be specified'),
    ("1.47", {"Type": "image"}, 'Mount type "Image" needs API v1.48 or newer'),
    ("1.44", {"Type": "volume", "VolumeOptions": {"Subpath": "x"}}, "VolumeOptions.Subpath needs API v1.45"),
    ("1.43", {"Type": "bind", "BindOptions": {"ReadOnlyForceRecursive": True}}, "needs API v1.44 or newer"),
    ("1.48", {"Type": "tmpfs", "Source": "", "TmpfsOptions": {"Options": [["uid", "5"]]}}, "invalid option: uid"),
]  # fmt: skip


def test_what_does_not_go_together(daemon: Daemon) -> None:
    for version, mount, words in _MIXED:
        asked = {"Source": "/tmp", "Target": "/m", **mount}
        body = {"Image": "busybox", "HostConfig": {"Mounts": [asked]}}
        status, told = daemon.api("POST", f"/v{version}/containers/create", body)
        assert status == 400, mount
        assert words in told["message"]


def test_a_bad_word_for_a_tmpfs(daemon: Daemon) -> None:
    assert 'invalid tmpfs option "bad"' in refused(
        daemon, "run", "--rm", "--tmpfs", "/m:bad=1", "busybox", "true"
    )


def test_binds(daemon: Daemon, source: Path) -> None:
    for flags in (["--mount", f"type=bind,source={source},target=/m"], ["-v", f"{source}:/m/../m:Z"]):
        assert run(daemon, flags, "cat /m/file; touch /m/made && rm /m/made") == "of the host\n"
    for flags in (["--mount", f"type=bind,source={source},target=/m,readonly"], ["-v", f"{source}:/m:ro,z"]):
        assert run(daemon, flags, "touch /m/made 2>/dev/null || cat /m/file") == "of the host\n"
    assert run(daemon, ["-v", f"{source}/file:/m/file:ro"], "cat /m/file") == "of the host\n"


def test_a_missing_source_of_v_is_made(daemon: Daemon, source: Path) -> None:
    assert run(daemon, ["-v", f"{source}/new:/m"], "ls -A /m; test -d /m && echo there") == "there\n"
    assert (source / "new").is_dir()


def test_nested_binds(daemon: Daemon, nested: Path) -> None:
    """What is mounted below is there, unless it is not asked for; read-only takes it with it, unless that is refused."""
    base = f"type=bind,source={nested},target=/m"
    assert run(daemon, ["--mount", base], "cat /m/sub/deep") == "deep\n"
    assert run(daemon, ["--mount", f"{base},bind-recursive=disabled"], "ls /m/sub") == ""
    write = "touch /m/sub/made 2>/dev/null && echo written && rm /m/sub/made"
    assert run(daemon, ["--mount", f"{base},readonly"], f"{write}; true") == ""
    assert run(daemon, ["-v", f"{nested}:/m:ro"], f"{write}; true") == ""
    assert run(daemon, ["--mount", f"{base},readonly,bind-recursive=writable"], write) == "written\n"
    forced = f"{base},readonly,bind-recursive=readonly,bind-propagation=rprivate"
    assert run(daemon, ["--mount", forced], f"{write}; true") == ""


def test_before_1_44_read_only_was_for_the_top_alone(daemon: Daemon, nested: Path) -> None:
    body = {
        "Image": "busybox",
        "Cmd": ["touch", "/m/sub/made"],
        "HostConfig": {"Binds": [f"{nested}:/m:ro"]},
    }
    status, told = daemon.api("POST", "/v1.43/containers/create", body)
    assert status == 201
    daemon.docker("start", "-a", told["Id"])
    assert (nested / "sub/made").exists()


def test_propagation(daemon: Daemon, nested: Path, tmp_path: Path) -> None:
    flags = {
        "rshared": ["-v", f"{nested}:/m:rshared"],
        "rslave": ["--mount", f"type=bind,source={nested},target=/m,bind-propagation=rslave"],
        "rprivate": ["-v", f"{nested}:/m"],
    }
    found = {}
    for word, words in flags.items():
        lines = run(daemon, words, "grep ' /m ' /proc/self/mountinfo")
        found[word] = [field.partition(":")[0] for field in lines.split(" - ")[0].split()[6:]]
    assert found == {"rshared": ["shared"], "rslave": ["master"], "rprivate": []}
    (tmp_path / "private").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "private")], check=True)
    try:
        subprocess.run(["mount", "--make-private", str(tmp_path / "private")], check=True)
        for word, kind in (("rshared", "shared"), ("rslave", "shared or slave")):
            said = refused(daemon, "run", "--rm", "-v", f"{tmp_path}/private:/m:{word}", "busybox", "true")
            where = tmp_path / "private"
            assert f"path {where} is mounted on {where} but it is not a {kind} mount" in said
    finally:
        subprocess.run(["umount", str(tmp_path / "private")], check=True)


def test_tmpfs(daemon: Daemon) -> None:
    look = "grep ' /m ' /proc/self/mountinfo; stat -c %a /m"
    out = run(daemon, ["--mount", "type=tmpfs,target=/m,tmpfs-size=1m,tmpfs-mode=1770"], look)
    assert "nosuid,nodev,noexec" in out
    assert "size=1024k,mode=1770" in out
    assert out.endswith("1770\n")
    out = run(daemon, ["--tmpfs", "/m:size=2m,mode=700,exec"], look)
    assert "size=2048k,mode=700" in out
    assert "noexec" not in out
    for flag in (["--mount", "type=tmpfs,target=/m,readonly"], ["--tmpfs", "/m:ro"]):
        assert run(daemon, flag, "touch /m/x 2>/dev/null || echo no") == "no\n"


def test_a_tmpfs_covers_a_bind(daemon: Daemon, source: Path) -> None:
    flags = ["--tmpfs", "/m", "--mount", f"type=bind,source={source},target=/m"]
    assert run(daemon, flags, "ls /m") == ""


def test_a_volume_on_etc_keeps_the_files_of_the_engine(volumes: Daemon) -> None:
    """What lies deeper is mounted later; the image's files are copied up unless that is not wanted."""
    listed = run(volumes, ["--mount", "type=volume,source=full,target=/etc"], "ls /etc; cat /etc/hostname")
    assert {"passwd", "hosts", "hostname", "resolv.conf"} <= set(listed.split())
    for flags in (
        ["--mount", "type=volume,source=bare,target=/etc,volume-nocopy"],
        ["-v", "bare:/etc:nocopy"],
    ):
        assert set(run(volumes, flags, "ls /etc").split()) == {"hosts", "hostname", "resolv.conf"}


def test_copy_up_keeps_owners_modes_and_attributes(volumes: Daemon) -> None:
    script = "mkdir -p /data/d; echo x > /data/f; chown 12:34 /data/f /data/d /data; chmod 2750 /data/d; ln -s f /data/l"
    volumes.docker("run", "--name", "maker", "busybox", "sh", "-c", script)
    volumes.docker("commit", "maker", "owned")
    try:
        look = "stat -c '%n %u:%g %a' /data /data/d /data/f; readlink /data/l"
        out = volumes.docker("run", "--rm", "-v", "vol:/data", "owned", "sh", "-c", look).stdout
        assert out == "/data 12:34 755\n/data/d 12:34 2750\n/data/f 12:34 644\nf\n"
        volumes.docker("run", "--rm", "-v", "vol:/data", "owned", "rm", "/data/f")
        assert volumes.docker("run", "--rm", "-v", "vol:/data", "owned", "ls", "/data").stdout == "d\nl\n"
    finally:
        volumes.remove_containers()
        volumes.docker("rmi", "owned")


def test_what_a_mount_asks_of_its_volume(volumes: Daemon) -> None:
    words = "type=volume,source=vol,target=/m,volume-label=a=b,volume-driver=local"
    run(volumes, ["--mount", f"{words},volume-opt=type=tmpfs,volume-opt=device=tmpfs"], "true")
    told = json.loads(volumes.docker("volume", "inspect", "vol").stdout)[0]
    assert told["Labels"] == {"a": "b"}
    assert told["Options"] == {"type": "tmpfs", "device": "tmpfs"}


def test_volumes_from(volumes: Daemon, source: Path) -> None:
    flags = ["-v", f"{source}:/bound:ro", "-v", "vol:/named", "-v", "/anonymous", "--tmpfs", "/gone"]
    volumes.docker("create", "--name", "first", *flags, "busybox")
    volumes.docker("run", "--name", "all", "--volumes-from", "first", "busybox", "touch", "/named/x")
    mine, theirs = points(volumes, "first"), points(volumes, "all")
    assert set(mine) == set(theirs) == {"/bound", "/named", "/anonymous"}
    for place, mount in theirs.items():
        assert mount["Source"] == mine[place]["Source"]
        assert mount["Mode"] == ""
        assert mount["RW"] is (place != "/bound")
    assert mine["/named"]["Mode"] == "z"
    assert mine["/bound"]["Mode"] == "ro"
    done = volumes.docker(
        "run", "--rm", "--volumes-from", "first:ro", "busybox", "touch", "/named/y", check=False
    )
    assert "Read-only file system" in done.stderr
    assert "invalid mode: bad" in refused(volumes, "create", "--volumes-from", "first:bad", "busybox")
    covered = run(volumes, ["--volumes-from", "first", "--tmpfs", "/named"], "ls /named")
    assert covered == ""


def test_an_image(volumes: Daemon) -> None:
    mount = "type=image,source=busybox,target=/m"
    assert "bin" in run(volumes, ["--mount", mount], "ls /m").split()
    assert run(volumes, ["--mount", mount], "touch /m/x 2>/dev/null || echo no") == "no\n"
    part = ["--mount", f"{mount},image-subpath=etc"]
    assert run(volumes, part, "ls /m") == "group\npasswd\n"
    volumes.docker("create", "--name", "box", *part, "busybox", "cat", "/m/group")
    (told,) = volumes.inspect("box")["Mounts"]
    assert (told["Type"], told["Name"], told["RW"], told["Propagation"]) == (
        "image",
        "busybox",
        False,
        "rprivate",
    )
    (asked,) = volumes.inspect("box")["HostConfig"]["Mounts"]
    assert asked == {
        "Type": "image",
        "Source": "busybox",
        "Target": "/m",
        "ImageOptions": {"Subpath": "etc"},
    }
    for _ in range(2):
        assert volumes.docker("start", "-a", "box").stdout.startswith("root:")


def test_an_image_is_inherited(volumes: Daemon) -> None:
    mount = "type=image,source=busybox,target=/m,image-subpath=etc"
    volumes.docker("create", "--name", "first", "--mount", mount, "busybox")
    volumes.docker("create", "--name", "second", "--volumes-from", "first", "busybox", "ls", "/m")
    assert points(volumes, "second")["/m"]["Type"] == "image"
    if not isinstance(volumes, Dockerd):  # which forgets the layer, and mounts nothing
        assert volumes.docker("start", "-a", "second").stdout == "group\npasswd\n"


def test_a_part_of_an_image_that_is_not_there(daemon: Daemon) -> None:
    mount = "type=image,source=busybox,target=/m,image-subpath=nope"
    done = daemon.docker("run", "--rm", "--mount", mount, "busybox", "true", check=False)
    assert done.returncode in (125, 127)
    assert "no such file or directory" in done.stderr


def test_an_image_of_several_layers_outlives_its_name(volumes: Daemon) -> None:
    volumes.docker("run", "--name", "maker", "busybox", "sh", "-c", "echo upper > /upper; rm /etc/group")
    volumes.docker("commit", "maker", "layered")
    volumes.docker("rm", "maker")
    volumes.docker("create", "--name", "box", "--mount", "type=image,source=layered,target=/m", "busybox",
                   "sh", "-c", "cat /m/upper; ls /m/etc")  # fmt: skip
    volumes.docker("rmi", "-f", "layered")
    volumes.docker("image", "prune", "-f")
    assert volumes.docker("start", "-a", "box").stdout == "upper\npasswd\n"
