"""Sources from elsewhere: a file by HTTP, a commit by git. Their files go to the store, as a client's do.

git is the program: it is fetched into a directory of its own that goes with the build's step.
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from knarr.build.context.entries import Entry, Index
from knarr.build.context.store import Files, Writing
from knarr.build.errors import BuildFailed
from knarr.build.operations import Source
from knarr.build.progress import Step
from knarr.kernel.fd import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, Fd, openat2
from knarr.loop.blocking import blocking
from knarr.registry.client.words import dialled

if TYPE_CHECKING:
    import aiohttp

_CHUNK = 1 << 18
_REMEMBERED = 256
_LOOKED_UP = "failed to load cache key"
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_INSIDE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
# Neither commands nor files of the host are repositories, nor submodules of one.
_CLOSED = ("-c", "protocol.ext.allow=never", "-c", "protocol.file.allow=never")
_QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "LC_ALL": "C",
}


class Remotes:
    """Those of one engine; `aside` is emptied when it opens."""

    def __init__(self, files: Files, aside: str):
        self._files = files
        self._aside = aside
        self.pins: dict[str, str] = {}

    async def http(self, source: Source, step: Step) -> Index:
        """One file, called as the graph says. Raises BuildFailed."""
        import aiohttp

        url = source.identifier
        name = source.attribute("http.filename") or url.rpartition("/")[2] or "download"
        with self._files.writing() as writing, step.task(url, "downloading") as task:
            try:
                async with (
                    aiohttp.ClientSession(auto_decompress=False, trust_env=True) as client,
                    client.get(url) as reply,
                ):
                    if reply.status >= 400:
                        raise BuildFailed(f"{_LOOKED_UP}: invalid response status {reply.status}")
                    size = await _save(reply.content, writing, task.at)
                    modified = reply.headers.get("Last-Modified", "")
            except aiohttp.ClientPayloadError as error:
                raise BuildFailed(f"{_LOOKED_UP}: unexpected EOF") from error
            except (aiohttp.ClientConnectorError, TimeoutError) as error:
                raise BuildFailed(f'{_LOOKED_UP}: Get "{url}": {dialled(error, _host(url))}') from error
            except aiohttp.ClientError as error:
                raise BuildFailed(f'{_LOOKED_UP}: Get "{url}": {error}') from error
            digest = await blocking(writing.finish)
        self._pin(source, f"sha256:{digest}")
        wanted = source.attribute("http.checksum")
        if wanted and wanted != f"sha256:{digest}":
            raise BuildFailed(f"digest mismatch sha256:{digest}: {wanted}")
        mode = int(source.attribute("http.perm") or "0", 8) or 0o600
        entry = Entry(path=name, mode=stat.S_IFREG | mode, size=size, mtime=_moment(modified), digest=digest)
        return {name: entry}

    def _pin(self, source: Source, digest: str) -> None:
        """Remembers what was found there, for those who tell where a result is from."""
        self.pins.pop(source.identifier, None)
        self.pins[source.identifier] = digest
        while len(self.pins) > _REMEMBERED:
            self.pins.pop(next(iter(self.pins)))

    async def git(self, source: Source, step: Step) -> Index:
        """The files of a commit. Raises BuildFailed with git's words."""
        remote, _, rest = source.location.partition("#")
        ref, _, below = rest.partition(":")
        remote = source.attribute("git.fullurl") or f"https://{remote}"
        place = f"{self._aside}/{secrets.token_hex(8)}"
        os.mkdir(place, 0o700)
        try:
            await _git(place, step, "init", "--quiet")
            await _git(place, step, "remote", "add", "--", "origin", remote)
            commit = await _check_out(place, ref or await _main(place, remote, step), step)
            wanted = source.attribute("git.checksum")
            if wanted and not commit.startswith(wanted):
                raise BuildFailed(f"expected checksum to match {wanted}, got {commit}")
            self._pin(source, f"sha1:{commit}")
            if source.attribute("git.keepgitdir") != "true":
                await blocking(shutil.rmtree, f"{place}/.git")
            return await blocking(self._index, place, below.strip("/"))
        finally:
            await blocking(shutil.rmtree, place, True)

    def _index(self, place: str, below: str) -> dict[str, Entry]:
        """A link on the way to `below` could lead anywhere on the host, so none is followed."""
        with Fd(os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as top:
            try:
                Fd(openat2(top.fileno(), below or ".", _DIRECTORY, 0, _INSIDE)).close()
            except OSError as error:
                why = os.strerror(error.errno or 0).lower()
                raise BuildFailed(
                    f'invalid subdir /{below}: failed to lstat "{below}": statat {below}: {why}'
                ) from None
        return {entry.path: entry for entry in self._walk(os.path.join(place, below), "")}

    def _walk(self, root: str, below: str) -> Iterator[Entry]:
        for name in sorted(os.listdir(f"{root}/{below}")):
            path = f"{below}{name}"
            full = f"{root}/{path}"
            found = os.lstat(full)
            yield Entry(
                path=path,
                mode=found.st_mode,
                size=found.st_size if stat.S_ISREG(found.st_mode) else 0,
                mtime=found.st_mtime_ns,
                link=os.readlink(full) if stat.S_ISLNK(found.st_mode) else "",
                digest=self._kept(full) if stat.S_ISREG(found.st_mode) else "",
            )
            if stat.S_ISDIR(found.st_mode):
                yield from self._walk(root, f"{path}/")

    def _kept(self, path: str) -> str:
        with open(path, "rb") as file, self._files.writing() as writing:
            while data := file.read(_CHUNK):
                writing.write(data)
            return writing.finish()


async def _save(content: "aiohttp.StreamReader", writing: Writing, counted: Callable[[int], None]) -> int:
    size = 0
    while data := await content.read(_CHUNK):
        await blocking(writing.write, data)
        size += len(data)
        counted(size)
    return size


def _moment(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 10**9
    except (ValueError, TypeError):
        return 0


async def _main(place: str, remote: str, step: Step) -> str:
    """The branch that the repository's HEAD names."""
    try:
        told = await _git(place, step, "ls-remote", "--symref", "origin", "HEAD")
    except GitFailed as error:
        raise BuildFailed(
            f"{_LOOKED_UP}: error fetching default branch for repository {remote}: {error.whole}"
        ) from error
    found = re.search(r"^ref: (\S+)\s+HEAD$", told, re.MULTILINE)
    return found[1].removeprefix("refs/heads/") if found else "HEAD"


async def _check_out(place: str, ref: str, step: Step) -> str:
    """The commit that `ref` (a branch, a tag, a commit) is."""
    if ref.startswith("-"):
        raise BuildFailed(f"{_LOOKED_UP}: invalid git ref {ref}: git would take it for an option")
    try:
        await _git(place, step, "fetch", "--quiet", "--depth=1", "origin", ref)
    except BuildFailed:
        # A server need not give single commits, and an abbreviated one must be looked for.
        await _git(place, step, "fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
        try:
            await _git(place, step, "checkout", "--quiet", "--detach", f"origin/{ref}", "--")
        except BuildFailed:
            try:
                await _git(place, step, "checkout", "--quiet", "--detach", ref, "--")
            except BuildFailed as error:
                raise BuildFailed(
                    f'{_LOOKED_UP}: repository does not contain ref {ref}, output: ""'
                ) from error
    else:
        await _git(place, step, "checkout", "--quiet", "--detach", "FETCH_HEAD")
    await _git(place, step, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
    return (await _git(place, step, "rev-parse", "HEAD")).strip()


async def _git(place: str, step: Step, *words: str) -> str:
    command = ["git", *_CLOSED, "-C", place, *words]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **_QUIET},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise BuildFailed("git is not installed on the daemon's host") from None
    try:
        out, problems = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if problems:
        step.write(2, problems)
    if process.returncode:
        raise GitFailed(words, problems.decode(errors="replace"), process.returncode)
    return out.decode()


class GitFailed(BuildFailed):
    """What git said last; `whole` is all of it, as BuildKit tells it."""

    def __init__(self, words: Sequence[str], said: str, code: int):
        last = said.strip().splitlines()[-1:]
        super().__init__(f"failed to fetch remote {' '.join(('git', *words))}: {' '.join(last)}")
        self.whole = f"git stderr:\n{said}: exit status {code}"


def _host(url: str) -> str:
    found = urlsplit(url)
    return f"{found.hostname}:{found.port or (443 if found.scheme == 'https' else 80)}"
