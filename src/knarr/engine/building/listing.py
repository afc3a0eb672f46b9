"""The files of a tree as an index: what a copy from a stage takes is named by its contents, too. Blocking.

The tree is read as an archive that a child of the zygote writes from inside it.
"""

import hashlib
import os
import posixpath
import stat

from msgspec.structs import replace

from knarr.build.context.entries import Entry
from knarr.model.patterns import is_pattern
from knarr.snapshots import header
from knarr.snapshots.header import Header
from knarr.snapshots.source import Source


def plain_part(path: str) -> str:
    """The directory above the first wildcard, or the whole path without one: "" is the root."""
    parts: list[str] = []
    for part in posixpath.normpath(f"/{path}").strip("/").split("/"):
        if is_pattern(part):
            return "/".join(parts)
        parts.append(part)
    return "/".join(parts)


def list_tree(drain: int, top: str) -> dict[str, Entry]:
    """The entries of an archive of `top`, whose members are called `./…`, and the directories above it."""
    source = Source(drain)
    found = {above: Entry(path=above, mode=stat.S_IFDIR | 0o755) for above in _above(top)}
    for member in source.members():
        name = os.fsdecode(member.name).rstrip("/")
        path = posixpath.normpath(f"{top}/{name}").strip("/")
        found[path] = _entry(path, member, source, found, top)
    found.pop("", None)
    found.pop(".", None)
    return found


def first_file(drain: int) -> bytes | None:
    """The first regular file of an archive. Blocking."""
    source = Source(drain)
    found = None
    for member in source.members():
        if member.kind == header.REGULAR and found is None:
            found = b"".join(bytes(piece) for piece in source.pieces())
    return found


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _entry(path: str, member: Header, source: Source, found: dict[str, Entry], top: str) -> Entry:
    if member.kind == header.LINK:
        first = found[posixpath.normpath(f"{top}/{os.fsdecode(member.link)}").strip("/")]
        return replace(first, path=path)
    kind = header.FORMATS[member.kind]
    return Entry(
        path=path,
        mode=kind | member.mode,
        size=member.size,
        mtime=member.mtime,
        uid=member.uid,
        gid=member.gid,
        link=os.fsdecode(member.link) if kind == stat.S_IFLNK else "",
        digest=_digest(source) if kind == stat.S_IFREG else "",
        device=member.device,
        xattrs=member.xattrs,
    )


def _digest(source: Source) -> str:
    total = hashlib.sha256()
    for piece in source.pieces():
        total.update(piece)
    return total.hexdigest()
