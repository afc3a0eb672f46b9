"""`knarr cp` and `knarr export`: files between a container and here, as tar streams."""

import base64
import contextlib
import io
import json
import os
import posixpath
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from knarr.api.client.http import Answer, ApiError, Http
from knarr.cli.common import Failed
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.imagefiles import write_out
from knarr.cli.units import human_size

CP = Verb(
    "cp",
    "Copy files/folders between a container and the local filesystem",
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-   or   [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    (
        Flag("archive", "a", "bool", "Archive mode (copy all uid/gid information)"),
        Flag("follow-link", "L", "bool", "Always follow symbol link in SRC_PATH"),
        Flag("quiet", "q", "bool", "Suppress progress output during copy"),
    ),
    least=2,
    most=2,
)
EXPORT = Verb(
    "export",
    "Export a container's filesystem as a tar archive",
    "[OPTIONS] CONTAINER",
    (Flag("output", "o", "string", "Write to a file, instead of STDOUT"),),
    least=1,
    most=1,
)


def _split(word: str) -> tuple[str, str]:
    """(container, path); "" for a path of this host."""
    if word.startswith(("/", ".")) or ":" not in word:
        return "", word
    container, _, path = word.partition(":")
    return container, path


def copy(http: Http, options: Options) -> int:
    """In either direction."""
    (source, source_path), (target, target_path) = map(_split, options.args)
    if source and target:
        raise Failed("copying between containers is not supported", 1)
    if source:
        return _out(http, source, source_path, target_path, options)
    if target:
        return _in(http, source_path, target, target_path, options)
    raise Failed("must specify at least one container source", 1)


def _stat(http: Http, container: str, path: str) -> dict[str, Any] | None:
    try:
        with http.request("HEAD", f"/containers/{container}/archive", {"path": path}) as answer:
            value: dict[str, Any] = json.loads(
                base64.b64decode(answer.headers["x-docker-container-path-stat"])
            )
            return value
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _is_directory(stat: dict[str, Any]) -> bool:
    return bool(stat["mode"] & 1 << 31)


def _out(http: Http, container: str, path: str, target: str, options: Options) -> int:
    if options.follow_link:
        stat = _stat(http, container, path)
        if stat and stat["linkTarget"]:
            path = posixpath.join(posixpath.dirname(path), stat["linkTarget"])
    try:
        answer = http.request("GET", f"/containers/{container}/archive", {"path": path})
    except ApiError as error:
        if error.status == 404 and "No such container" not in str(error):
            raise Failed(
                f"Error response from daemon: Could not find the file {path} in container {container}", 1
            ) from None
        raise
    with answer:
        if target == "-":
            for piece in answer.pieces():
                sys.stdout.buffer.write(piece)
            sys.stdout.flush()
            return 0
        size = _extract(answer, path, target)
    if not options.quiet and sys.stderr.isatty():
        print(f"Successfully copied {human_size(size)} to {target}", file=sys.stderr)
    return 0


def _extract(answer: Answer, path: str, target: str) -> int:
    """The archive's top entry becomes `target`, or goes into it where that is a directory (docker cp's rules)."""
    contents = path.endswith("/.") or path == "."
    if os.path.isdir(target):
        directory, name = target, ""
    elif target.endswith("/"):
        raise Failed(f"invalid output path: directory {target!r} does not exist", 1)
    else:
        directory, name = os.path.dirname(target) or ".", os.path.basename(target)
        if not os.path.isdir(directory):
            raise Failed(f'invalid output path: directory "{directory}" does not exist', 1)
    if contents and name:
        os.mkdir(target)
        directory, name = target, ""
    size = 0
    reader = io.BufferedReader(_Pieces(answer.pieces()), 1 << 16)
    with tarfile.open(fileobj=reader, mode="r|") as tar:
        for member in tar:
            _, _, below = member.name.strip("/").partition("/")
            if contents:
                member.name = below or "."
            elif name:
                member.name = f"{name}/{below}" if below else name
            if member.islnk() and (name or contents):
                _, _, linked = member.linkname.partition("/")
                member.linkname = linked if contents else f"{name}/{linked}"
            size += member.size
            tar.extract(member, directory, filter="tar", set_attrs=True, numeric_owner=True)
    return size


class _Pieces(io.RawIOBase):
    """An iterator of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]):
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _in(http: Http, path: str, container: str, target: str, options: Options) -> int:
    stat = _stat(http, container, target)
    if stat and stat["linkTarget"]:
        target = posixpath.join(posixpath.dirname(target.rstrip("/")), stat["linkTarget"])
        stat = _stat(http, container, target)
    query: dict[str, Any] = {"noOverwriteDirNonDir": True, "copyUIDGID": options.archive or None}
    if path == "-":
        if stat is None or not _is_directory(stat):
            raise Failed(f'destination "{container}:{target}" must be a directory', 1)
        with os.fdopen(os.dup(0), "rb") as stream:
            http.request(
                "PUT", f"/containers/{container}/archive", {**query, "path": target}, stream=stream
            ).close()
        return 0
    if not os.path.lexists(path):
        raise Failed(f"lstat {path}: no such file or directory", 1)
    directory, name = _place(path, container, target, stat)
    with _archive(path, name, follow=options.follow_link, owners=options.archive) as stream:
        http.request(
            "PUT", f"/containers/{container}/archive", {**query, "path": directory}, stream=stream
        ).close()
    return 0


def _place(path: str, container: str, target: str, stat: dict[str, Any] | None) -> tuple[str, str]:
    """The container's directory to unpack in and the name there; "" for a directory's contents alone."""
    source_directory = os.path.isdir(path)
    contents = path.endswith("/.") or path == "."
    if stat is not None and _is_directory(stat):
        return target or "/", "" if contents else os.path.basename(os.path.abspath(path))
    if stat is not None and source_directory:
        raise Failed(f'cannot copy directory to a file: "{container}:{target}"', 1)
    if target.endswith("/") and not source_directory:
        raise Failed(f"the destination directory must exist: {container}:{target}", 1)
    parent = posixpath.dirname(target.rstrip("/")) or "/"
    return parent, posixpath.basename(target.rstrip("/"))


@contextlib.contextmanager
def _archive(path: str, name: str, *, follow: bool, owners: bool) -> Iterator[IO[bytes]]:
    """`path` as a tar whose top is `name`."""
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:

            def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
                if not owners:
                    member.uid = member.gid = 0
                    member.uname = member.gname = ""
                return member

            real = os.path.realpath(path) if follow or path.endswith("/") else path.rstrip("/")
            if name:
                tar.add(real, arcname=name, filter=owned)
            else:
                for entry in sorted(os.listdir(real)):
                    tar.add(os.path.join(real, entry), arcname=entry, filter=owned)
        file.seek(0)
        yield file


def export(http: Http, options: Options) -> int:
    """The merged root, without volumes."""
    if not options.output and sys.stdout.isatty():
        raise Failed("cowardly refusing to save to a terminal. Use the -o flag or redirect", 1)
    with http.request("GET", f"/containers/{options.args[0]}/export") as answer:
        write_out(answer.pieces(1 << 20), options.output)
    return 0
