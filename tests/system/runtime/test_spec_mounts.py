"""Mounts of an OCI configuration, each shown by what a process inside sees of it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from knarr.kernel import mounts as kernel
from knarr.model.errors import Invalid
from knarr.runtime import defaults
from tests.system.runtime.conftest import Runtime


class Mounted(NamedTuple):
    """A line of mountinfo: (proc_pid_mountinfo(5))."""

    options: set[str]
    tags: str
    kind: str
    super_options: set[str]


def mountinfo(text: bytes) -> dict[str, Mounted]:
    """By mount point; the last mounted one wins."""
    found = {}
    for line in text.decode().splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        kind, _, words = right.split(" ", 2)
        found[fields[4]] = Mounted(
            set(fields[5].split(",")), " ".join(fields[6:]), kind, set(words.split(","))
        )
    return found


async def seen(runtime: Runtime, *mounts: dict[str, Any], **changes: Any) -> dict[str, Mounted]:
    """The mounts of a container that is given these."""
    _, out, _ = await runtime.run("cat", "/proc/self/mountinfo", mounts=list(mounts), **changes)
    return mountinfo(out)


def bind(source: Path | str, target: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": str(source), "options": ["rbind", *options]}


def tmpfs(target: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory with a tmpfs mounted below it, which is a peer of nobody."""
    path = tmp_path / "tree"
    (path / "below").mkdir(parents=True)
    kernel.mount(str(path), str(path), None, kernel.MS_BIND)
    kernel.mount(None, str(path), None, kernel.MS_PRIVATE)
    kernel.mount("tmpfs", str(path / "below"), "tmpfs")
    (path / "below/file").write_text("deep\n")
    yield path
    kernel.umount2(str(path / "below"), kernel.MNT_DETACH)
    kernel.umount2(str(path), kernel.MNT_DETACH)


