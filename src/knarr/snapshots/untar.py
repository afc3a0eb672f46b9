"""A tar stream becomes a tree. Runs in a process of its own: it sets the umask and may change the working directory.

Standard library, kernel and wire only. Memory does not grow with the archive. Every path is resolved under the root's
descriptor (openat2 RESOLVE_IN_ROOT) and every last component is made without following, so no archive reaches outside,
chroot or not. Whiteouts become overlayfs's own form: a 0:0 character device, and trusted.overlay.opaque on a directory.
"""

import errno
import os
import stat
from typing import NamedTuple

from knarr.kernel.fd import RootFd
from knarr.model.modes import changed
from knarr.snapshots import header
from knarr.snapshots.errors import BadArchive
from knarr.snapshots.header import Header
from knarr.snapshots.place import Attributes, Place
from knarr.snapshots.source import Source

_HIDE = b".wh."
_HIDE_ALL = b".wh..wh..opq"
_AUFS = b".wh..wh."
_NODES = {header.CHAR: stat.S_IFCHR, header.DEVICE: stat.S_IFBLK, header.FIFO: stat.S_IFIFO}
_FILES = frozenset({header.REGULAR, header.CONTIGUOUS})
_IGNORED = frozenset({header.GLOBAL, header.LABEL})
# What the archive's own names and links can cause; anything else is the disk's or the machine's.
_ARCHIVE_FAULTS = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EINVAL,
        errno.EXDEV,
        errno.EMLINK,
        errno.E2BIG,
        errno.ERANGE,
    }
)


class UntarOptions(NamedTuple):
    """`whiteouts`: the stream is an image layer, `.wh.` names delete. `owner`: every file belongs to this (uid, gid).

    `no_overwrite_dir_non_dir`: refuse to replace a directory by something else, and the reverse. `keep_root`: the
    archive's own top directory (`./`) leaves the mode, owner and times of the target alone. `directory` is where in the
    root the archive's names begin (docker cp's target). `mode`: of every file and directory, instead of the archive's;
    `mode_text`: what chmod(1) would change in it.
    `name`: the archive's one file is called so. `enclosed`: links of the archive, and of what is there, lead nowhere out of
    `directory`, as if it were the root.
    """

    whiteouts: bool = False
    owner: tuple[int, int] | None = None
    no_overwrite_dir_non_dir: bool = False
    keep_root: bool = False
    directory: str = "/"
    mode: int | None = None
    mode_text: str = ""
    name: str | None = None
    enclosed: bool = False


DEFAULTS = UntarOptions()


class Unpacked(NamedTuple):
    """`size` is the sum of the regular files' sizes, `entries` the number of members."""

    size: int
    entries: int


def untar(stream: int, root: str, options: UntarOptions = DEFAULTS) -> Unpacked:
    """Reads descriptor `stream` to its end and makes the tree under directory `root`.

    Raises BadArchive for a stream that is malformed or hostile, NoSuchPath or NotADirectory for `options.directory`,
    OSError where the disk fails (ENOSPC). What was made until then stays: the caller discards the staging directory.
    """
    umask = os.umask(0)
    try:
        with RootFd(root) as descriptor:
            if not options.enclosed:
                return _Untar(stream, descriptor, options).run()
            inner = descriptor.open(options.directory, os.O_PATH | os.O_DIRECTORY)
            with RootFd(options.directory, inner) as below:
                return _Untar(stream, below, options._replace(directory="/")).run()
    finally:
        os.umask(umask)


class _Untar:
    def __init__(self, stream: int, root: RootFd, options: UntarOptions) -> None:
        self._source = Source(stream)
        self._options = options
        self._place = Place(
            root,
            options.directory,
            strict=options.no_overwrite_dir_non_dir,
            whiteouts=options.whiteouts,
            through=options.enclosed,
        )

    def run(self) -> Unpacked:
        size = entries = 0
        try:
            for member in self._source.members():
                self._one(member)
                size += member.size
                entries += 1
        finally:
            self._place.settle()
        return Unpacked(size, entries)

    def _one(self, member: Header) -> None:
        try:
            self._extract(member)
        except OSError as error:
            if error.errno in _ARCHIVE_FAULTS and member.kind == header.LINK:
                names = (os.fsdecode(cleaned(name)) for name in (member.link, member.name))
                raise BadArchive(f"linkat {' '.join(names)}: {(error.strerror or '').lower()}") from error
            if error.errno in _ARCHIVE_FAULTS:
                raise BadArchive(f"cannot extract {_shown(member.name)}: {error.strerror}") from error
            raise
        except (ValueError, OverflowError) as error:
            raise BadArchive(f"cannot extract {_shown(member.name)}: {error}") from error

    def _extract(self, member: Header) -> None:
        kind = member.kind
        if kind in _IGNORED:
            return
        path = cleaned(member.name)
        if self._options.name is not None:
            path = os.fsencode(self._options.name)
        if self._options.whiteouts and self._whiteout(path):
            return
        wanted = self._attributes(member)
        if kind == header.DIRECTORY or (kind in _FILES and member.name.endswith(b"/")):
            if path or not self._options.keep_root:
                self._place.directory(path, wanted)
        elif not path:
            raise BadArchive(f"archive member {_shown(member.name)} has no name and is not a directory")
        elif kind in _FILES:
            self._file(path, wanted)
        elif kind == header.SYMLINK:
            self._place.symlink(path, member.link, wanted)
        elif kind == header.LINK:
            self._place.link(path, cleaned(member.link))
        elif kind in _NODES:
            self._place.node(path, _NODES[kind], member.device, wanted)
        else:
            raise BadArchive(f"archive member {_shown(member.name)} is of the unknown type {kind!r}")

    def _file(self, path: bytes, wanted: Attributes) -> None:
        fd = self._place.file(path, wanted.mode)
        try:
            self._source.pour(fd)
            self._place.finish(path, fd, wanted)
        finally:
            os.close(fd)

    def _attributes(self, member: Header) -> Attributes:
        uid, gid = self._options.owner or (member.uid, member.gid)
        atime = member.mtime if member.atime is None else member.atime
        mode = member.mode if self._options.mode is None else self._options.mode
        if self._options.mode_text:
            mode = changed(self._options.mode_text, mode, directory=member.kind == header.DIRECTORY)
        return Attributes(mode, uid, gid, member.mtime, atime, member.xattrs)

    def _whiteout(self, path: bytes) -> bool:
        """True if the member was one (OCI image spec, layer.md, "Whiteouts"); aufs's own files are dropped."""
        outer, name = os.path.split(path)
        if not name.startswith(_HIDE):
            return False
        if name == _HIDE_ALL:
            self._place.opaque(outer)
        elif not name.startswith(_AUFS):
            hidden = name[len(_HIDE) :]
            if hidden in (b"", b".", b".."):
                raise BadArchive(f"archive member {_shown(path)} deletes no name")
            self._place.whiteout(os.path.join(outer, hidden))
        return True


def cleaned(name: bytes) -> bytes:
    """The name without empty and "." parts and leading "/". Raises BadArchive for ".." and NUL."""
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise BadArchive(f"archive member {_shown(name)} has '..' in its name")
    if b"\0" in name:
        raise BadArchive(f"archive member {_shown(name)} has a zero byte in its name")
    return b"/".join(parts)


def _shown(name: bytes) -> str:
    """A name for a message: printable, and not longer than a line."""
    text = name[:200].decode("utf-8", "backslashreplace")
    return repr(text + ("…" if len(name) > 200 else ""))
