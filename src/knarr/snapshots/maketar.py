"""A tree becomes a tar stream, the same bytes for the same tree. Runs in a process of its own, as untar does.

Names in order of their bytes; pax headers for what ustar cannot hold (sub-second times, xattrs, long names); hard links to
what came before. Every file is opened below its directory's descriptor without following, so a tree that changes meanwhile,
or that its container made to deceive, gives nothing from outside. A file that shrinks while it is read is filled with zeros.
"""

import errno
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from knarr.kernel.fd import RootFd
from knarr.snapshots import header
from knarr.snapshots.errors import NoSuchPath, NotADirectory
from knarr.snapshots.header import Header
from knarr.snapshots.place import OPAQUE, is_whiteout
from knarr.snapshots.tree import Node, walk

_BUFFER = 256 << 10
_WITH_DATA = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENOTDIR})


class TarOptions(NamedTuple):
    """`name`: what the top entry is called (docker cp: the path's base name); None: its members without it.

    `follow`: if the path's last component is a symbolic link, its target (inside the root) is archived, not the link.
    `whiteouts`: the tree is an overlay's upper: write `.wh.` names for its deletions. `without`: paths below the top that
    are left out; `closed`: directories whose members are. `latest`: no time is after this one (ns).
    """

    name: str | None = None
    follow: bool = False
    whiteouts: bool = False
    without: Sequence[str] = ()
    closed: Sequence[str] = ()
    latest: int | None = None


DEFAULTS = TarOptions()


class Archived(NamedTuple):
    """`size` is the sum of the regular files' sizes, `entries` the number of members."""

    size: int
    entries: int


def maketar(out: int, root: str, path: str = "/", options: TarOptions = DEFAULTS) -> Archived:
    """Writes `path` inside directory `root` to descriptor `out`, with the end-of-archive blocks.

    Raises NoSuchPath, NotADirectory, OSError.
    """
    with RootFd(root) as descriptor:
        return _Maketar(out, options).run(descriptor, path)


class _Maketar:
    def __init__(self, out: int, options: TarOptions) -> None:
        self._out = out
        self._options = options
        self._without = frozenset(os.fsencode(path) for path in options.without)
        self._closed = frozenset(os.fsencode(path) for path in options.closed)
        self._pending = bytearray()
        self._linked: dict[tuple[int, int], bytes] = {}
        self._size = self._entries = 0

    def run(self, root: RootFd, path: str) -> Archived:
        top = _top(root, path, follow=self._options.follow)
        try:
            name = None if self._options.name is None else os.fsencode(self._options.name).strip(b"/")
            if not isinstance(top, Node):
                self._tree(top, name)
            elif name is None:
                raise NotADirectory(f"{path}: not a directory")
            else:
                self._member(top, name)
        finally:
            os.close(top.directory if isinstance(top, Node) else top)
        self._pending += header.ZEROS * 2
        self._flush(0)
        return Archived(self._size, self._entries)

    def _tree(self, top: int, name: bytes | None) -> None:
        prefix = b"" if name is None else (name or b".") + b"/"
        if name is not None:
            self._add(prefix, os.fstat(top), xattrs=_xattrs(top))
            self._opaque(top, prefix)
        for node in walk(top, self._closed):
            self._member(node, prefix + node.path)

    def _member(self, node: Node, name: bytes) -> None:
        facts = node.facts
        kind = stat.S_IFMT(facts.st_mode)
        if kind not in header.KINDS or node.path in self._without:
            return
        if self._options.whiteouts and is_whiteout(facts):
            outer, hidden = os.path.split(name)
            self._hide(os.path.join(outer, b".wh." + hidden), facts)
            return
        if kind != stat.S_IFDIR and facts.st_nlink > 1 and self._link(name, facts):
            return
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            self._opened(node, name)
        else:
            target = os.readlink(node.name, dir_fd=node.directory) if kind == stat.S_IFLNK else b""
            self._add(name, facts, link=target, xattrs=_named_xattrs(node))

    def _opened(self, node: Node, name: bytes) -> None:
        """Regular files and directories: the open one's facts count, not those of the name a moment ago."""
        try:
            fd = os.open(node.name, _WITH_DATA, dir_fd=node.directory)
        except OSError as error:
            if error.errno in _GONE:
                return
            raise
        try:
            facts = os.fstat(fd)
            if stat.S_ISDIR(facts.st_mode):
                self._add(name + b"/", facts, xattrs=_xattrs(fd))
                self._opaque(fd, name + b"/")
            elif stat.S_ISREG(facts.st_mode):
                self._add(name, facts, size=facts.st_size, xattrs=_xattrs(fd))
                self._content(fd, facts.st_size)
        finally:
            os.close(fd)

    def _opaque(self, directory: int, name: bytes) -> None:
        if self._options.whiteouts and OPAQUE in os.listxattr(directory):
            self._hide(name + b".wh..wh..opq", os.fstat(directory))

    def _hide(self, name: bytes, facts: os.stat_result) -> None:
        self._write(Header(name, header.REGULAR, 0o644, mtime=facts.st_mtime_ns))

    def _link(self, name: bytes, facts: os.stat_result) -> bool:
        """True if the inode is in the archive already, under another name."""
        identity = (facts.st_dev, facts.st_ino)
        first = self._linked.setdefault(identity, name)
        if first == name:
            return False
        self._write(_header(name, facts)._replace(kind=header.LINK, link=first))
        return True

    def _add(
        self,
        name: bytes,
        facts: os.stat_result,
        *,
        size: int = 0,
        link: bytes = b"",
        xattrs: dict[str, bytes] | None = None,
    ) -> None:
        self._size += size
        self._write(_header(name, facts)._replace(size=size, link=link, xattrs=xattrs or {}))

    def _write(self, member: Header) -> None:
        latest = self._options.latest
        if latest is not None and member.mtime > latest:
            member = member._replace(mtime=latest)
        self._entries += 1
        self._pending += header.encode(member)
        self._flush(_BUFFER)

    def _content(self, fd: int, size: int) -> None:
        """Exactly `size` bytes: the header has promised them."""
        left = size
        if left <= _BUFFER:
            while left and (chunk := os.read(fd, left)):
                self._pending += chunk
                left -= len(chunk)
        else:
            self._flush(0)
            while left and (sent := os.sendfile(self._out, fd, None, min(left, 1 << 30))):
                left -= sent
        while left:
            zeros = bytes(min(left, _BUFFER))
            self._pending += zeros
            self._flush(_BUFFER)
            left -= len(zeros)
        self._pending += header.padding(size)
        self._flush(_BUFFER)

    def _flush(self, limit: int) -> None:
        if len(self._pending) <= limit:
            return
        view = memoryview(self._pending)
        position = 0
        while position < len(view):
            position += os.write(self._out, view[position:])
        view.release()
        self._pending.clear()


