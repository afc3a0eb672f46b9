"""Files into containers and out of them, as tar streams. What may block runs on a thread."""

import io
import os
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from knarr.build.dockerfile import ignore
from knarr.loop.blocking import blocking
from knarr.model.errors import Invalid

_PIECE = 256 << 10
_INLINE = 4 << 20


def _spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(_INLINE)


async def spooled(pieces: AsyncIterator[bytes]) -> IO[bytes]:
    """A stream as a file at its beginning; the caller closes it."""
    file: IO[bytes] = _spool()
    try:
        async for piece in pieces:
            await blocking(file.write, piece)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


async def content(pieces: AsyncIterator[bytes], path: str) -> bytes:
    """The one file that an archive has. Raises Invalid where it is something else."""
    with await spooled(pieces) as file:
        return await blocking(_content, file, path)


def _content(file: IO[bytes], path: str) -> bytes:
    with tarfile.open(fileobj=file, mode="r:") as tar:
        member = tar.next()
        data = tar.extractfile(member) if member is not None and member.isreg() else None
        if data is None:
            raise Invalid(f"cannot read {path}: not a regular file")
        with data:
            return data.read()


def single(name: str, data: bytes, mode: int, uid: int, gid: int) -> bytes:
    """An archive of one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.uid, member.gid = len(data), mode, uid, gid
        tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


async def packed(source: Path, name: str) -> IO[bytes]:
    """An archive of a file or directory, called `name`, of root; the caller closes it."""
    return await blocking(_packed, source, name)


def _packed(source: Path, name: str) -> IO[bytes]:
    file: IO[bytes] = _spool()
    try:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(source, arcname=name, filter=_of_root)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


async def context(directory: Path, dockerfile: str) -> IO[bytes]:
    """An archive of what a build gets of a directory; the caller closes it."""
    return await blocking(_context, directory, dockerfile)


def _context(directory: Path, dockerfile: str) -> IO[bytes]:
    own = f"{dockerfile}.dockerignore"
    ignored = own if (directory / own).is_file() else ".dockerignore"
    data = (directory / ignored).read_bytes() if (directory / ignored).is_file() else b""
    matcher, kept = ignore.Matcher(ignore.read(data)), {dockerfile, ignored}
    file: IO[bytes] = _spool()
    try:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for place, directories, names in os.walk(directory):
                base = Path(place).relative_to(directory)
                for name in sorted((*directories, *names)):
                    path = str(base / name)
                    if path in kept or not matcher.excludes(path):
                        tar.add(directory / path, arcname=path, recursive=False, filter=_of_root)
                    elif name in directories and not matcher.takes_back:
                        directories.remove(name)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


async def sent(file: IO[bytes]) -> AsyncIterator[bytes]:
    """A file's bytes from where it is; it is closed behind them."""
    with file:
        async for piece in stream(file):
            yield piece


async def stream(file: IO[bytes]) -> AsyncIterator[bytes]:
    """A file's bytes from where it is."""
    while piece := await blocking(file.read, _PIECE):
        yield piece


async def unpacked(pieces: AsyncIterator[bytes], target: Path) -> Path:
    """The archive's top entry becomes `target`, or goes into it where that is a directory; where it is now."""
    with await spooled(pieces) as file:
        return await blocking(_unpacked, file, target)


def _unpacked(file: IO[bytes], target: Path) -> Path:
    made = target
    with tarfile.open(fileobj=file, mode="r:") as tar:
        members = tar.getmembers()
        if not members:
            raise Invalid("an empty archive")
        top = members[0].name.strip("/").partition("/")[0]
        if target.is_dir():
            made = target / top
        for member in members:
            member.name = _moved(member.name, top, made.name)
            if member.islnk():
                member.linkname = _moved(member.linkname, top, made.name)
            # Owners only where they can be given: a container's ids mean nothing to another user of this host.
            tar.extract(member, made.parent, filter="tar", set_attrs=True, numeric_owner=os.geteuid() == 0)
    return made


def _moved(name: str, top: str, new: str) -> str:
    below = name.strip("/").removeprefix(top).strip("/")
    return f"{new}/{below}" if below else new