async def test_attributes_of_one_mount_and_of_all_below(runtime: Runtime, tree: Path) -> None:
    found = await seen(
        runtime,
        bind(tree, "/one", "ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"),
        bind(tree, "/all", "rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rnodiratime", "rnosymfollow"),
        bind(tree, "/strict", "rstrictatime"),
        bind(tree, "/open", "rro", "rrw", "rnoexec", "rexec"),
    )
    closed = {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"}
    assert closed <= found["/one"].options
    assert not closed & found["/one/below"].options
    assert closed <= found["/all"].options & found["/all/below"].options
    assert not {"relatime", "noatime"} & found["/strict/below"].options
    assert not {"ro", "noexec"} & (found["/open"].options | found["/open/below"].options)


async def test_the_later_word_wins_and_clears_are_effective(runtime: Runtime, tree: Path) -> None:
    kernel.mount(
        None, str(tree), None, kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_NOEXEC | kernel.MS_NOATIME
    )
    found = await seen(
        runtime,
        bind(tree, "/kept"),
        bind(tree, "/exec", "exec", "atime"),
        bind(tree, "/rw", "ro", "rw", "relatime"),
    )
    assert {"noexec", "noatime"} <= found["/kept"].options
    assert "noexec" not in found["/exec"].options
    assert (
        "noatime" in found["/exec"].options
    )  # only another access time changes it, as mount(8) and runc have it
    assert "rw" in found["/rw"].options
    assert not {"noexec", "noatime"} & found["/rw"].options  # whoever asks for anything gets only that


async def test_a_bind_that_is_not_recursive(runtime: Runtime, tree: Path) -> None:
    flat = {"destination": "/flat", "type": "bind", "source": str(tree), "options": ["bind"]}
    found = await seen(runtime, flat, bind(tree, "/deep"))
    assert "/flat/below" not in found
    assert "/deep/below" in found


async def test_flags_of_a_file_system(runtime: Runtime) -> None:
    found = await seen(
        runtime, tmpfs("/t", "sync", "dirsync", "lazytime", "silent", "iversion", "size=1m,mode=700")
    )
    assert {"sync", "dirsync", "lazytime", "size=1024k", "mode=700"} <= found["/t"].super_options
    found = await seen(runtime, tmpfs("/t", "sync", "async", "lazytime", "nolazytime", "noatime"))
    assert not {"sync", "lazytime"} & found["/t"].super_options
    assert "noatime" in found["/t"].options


async def test_a_read_only_tmpfs_and_dev_are_filled_first(runtime: Runtime) -> None:
    mounts = [
        {**mount, "options": [*mount["options"], "ro"]} if mount["destination"] == "/dev" else mount
        for mount in defaults.mounts()
    ]
    mounts += [tmpfs("/t", "ro"), tmpfs("/t/inner", "size=1m")]
    script = (
        "touch /dev/x /t/x; echo a > /t/inner/x && test -c /dev/null && grep -E ' (/dev|/t) ' /proc/mounts"
    )
    _, out, err = await runtime.run("sh", "-c", script, bundle={"mounts": mounts})
    assert err.count(b"Read-only file system") == 2
    assert all(b" ro," in line for line in out.splitlines())
    assert len(out.splitlines()) == 2


async def test_propagation(runtime: Runtime, tree: Path) -> None:
    kernel.mount(None, str(tree), None, kernel.MS_SHARED)
    words = ("shared", "slave", "private", "unbindable", "rslave", "")
    found = await seen(
        runtime, *(bind(tree, f"/{word or 'none'}", *([word] if word else [])) for word in words)
    )
    tags = {
        name: found[f"/{name}"].tags
        for name in ("shared", "slave", "private", "unbindable", "rslave", "none")
    }
    assert tags["shared"].startswith("shared:")
    assert tags["slave"].startswith("master:")
    assert tags["rslave"].startswith("master:")
    assert tags["none"].startswith("master:")
    assert tags["private"] == ""
    assert tags["unbindable"] == "unbindable"
    both = await seen(runtime, bind(tree, "/both", "slave", "shared"))
    assert both["/both"].tags.startswith("shared:")
    assert "master:" in both["/both"].tags


@pytest.mark.parametrize(
    ("word", "root", "below"),
    [
        ("shared", "shared:", ""),
        ("rshared", "shared:", "shared:"),
        ("slave", "", ""),
        ("private", "", ""),
        ("rprivate", "", ""),
        ("unbindable", "unbindable", ""),
        ("runbindable", "unbindable", "unbindable"),
    ],
)
async def test_the_propagation_of_the_root(runtime: Runtime, word: str, root: str, below: str) -> None:
    order = runtime.order("cat", "/proc/self/mountinfo")
    order["bundle"]["linux"]["rootfsPropagation"] = word
    _, out, _ = await runtime.live(order)
    found = mountinfo(out)
    assert found["/"].tags.startswith(root) if root else found["/"].tags == ""
    assert found["/proc"].tags.startswith(below) if below else found["/proc"].tags == ""


async def test_a_slave_root_hears_of_the_host(runtime: Runtime, tree: Path, image: Path) -> None:
    """And a private one does not."""
    kernel.mount(str(image), str(tree / "below"), None, kernel.MS_BIND)
    kernel.mount(None, str(tree / "below"), None, kernel.MS_SHARED)
    for word, heard in (("slave", True), ("rslave", True), ("private", False), ("shared", False)):
        order = runtime.order("sh", "-c", "until test -e /tmp/go; do sleep 0.01; done; cat /data/new")
        order["rootfs"]["mounts"] = [["bind", str(tree / "below"), ["rbind"]]]
        order["bundle"]["mounts"] += [tmpfs("/tmp")]
        order["bundle"]["linux"]["rootfsPropagation"] = word
        shim = await runtime.launch(order)
        kernel.mount("tmpfs", str(tree / "below/data"), "tmpfs")
        try:
            (tree / "below/data/new").write_text("new\n")
            Path(f"/proc/{shim.pid}/root/tmp/go").touch()
            await shim.start()
            assert ((await shim.exited).code == 0) is heard, word
        finally:
            kernel.umount2(str(tree / "below/data"), kernel.MNT_DETACH)
    kernel.umount2(str(tree / "below"), kernel.MNT_DETACH)


async def test_tmpcopyup(runtime: Runtime) -> None:
    order = runtime.order(
        "sh",
        "-c",
        "cd /full; stat -c '%n %a %u:%g %h %F' . * deep/*; cat a deep/c; readlink link; test -p fifo; echo $?; "
        "test a -ef hard; echo $?; stat -c %Y a; grep ' /full ' /proc/mounts",
    )
    full = runtime.last / "upper/full"
    (full / "deep").mkdir(parents=True)
    (full / "a").write_text("alpha\n")
    os.utime(full / "a", (5, 5))
    (full / "deep/c").write_text("gamma\n")
    (full / "deep").chmod(0o2710)
    (full / "a").chmod(0o4711)
    os.chown(full / "deep/c", 33, 34)
    (full / "link").symlink_to("/nowhere")
    os.mkfifo(full / "fifo", 0o600)
    os.link(full / "a", full / "hard")
    full.chmod(0o751)
    order["bundle"]["mounts"].append(tmpfs("/full", "tmpcopyup", "ro", "nosuid"))
    _, out, err = await runtime.live(order)
    assert err == b""
    lines = out.decode().splitlines()
    assert lines[:7] == [
        ". 751 0:0 3 directory",
        "a 4711 0:0 2 regular file",
        "deep 2710 0:0 2 directory",
        "fifo 600 0:0 1 fifo",
        "hard 4711 0:0 2 regular file",
        "link 777 0:0 1 symbolic link",
        "deep/c 644 33:34 1 regular file",
    ]
    assert lines[7:13] == ["alpha", "gamma", "/nowhere", "0", "0", "5"]
    assert " ro,nosuid" in lines[13]


async def test_the_mode_of_a_tmpfs(runtime: Runtime) -> None:
    order = runtime.order("stat", "-c", "%a", "/had", "/new/place", "/told")
    for name in ("had", "told"):
        (runtime.last / "upper" / name).mkdir()
        (runtime.last / "upper" / name).chmod(0o710)
    order["bundle"]["mounts"] += [tmpfs("/had"), tmpfs("/new/place"), tmpfs("/told", "mode=1500")]
    _, out, _ = await runtime.live(order)
    assert out == b"710\n1777\n1500\n"


async def test_remount(runtime: Runtime, tree: Path) -> None:
    again = {"destination": "/tree", "type": "bind", "options": ["bind", "remount", "ro", "nodev"]}
    smaller = {
        "destination": "/t",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["remount", "size=2m", "noexec"],
    }
    found = await seen(runtime, bind(tree, "/tree", "nosuid"), again, tmpfs("/t", "size=1m"), smaller)
    assert {"ro", "nodev"} <= found["/tree"].options
    assert "ro" not in found["/tree/below"].options
    assert "size=2048k" in found["/t"].super_options
    assert "noexec" in found["/t"].options


async def test_a_relative_destination_is_one_of_the_root(runtime: Runtime) -> None:
    order = runtime.order("sh", "-c", "grep ' /rel/ative ' /proc/mounts", explain=True)
    order["bundle"]["mounts"].append(tmpfs("rel/ative"))
    shim = await runtime.launch(order)
    assert any("relative destination path is **deprecated**" in warning for warning in shim.warnings)
    await shim.start()
    assert (await shim.exited).code == 0


async def test_links_to_places(runtime: Runtime, tmp_path: Path) -> None:
    """Also those that lead nowhere, as runc makes what they lead to."""
    (tmp_path / "file").write_text("x\n")
    order = runtime.order("sh", "-c", "cat /etc/hosts /real/conf/stack/f /gone/deep/hosts")
    upper = runtime.last / "upper"
    (upper / "real/conf").mkdir(parents=True)
    (upper / "etc").mkdir()
    (upper / "conf").symlink_to("/real/conf")
    (upper / "jump").symlink_to("/gone")
    (upper / "etc/hosts").symlink_to("/jump/deep/hosts")
    order["bundle"]["mounts"] += [bind(tmp_path, "/conf/stack"), bind(tmp_path / "file", "/etc/hosts")]
    (tmp_path / "f").write_text("y\n")
    _, out, _ = await runtime.live(order)
    assert out == b"x\ny\nx\n"


@pytest.mark.parametrize("kind", ["proc", "sysfs"])
async def test_kernel_file_systems_are_mounted_on_directories(runtime: Runtime, kind: str) -> None:
    """CVE-2019-19921, CVE-2023-27561."""
    order = runtime.order("true")
    (runtime.last / "upper/bad").mkdir()
    (runtime.last / "upper/place").symlink_to("/bad")
    order["bundle"]["mounts"].append({"destination": "/place", "type": kind, "source": kind})
    with pytest.raises(Invalid, match=f'filesystem "{kind}" must be mounted on ordinary directory'):
        await runtime.launch(order)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/proc/sys", "cannot be mounted because it is inside /proc"),
        ("/proc/../proc/self", "cannot be mounted because it is inside /proc"),
        ("/proc", "cannot be mounted because it is not of type proc"),
        ("/", "is on the top of rootfs"),
        ("/trap/sys", "cannot be mounted because it is inside /proc"),
        ("/trap", "/proc"),
    ],
)
async def test_nothing_stands_in_for_proc(runtime: Runtime, tmp_path: Path, target: str, words: str) -> None:
    """CVE-2019-16884: by whatever name."""
    for mount in (bind(tmp_path, target), tmpfs(target)):
        order = runtime.order("true")
        (runtime.last / "upper/trap").symlink_to("/proc")
        order["bundle"]["mounts"].append(mount)
        with pytest.raises(Invalid, match=words):
            await runtime.launch(order)