def _top(root: RootFd, path: str, *, follow: bool) -> Node | int:
    """An open directory, or the node of anything else in its open directory; links on the way end inside the root."""
    followed = follow or path.endswith(("/", "/."))
    try:
        handle = root.open(path, os.O_PATH | (0 if followed else os.O_NOFOLLOW))
        try:
            facts = os.fstat(handle)
        finally:
            os.close(handle)
        if stat.S_ISDIR(facts.st_mode):
            return root.open(path, os.O_RDONLY | os.O_DIRECTORY)
        if path.endswith(("/", "/.")):
            raise NotADirectory(f"{path}: not a directory")
        where = _resolved(root, path) if follow and stat.S_ISLNK(_lstat(root, path).st_mode) else path
        directory, name = root.open_parent(where)
        return Node(directory, os.fsencode(name), b"", facts)
    except FileNotFoundError:
        raise NoSuchPath(f"{path}: no such file or directory") from None
    except NotADirectoryError:
        raise NotADirectory(f"{path}: not a directory") from None


def _lstat(root: RootFd, path: str) -> os.stat_result:
    return root.stat(path, follow=False)


def _resolved(root: RootFd, path: str) -> str:
    """Where a chain of links leads; each step is resolved inside the root."""
    for _ in range(40):
        if not stat.S_ISLNK(_lstat(root, path).st_mode):
            return path
        path = os.path.join(os.path.dirname(path), root.readlink(path))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _header(name: bytes, facts: os.stat_result) -> Header:
    kind = stat.S_IFMT(facts.st_mode)
    device = (
        (os.major(facts.st_rdev), os.minor(facts.st_rdev)) if kind in (stat.S_IFCHR, stat.S_IFBLK) else (0, 0)
    )
    return Header(
        name,
        header.KINDS[kind],
        stat.S_IMODE(facts.st_mode),
        facts.st_uid,
        facts.st_gid,
        mtime=facts.st_mtime_ns,
        device=device,
    )


def _xattrs(fd: int) -> dict[str, bytes]:
    return {key: os.getxattr(fd, key) for key in _kept(_listed(fd))}


def _named_xattrs(node: Node) -> dict[str, bytes]:
    """Of what cannot be opened: getxattr(2) has no form with a directory."""
    os.fchdir(node.directory)
    keys = _kept(_listed(node.name, follow_symlinks=False))
    return {key: os.getxattr(node.name, key, follow_symlinks=False) for key in keys}


def _listed(of: int | bytes, *, follow_symlinks: bool = True) -> list[str]:
    try:
        return os.listxattr(of, follow_symlinks=follow_symlinks)
    except OSError as error:
        if error.errno == errno.ENOTSUP:  # listxattr(2): the file system has none, as proc
            return []
        raise


def _kept(keys: list[str]) -> list[str]:
    """Overlayfs's own and the security module's labels belong to this host; file capabilities travel."""
    return [
        key
        for key in keys
        if not key.startswith(("trusted.overlay.", "user.overlay.", "system.", "security."))
        or key == "security.capability"
    ]
