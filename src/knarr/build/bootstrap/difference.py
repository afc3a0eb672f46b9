"""The layer that turns one root into another, both given as tars: what is new or changed, and whiteouts for what is gone.

Members are copied as they are, headers included, so xattrs and times survive. A hard link's target and the directories
above every member come along: a layer must stand by itself.
"""

import hashlib
import posixpath
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from knarr.build.bootstrap.recipe import File

_BLOCK = 512
_CHUNK = 1 << 20
_END = bytes(2 * _BLOCK)


class _Member(NamedTuple):
    """Where a member's bytes are, and what they are."""

    start: int
    length: int
    hash: bytes
    link: str


def difference(base: Path, full: Path, files: Sequence[File], moment: int, target: Path) -> None:
    """Writes the layer to `target`; `files` are added over it, dated `moment` (seconds)."""
    before, after = _members(base), _members(full)
    own = {_clean(file.path) for file in files}
    chosen = {
        name for name, member in after.items() if name not in own and _differs(before.get(name), member)
    }
    chosen |= {member.link for name in chosen if (member := after[name]).link}
    gone = _topmost({name for name in before if name not in after and name not in own})
    for name in [*chosen, *gone, *own]:
        chosen.update(parent for parent in _parents(name) if parent in after)
    with full.open("rb") as source, target.open("wb") as sink:
        for name, member in after.items():
            if name in chosen:
                _copy(source, sink, member)
        for name in sorted(gone):
            head, tail = posixpath.split(name)
            sink.write(_header(posixpath.join(head, f".wh.{tail}"), 0, 0o644, moment))
        for file in sorted(files, key=lambda file: file.path):
            data = file.text.encode()
            sink.write(_header(_clean(file.path), len(data), file.mode, moment))
            sink.write(data + bytes(-len(data) % _BLOCK))
        sink.write(_END)


def _differs(before: _Member | None, after: _Member) -> bool:
    return before is None or before.hash != after.hash


def _clean(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _topmost(names: set[str]) -> set[str]:
    return {name for name in names if not any(parent in names for parent in _parents(name))}


def _members(path: Path) -> dict[str, _Member]:
    found = {}
    with path.open("rb") as raw, tarfile.open(path, "r:") as tar:
        for info in tar:
            data = info.size if info.isreg() else 0
            end = info.offset_data + data + (-data % _BLOCK)
            found[_clean(info.name)] = _Member(
                info.offset,
                end - info.offset,
                _hash(raw, info.offset, end - info.offset),
                _clean(info.linkname) if info.islnk() else "",
            )
    found.pop("", None)
    return found


def _hash(raw: BinaryIO, start: int, length: int) -> bytes:
    digest = hashlib.sha256()
    raw.seek(start)
    while length:
        data = raw.read(min(_CHUNK, length))
        digest.update(data)
        length -= len(data)
    return digest.digest()


def _copy(source: BinaryIO, sink: BinaryIO, member: _Member) -> None:
    source.seek(member.start)
    left = member.length
    while left:
        data = source.read(min(_CHUNK, left))
        sink.write(data)
        left -= len(data)


def _header(name: str, size: int, mode: int, moment: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, mode, moment
    return info.tobuf(tarfile.GNU_FORMAT)
