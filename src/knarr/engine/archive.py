"""docker cp and export: archives in and out of a container's root, running or not, through jobs of the zygote."""

import contextlib
import os
import posixpath
import zlib
from collections.abc import AsyncIterator, Callable

from knarr.engine.checks import clean
from knarr.engine.errors import NoSuchPathInContainer
from knarr.engine.live import Live
from knarr.engine.names import new_id
from knarr.engine.values import PathStat
from knarr.engine.volumemounts import VolumeMounts
from knarr.engine.world import World
from knarr.engine.zygote_jobs import Archiving, RootView, Unpacking
from knarr.kernel.files import write_all
from knarr.loop.blocking import blocking
from knarr.model.errors import Invalid
from knarr.runtime.users import find_user
from knarr.snapshots.errors import BadArchive, NoSuchPath, NotADirectory
from knarr.snapshots.maketar import TarOptions
from knarr.snapshots.untar import UntarOptions

_KERNELS = ("dev", "proc", "sys")  # a container that runs has the kernel's file systems there
_BLOCK = 1 << 20


def view(world: World, live: Live) -> RootView:
    """How a job sees the container's root."""
    if live.runs:
        return RootView(pid=live.state.pid)
    binds = tuple(
        (mount.source, mount.target, mount.subpath)
        for mount in live.extra.mounts
        if mount.source and os.path.exists(mount.source)
    )
    return RootView(mounts=world.snapshots.mounts(live.id), binds=binds)


@contextlib.asynccontextmanager
async def _seen(world: World, mounts: VolumeMounts, live: Live) -> AsyncIterator[RootView]:
    """With its volumes mounted, for one that is stopped."""
    async with mounts.held(f"copy {new_id()}", () if live.runs else live.extra.mounts):
        yield await blocking(view, world, live)


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _follows(path: str) -> bool:
    """A trailing slash or "/." means what a link points to."""
    return path.endswith(("/", "/."))


async def _exists(world: World, seen: RootView, path: str) -> bool:
    bare = _absolute(path.removesuffix(".").rstrip("/")) or "/"
    try:
        await world.zygote.archive_stat(seen, bare)
    except (NoSuchPath, NotADirectory):
        return False
    return True


def archive_name(path: str) -> str:
    """What the archive's top entry is called: as Docker does, "." for "dir/." and for the root."""
    if path.endswith("/."):
        return "."
    return posixpath.basename(path.rstrip("/")) or "."


async def stat(world: World, mounts: VolumeMounts, live: Live, path: str, called: str) -> PathStat:
    """`called` is how the caller named the container. Raises NoSuchPathInContainer."""
    async with _seen(world, mounts, live) as seen:
        return await _stat(world, seen, path, called)


async def _stat(world: World, seen: RootView, path: str, called: str) -> PathStat:
    try:
        found = await world.zygote.archive_stat(seen, _absolute(path))
    except (NoSuchPath, NotADirectory):
        if _follows(path) and await _exists(world, seen, path):
            raise Invalid(f"lstat {path}: not a directory") from None
        raise NoSuchPathInContainer(path, called) from None
    name = found.name if path.strip("/.") else "/"
    return PathStat(name, found.size, found.mode, found.mtime, found.link_target)


async def get(
    world: World, mounts: VolumeMounts, live: Live, path: str, called: str
) -> tuple[PathStat, AsyncIterator[bytes]]:
    """Raises NoSuchPathInContainer."""
    whole = clean(_absolute(path)) == "/"
    options = TarOptions(
        name=archive_name(_absolute(path)), follow=_follows(path), closed=_KERNELS if whole else ()
    )
    async with contextlib.AsyncExitStack() as stack:
        seen = await stack.enter_async_context(_seen(world, mounts, live))
        told = await _stat(world, seen, path, called)
        job = await world.zygote.archive_get(seen, _absolute(path), options)
        return told, stream(job, stack.pop_all())


async def export(world: World, live: Live) -> AsyncIterator[bytes]:
    """The root alone: of what is mounted in it there are the places."""
    if live.runs:
        seen = RootView(pid=live.state.pid, bare=True)
    else:
        seen = RootView(mounts=await blocking(world.snapshots.mounts, live.id))
    return stream(await world.zygote.archive_get(seen, "/", TarOptions()))


async def stream(job: Archiving, held: contextlib.AsyncExitStack | None = None) -> AsyncIterator[bytes]:
    """What the job writes, to its end or its error; then what was held for it is let go."""
    async with held or contextlib.AsyncExitStack():
        try:
            while data := await blocking(os.read, job.drain, _BLOCK):
                yield data
            await job.result()
        finally:
            job.close()


