"""The acts of a file operation on one writable tree, through children of the zygote that see nothing but the tree.

A copy is an archive on its way: of a client's files written here, of another tree by a child that reads it, pipe to pipe.
"""

import re
from binascii import b2a_base64
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from knarr.build.bench import Given
from knarr.build.context.entries import Index
from knarr.build.context.select import Match, below, select
from knarr.build.context.store import Files
from knarr.build.errors import BuildFailed
from knarr.build.operations import (
    KEEP_MODE,
    NO_TIME,
    NOTHING,
    Act,
    Copy,
    MakeDirectory,
    MakeFile,
    Owner,
    Remove,
    Symlink,
)
from knarr.build.tree import Tree
from knarr.engine.building.archives import in_gos_words, inflate, is_archive, write_archive
from knarr.engine.building.listing import list_tree, plain_part
from knarr.engine.images.errors import BadImage
from knarr.engine.images.unpacking import widen
from knarr.engine.zygote import Zygote
from knarr.engine.zygote_jobs import RootView
from knarr.loop.blocking import blocking
from knarr.model.errors import Invalid
from knarr.snapshots.errors import BadArchive, NoSuchPath, NotADirectory
from knarr.snapshots.maketar import TarOptions
from knarr.snapshots.untar import UntarOptions

Opened = Callable[[Tree], AbstractAsyncContextManager[RootView]]