async def test_what_may_be_mounted_in_proc(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "uptime").write_text("1.00 1.00\n")
    _, out, _ = await runtime.run("cat", "/proc/uptime", mounts=[bind(tmp_path / "uptime", "/proc/uptime")])
    assert out == b"1.00 1.00\n"
    bound = [mount for mount in defaults.mounts() if mount["destination"] != "/proc"]
    order = runtime.order("cat", "/proc/1/comm", bundle={"mounts": [bind("/proc", "/proc"), *bound]})
    order["bundle"]["linux"]["maskedPaths"] = order["bundle"]["linux"]["readonlyPaths"] = []
    _, out, _ = await runtime.live(order)
    assert out == Path("/proc/1/comm").read_bytes()


async def test_options_of_proc(runtime: Runtime) -> None:
    mounts = [mount for mount in defaults.mounts() if mount["destination"] != "/proc"]
    proc = {
        "destination": "/proc",
        "type": "proc",
        "source": "proc",
        "options": ["hidepid=2", "subset=pid", "nosuid"],
    }
    _, out, _ = await runtime.run(
        "sh", "-c", "cat /proc/self/mounts; ls /proc", bundle={"mounts": [proc, *mounts]}
    )
    assert b"proc /proc proc rw,nosuid,relatime,hidepid=invisible,subset=pid" in out
    assert b"meminfo" not in out