def check_writable(live: Live, path: str) -> None:
    """Raises Invalid in Docker's words."""
    place = f"{clean(_absolute(path))}/"
    holding = [
        mount
        for mount in live.extra.mounts
        if mount.asked_by != "tmpfs" and place.startswith(f"{mount.target}/")
    ]
    if holding and not max(holding, key=lambda mount: len(mount.target)).writable:
        raise Invalid("mounted volume is marked read-only")
    if live.spec.read_only and not holding:
        raise Invalid("container rootfs is marked read-only")


async def put(
    world: World,
    mounts: VolumeMounts,
    live: Live,
    path: str,
    called: str,
    body: AsyncIterator[bytes],
    *,
    no_overwrite_dir_non_dir: bool,
    copy_uid_gid: bool,
) -> None:
    """Raises NoSuchPathInContainer, Invalid. Files keep their owners; with `copy_uid_gid` they become the container's user's,
    if it has one."""
    options = UntarOptions(
        no_overwrite_dir_non_dir=no_overwrite_dir_non_dir,
        keep_root=True,
        directory=_absolute(path),
    )
    async with _seen(world, mounts, live) as seen:
        await _check_directory(world, seen, path, called)
        if copy_uid_gid and live.spec.user:
            options = options._replace(owner=await _owner(world, seen, live.spec.user))
        job = await world.zygote.archive_put(seen, options)
        try:
            await _feed(job, body)
        except BrokenPipeError:
            pass  # the job tells why it stopped reading
        finally:
            job.close_feed()
        try:
            await job.result()
        except BadArchive as error:
            raise told(error) from None


def told(error: BadArchive) -> Invalid:
    """In Go's words."""
    text = str(error)
    if text.startswith("unexpected end"):
        return Invalid("unexpected EOF")
    return Invalid("archive/tar: invalid tar header") if text.startswith("invalid tar header") else error


async def _check_directory(world: World, seen: RootView, path: str, called: str) -> None:
    """With its links followed: a trailing slash finds directories only."""
    try:
        await _stat(world, seen, path.rstrip("/") + "/", called)
    except (NoSuchPathInContainer, Invalid):
        await _stat(world, seen, path, called)
        raise Invalid("extraction point is not a directory") from None


async def _owner(world: World, seen: RootView, user: str) -> tuple[int, int]:
    """Whose the files become: the container's own user's. Raises Invalid."""
    texts = []
    for name in ("passwd", "group"):
        try:
            texts.append((await world.zygote.read(seen, f"/etc/{name}")).decode(errors="replace"))
        except NoSuchPath:
            texts.append("")
    try:
        found = find_user(user, (), *texts)
    except Invalid as error:
        reason = str(error).rpartition(": ")[2]
        raise Invalid(f'failed to look up user "{user}" in container: {reason}') from None
    return found.uid, found.gid


async def _feed(job: Unpacking, body: AsyncIterator[bytes]) -> None:
    decoder: Callable[[bytes], bytes] | None = None
    head = b""
    async for data in body:
        if decoder is None:
            head += data
            if len(head) < 6:
                continue
            decoder, data = _decoder(head), head
        await blocking(write_all, job.feed, _decoded(decoder, data))
    if decoder is None and head:
        await blocking(write_all, job.feed, head)


def _decoded(decoder: Callable[[bytes], bytes], data: bytes) -> bytes:
    try:
        return decoder(data)
    except (zlib.error, OSError, EOFError) as error:
        raise Invalid(f"Error processing tar file: {error}") from error


def _decoder(head: bytes) -> Callable[[bytes], bytes]:
    """By the first bytes: gzip, bzip2, xz, zstd, or none."""
    if head.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31).decompress
    if head.startswith(b"BZh"):
        import bz2

        return bz2.BZ2Decompressor().decompress
    if head.startswith(b"\xfd7zXZ\x00"):
        return _xz()
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        decompress: Callable[[bytes], bytes] = zstandard.ZstdDecompressor().decompressobj().decompress
        return decompress
    return bytes


def _xz() -> Callable[[bytes], bytes]:
    import lzma

    decompressor = lzma.LZMADecompressor()

    def decompress(data: bytes) -> bytes:
        try:
            return decompressor.decompress(data)
        except lzma.LZMAError as error:
            raise OSError(str(error)) from error

    return decompress
