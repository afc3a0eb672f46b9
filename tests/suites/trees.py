"""Trees for the tests of archives: described as values, made on disk, read back as values."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from knarr.kernel import mounts as kernel_mounts
from knarr.model.mount import Mount
from knarr.runtime.acts_root import make_root

NAMES = st.one_of(
    st.sampled_from(
        [
            b"a",
            b"b",
            b"etc",
            b"lib",
            b"x" * 120,
            b"y" * 255,
            "größe".encode(),
            b"\xff\xfe",
            b"a b",
            b"-n",
            b"new\nline",
        ]
    ),
    st.binary(min_size=1, max_size=20)
    .map(lambda raw: raw.translate(None, b"/\0") or b"z")
    .filter(lambda raw: raw not in (b".", b"..")),
)
TIMES = st.one_of(
    st.integers(0, 2**32), st.integers(1, 2**32).map(lambda whole: whole * 10**9), st.integers(0, 4 * 10**18)
)
OWNERS = st.sampled_from([(0, 0), (1000, 1000), (33, 0), (65534, 65534), (3_000_000, 2**31)])
MODES = st.sampled_from([0o644, 0o755, 0o600, 0o400, 0o4755, 0o2711, 0o1777, 0o7777, 0])
XATTRS = st.dictionaries(
    st.sampled_from(["user.note", "user.ü", "trusted.k"]), st.binary(max_size=40), max_size=2
)

Tree = dict[bytes, Any]
_attributes = {"mode": MODES, "owner": OWNERS, "mtime": TIMES}
_leaf = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("file"), "data": st.binary(max_size=1500), "xattrs": XATTRS, **_attributes}
    ),
    st.fixed_dictionaries(
        {"kind": st.just("file"), "data": st.integers(1, 400_000).map(bytes), "xattrs": XATTRS, **_attributes}
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("symlink"),
            "target": st.sampled_from([b"a", b"/etc/passwd", b"../" * 60 + b"x", b"\xff"]),
            **_attributes,
        }
    ),
    st.fixed_dictionaries({"kind": st.just("fifo"), **_attributes}),
    st.fixed_dictionaries(
        {
            "kind": st.just("char"),
            "device": st.tuples(st.integers(1, 4095), st.integers(0, 2**20 - 1)),
            **_attributes,
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("block"),
            "device": st.tuples(st.integers(0, 255), st.integers(0, 255)),
            **_attributes,
        }
    ),
    st.fixed_dictionaries({"kind": st.just("link"), "to": st.integers(0, 20)}),
)
_directory = st.recursive(
    st.fixed_dictionaries(
        {"kind": st.just("directory"), "members": st.just({}), "xattrs": XATTRS, **_attributes}
    ),
    lambda inner: st.fixed_dictionaries(
        {
            "kind": st.just("directory"),
            "members": st.dictionaries(NAMES, st.one_of(_leaf, inner), max_size=5),
            "xattrs": XATTRS,
            **_attributes,
        }
    ),
    max_leaves=12,
)
TREES = st.dictionaries(NAMES, st.one_of(_leaf, _directory), max_size=6)


def make(tree: Tree, where: Path) -> None:
    """The described tree in the empty directory `where`."""
    _make(tree, os.fsencode(where), [])


def _make(members: Tree, where: bytes, files: list[bytes]) -> None:
    for name, node in members.items():
        path = where + b"/" + name
        kind = node["kind"]
        if kind == "link":
            if files:
                os.link(files[node["to"] % len(files)], path, follow_symlinks=False)
            continue
        if kind == "directory":
            os.mkdir(path)
            _make(node["members"], path, files)
        elif kind == "file":
            Path(os.fsdecode(path)).write_bytes(node["data"])
        elif kind == "symlink":
            os.symlink(node["target"], path)
        else:
            bits = {"fifo": stat.S_IFIFO, "char": stat.S_IFCHR, "block": stat.S_IFBLK}[kind]
            os.mknod(path, bits, os.makedev(*node.get("device", (0, 0))))
        if kind != "directory":
            files.append(path)
        _dress(path, node)


def _dress(path: bytes, node: dict[str, Any]) -> None:
    os.chown(path, *node["owner"], follow_symlinks=False)
    if node["kind"] != "symlink":
        os.chmod(path, node["mode"])
    for key, value in node.get("xattrs", {}).items():
        os.setxattr(path, key, value)
    os.utime(path, ns=(node["mtime"], node["mtime"]), follow_symlinks=False)


def read(where: Path | str) -> dict[bytes, tuple[Any, ...]]:
    """Every path below `where` with everything that an archive carries; links by the first path of their inode."""
    found: dict[bytes, tuple[Any, ...]] = {}
    inodes: dict[int, bytes] = {}
    top = os.fsencode(where)
    for outer, directories, files in os.walk(top):
        directories.sort()
        for name in sorted(directories + files):
            path = os.path.join(outer, name)
            facts = os.lstat(path)
            short = path[len(top) + 1 :]
            first = short if stat.S_ISDIR(facts.st_mode) else inodes.setdefault(facts.st_ino, short)
            found[short] = (
                stat.S_IFMT(facts.st_mode),
                stat.S_IMODE(facts.st_mode),
                facts.st_uid,
                facts.st_gid,
                facts.st_mtime_ns,
                facts.st_rdev,
                _content(path, facts),
                _xattrs(path),
                first,
            )
    return found


def _content(path: bytes, facts: os.stat_result) -> bytes:
    if stat.S_ISREG(facts.st_mode):
        return Path(os.fsdecode(path)).read_bytes()
    return os.readlink(path) if stat.S_ISLNK(facts.st_mode) else b""


def _xattrs(path: bytes) -> dict[str, bytes]:
    keys = os.listxattr(path, follow_symlinks=False)
    return {key: os.getxattr(path, key, follow_symlinks=False) for key in keys if key != "security.selinux"}


@contextmanager
def look(mounts: tuple[Mount, ...]) -> Iterator[Path]:
    """The snapshot's root: its one mount made, but attached nowhere."""
    (mount,) = mounts
    fd = make_root(mount.type, mount.source, mount.options)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


@contextmanager
def attached(fstype: str, parameters: list[tuple[str, str | None]]) -> Iterator[Path]:
    """A new filesystem that only this descriptor holds: it is gone when the block ends."""
    fd = kernel_mounts.new_mount(fstype, fstype, parameters)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