async def test_a_mount_of_an_overlay_names_the_hosts_directories(runtime: Runtime, tmp_path: Path) -> None:
    for name in ("l1", "l2", "up", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "l1/a").write_text("one\n")
    (tmp_path / "l2/b").write_text("two\n")
    words = [f"lowerdir={tmp_path}/l1:{tmp_path}/l2", f"upperdir={tmp_path}/up", f"workdir={tmp_path}/work"]
    mount = {"destination": "/o", "type": "overlay", "source": "overlay", "options": words}
    _, out, _ = await runtime.run("sh", "-c", "cat /o/a /o/b; echo c > /o/c", mounts=[mount])
    assert out == b"one\ntwo\n"
    assert (tmp_path / "up/c").read_text() == "c\n"


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (bind("/etc", "/x", "size=1m"), "bind mounts cannot have any filesystem-specific options"),
        ({"destination": "/x", "source": "y"}, "mount /x has no type"),
        ({"type": "tmpfs"}, "a mount needs a destination"),
        ({"destination": "/x", "type": "proc", "options": ["tmpcopyup"]}, "tmpcopyup is an option of tmpfs"),
        (tmpfs("/x", "idmap"), "id-mapped mounts are only supported for bind-mounts"),
    ],
)
async def test_mounts_that_make_no_sense(runtime: Runtime, mount: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await runtime.launch(runtime.order("true", mounts=[mount]))


async def test_what_the_kernel_does_not_know_is_named(runtime: Runtime) -> None:
    order = runtime.order("true", mounts=[{"destination": "/x", "type": "nosuchfs", "source": "x"}])
    with pytest.raises(Exception, match=r'error mounting "x" to rootfs at "/x".*no such device'):
        await runtime.launch(order)
    with pytest.raises(Exception, match=r'error mounting "tmpfs" to rootfs at "/x".*nonsense'):
        await runtime.launch(runtime.order("true", mounts=[tmpfs("/x", "nonsense=1")]))


async def test_control_groups_with_and_without_a_namespace(runtime: Runtime) -> None:
    kinds = ("mount", "pid", "network", "ipc", "uts")
    _, with_own, _ = await runtime.run("sh", "-c", "ls /sys/fs/cgroup; cat /proc/self/cgroup")
    plain = {"namespaces": [{"type": kind} for kind in kinds]}
    _, without, _ = await runtime.run("sh", "-c", "ls /sys/fs/cgroup; cat /proc/self/cgroup", linux=plain)
    assert b":/\n" in with_own
    assert b":/knarr-test-runtime" in without
    assert with_own.partition(b"\n")[0] == without.partition(b"\n")[0]