class Actor:
    """Acts on what `view` shows; `opened` shows other trees."""

    def __init__(self, zygote: Zygote, files: Files, view: RootView, opened: Opened):
        self._zygote = zygote
        self._files = files
        self._view = view
        self._opened = opened

    async def do(self, act: Act, given: Given | None) -> None:
        """One act; `given` is what a copy reads. Raises BuildFailed."""
        try:
            await self._do(act, given)
        except (NoSuchPath, NotADirectory, Invalid) as error:
            raise BuildFailed(str(error)) from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise BuildFailed(
                f"open {getattr(act, 'path', None) or getattr(act, 'dest', '')}: {reason}"
            ) from error

    async def _do(self, act: Act, given: Given | None) -> None:
        match act:
            case MakeDirectory():
                facts = {
                    "path": act.path,
                    "mode": act.mode,
                    "parents": act.parents,
                    "owner": await self._owner(act.owner),
                    "mtime": _time(act.timestamp),
                }
                await self._zygote.file_act(self._view, "mkdir", facts)
            case MakeFile():
                facts = {
                    "path": act.path,
                    "mode": act.mode,
                    "data": b2a_base64(act.data, newline=False).decode(),
                    "owner": await self._owner(act.owner),
                    "mtime": _time(act.timestamp),
                }
                await self._zygote.file_act(self._view, "mkfile", facts)
            case Symlink():
                facts = {
                    "target": act.target,
                    "path": act.path,
                    "owner": await self._owner(act.owner),
                    "mtime": _time(act.timestamp),
                }
                await self._zygote.file_act(self._view, "symlink", facts)
            case Remove():
                facts = {"path": act.path, "missing": act.allow_missing, "wildcard": act.wildcard}
                await self._zygote.file_act(self._view, "rm", facts)
            case Copy():
                if given is None:
                    raise BuildFailed(f"lstat {act.src}: no such file or directory")
                await self._copy(act, given)

    async def _owner(self, owner: Owner | None) -> tuple[int, int]:
        """Numbers for names, by the tree's own files."""
        if owner is None:
            return 0, 0
        for who in owner:
            if who is not None and who.name and who.input == NOTHING:
                raise BuildFailed(f"invalid user index: {NOTHING}")
        uid = gid = 0
        if owner.user is not None:
            uid = gid = owner.user.id
            if owner.user.name:
                uid, gid = _numbers(await self._read("/etc/passwd"), owner.user.name, (2, 3)) or (0, 0)
        if owner.group is not None:
            found: tuple[int, ...] = (owner.group.id,)
            if owner.group.name:
                found = _numbers(await self._read("/etc/group"), owner.group.name, (2,)) or (gid,)
            gid = found[0]
        return uid, gid

    async def _read(self, path: str) -> str:
        try:
            return (await self._zygote.read(self._view, path)).decode(errors="replace")
        except (NoSuchPath, OSError):
            return ""

    async def _copy(self, act: Copy, given: Given) -> None:
        owner = await self._owner(act.owner) if act.owner is not None else None
        if isinstance(given, Tree):
            async with self._opened(given) as source:
                top = plain_part(act.src)
                listed = await self._listing(source, top)
                for match in self._matches(act, listed):
                    place = await self._place(act, match, owner)
                    await self._from_tree(act, match, listed, source, place, owner)
            return
        for match in self._matches(act, given):
            if act.unpack and await self._unpacked(act, match, owner):
                continue
            place = await self._place(act, match, owner)
            feeding = await self._zygote.archive_put(self._view, self._options(act, match, place, owner))
            widen(feeding.feed)
            try:
                await blocking(write_archive, feeding.feed, self._files, match)
            except BrokenPipeError:
                pass  # the job tells why it stopped reading
            finally:
                feeding.close_feed()
            await feeding.result()

    async def _unpacked(self, act: Copy, match: Match, owner: tuple[int, int] | None) -> bool:
        """ADD of an archive: its members, in the destination; False for any other file."""
        if match.entry is None or not match.entry.is_regular:
            return False
        digest = match.entry.digest
        if not await blocking(is_archive, self._files, digest):
            return False
        facts = {"path": act.dest, "mode": 0o755, "parents": True, "owner": owner or (0, 0), "mtime": None}
        await self._zygote.file_act(self._view, "mkdir", facts)
        options = UntarOptions(owner=owner, keep_root=True, directory=act.dest, enclosed=True)
        feeding = await self._zygote.archive_put(self._view, options)
        try:
            try:
                await blocking(inflate, await blocking(self._files.opened, digest), feeding.feed)
            except BrokenPipeError:
                pass  # the job tells why it stopped reading
            finally:
                feeding.close_feed()
            await feeding.result()
        except (BadArchive, BadImage) as error:
            raise BuildFailed(in_gos_words(str(error))) from error
        return True

    async def _listing(self, source: RootView, top: str) -> Index:
        job = await self._zygote.archive_get(source, f"/{top}", TarOptions(name=".", follow=True))
        try:
            entries = await blocking(list_tree, job.drain, top)
            await job.result()
        finally:
            job.close()
        return entries

    def _matches(self, act: Copy, index: Given) -> list[Match]:
        assert not isinstance(index, Tree)
        return select(index, act)

    async def _place(self, act: Copy, match: Match, owner: tuple[int, int] | None) -> dict[str, object]:
        """Where the match ends; directories on the way are made."""
        return await self._zygote.file_act(
            self._view,
            "place",
            {
                "dest": act.dest,
                "name": match.name,
                "tree": match.is_dir,
                "contents": act.contents_only,
                "mode": 0o755 if _mode(act) is None else act.mode & 0o777,
                "owner": owner or (0, 0),
                "mtime": _time(act.timestamp),
            },
        )

    def _options(
        self, act: Copy, match: Match, place: dict[str, object], owner: tuple[int, int] | None
    ) -> UntarOptions:
        return UntarOptions(
            owner=owner,
            mode=_mode(act),
            mode_text=act.mode_text,
            keep_root=True,
            no_overwrite_dir_non_dir=not act.replace,
            directory=str(place["directory"]),
            name=None if match.is_dir else str(place["name"]),
        )

    async def _from_tree(
        self,
        act: Copy,
        match: Match,
        listed: Index,
        source: RootView,
        place: dict[str, object],
        owner: tuple[int, int] | None,
    ) -> None:
        kept = {path for path, _ in match.members}
        left_out = [path for path, _ in below(listed, match.path) if path not in kept] if match.is_dir else []
        name = "." if match.is_dir else match.name
        options = TarOptions(name=name, follow=act.follow_symlink, without=left_out)
        job = await self._zygote.archive_get(source, f"/{match.path}", options)
        try:
            putting = await self._zygote.archive_copy(
                job, self._view, self._options(act, match, place, owner)
            )
            job.give_away()
            await putting.result()
            await job.result()
        finally:
            job.close()


def _mode(act: Copy) -> int | None:
    """The mode that every file gets; None for its own, or one that is changed by a symbolic mode."""
    return None if act.mode == KEEP_MODE or act.mode_text else act.mode


def _numbers(text: str, name: str, columns: tuple[int, ...]) -> tuple[int, ...] | None:
    """A name's line in passwd(5) or group(5); None for a name that nobody has. What is no number there is 0."""
    for line in text.splitlines():
        cells = line.strip().split(":")
        if cells[0] == name:
            return tuple(_number(cells[at]) if at < len(cells) else 0 for at in columns)
    return None


def _number(cell: str) -> int:
    return int(cell) if re.fullmatch(r"[+-]?[0-9]+", cell) else 0


def _time(ns: int) -> int | None:
    return None if ns == NO_TIME else ns
