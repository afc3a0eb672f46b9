"""`DOCKER_BUILDKIT=0 knarr build`: the context as an archive to the classic API, lines out.

The context is filtered by its .dockerignore here, so that what is left out is never sent.
"""

import io
import json
import os
import sys
import tarfile
import threading
from collections.abc import Iterator
from typing import IO, Any

from knarr.api.client.http import Http
from knarr.cli.common import Failed
from knarr.cli.flags import Options

# What of the flags the classic API knows.
_KNOWN = frozenset(
    (
        *("add_host", "build_arg", "builder", "cgroup_parent", "explain_cache", "file", "iidfile", "label"),
        *("network", "no_cache", "platform", "progress", "pull", "quiet", "shm_size", "tag", "target"),
    )
)


def build(http: Http, options: Options) -> int:
    """The exit code of a command that failed is the build's."""
    for name in sorted(options.given - _KNOWN):
        raise Failed(
            f"the --{name.replace('_', '-')} option requires BuildKit. Remove DOCKER_BUILDKIT=0 to use it."
        )
    query = _query(options)
    if options.args[0] != "-":
        _check(options.args[0], options.file, query["dockerfile"])
    reading, writing = os.pipe()
    problem: list[Exception] = []
    sender = threading.Thread(
        target=_send, args=(writing, options, query["dockerfile"], problem), daemon=True
    )
    sender.start()
    with os.fdopen(reading, "rb") as stream:
        with http.request("POST", "/build", query, stream=stream) as answer:
            if problem:
                raise problem[0]
            return _show(answer.lines(), options)


def _query(options: Options) -> dict[str, Any]:
    pairs = {
        name: json.dumps(dict(_pair(word) for word in words))
        for name, words in (("buildargs", _arguments(options)), ("labels", options.label))
        if words
    }
    return {
        **pairs,
        "t": options.tag,
        "dockerfile": _inside(options),
        "extrahosts": options.add_host,
        "target": options.target or None,
        "platform": ",".join(options.platform) or None,
        "networkmode": options.network if "network" in options.given else None,
        "cgroupparent": options.cgroup_parent or None,
        "shmsize": options.shm_size or None,
        "nocache": "1" if options.no_cache else None,
        "pull": "1" if options.pull else None,
        "q": "1" if options.quiet else None,
        "version": "1",
    }


def _arguments(options: Options) -> list[str]:
    return [*options.build_arg, *(["KNARR_EXPLAIN_CACHE=1"] if options.explain_cache else [])]


def _pair(word: str) -> tuple[str, str | None]:
    """A variable without a value has this environment's; one that is not set here, none."""
    name, equals, value = word.partition("=")
    return name, value if equals else os.environ.get(name)


def _inside(options: Options) -> str:
    """The Dockerfile's name in the archive. Raises Failed."""
    path = options.args[0]
    if path == "-" or not options.file:
        return options.file or "Dockerfile"
    file = os.path.abspath(options.file)
    if not os.path.isfile(file):
        raise Failed(f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: {file}", 1)
    relative = os.path.relpath(file, path)
    return ".dockerfile.outside" if relative.startswith("..") else relative


def _send(writing: int, options: Options, dockerfile: str, problem: list[Exception]) -> None:
    """The archive into the pipe, in a thread of its own; the daemon may stop reading."""
    try:
        with os.fdopen(writing, "wb") as sink:
            if options.args[0] == "-":
                _standard_input(sink, dockerfile)
            else:
                _context(sink, options.args[0], options.file, dockerfile)
    except BrokenPipeError:
        pass
    except Exception as error:
        problem.append(error)


def _standard_input(sink: IO[bytes], dockerfile: str) -> None:
    """An archive as it is; anything else is a Dockerfile."""
    data = sys.stdin.buffer.read(1 << 16)
    if data[257:262] == b"ustar" or data[:2] == b"\x1f\x8b" or data[:4] == b"\x28\xb5\x2f\xfd":
        while data:
            sink.write(data)
            data = sys.stdin.buffer.read(1 << 16)
        return
    data += sys.stdin.buffer.read()
    with tarfile.open(fileobj=sink, mode="w|") as archive:
        _text(archive, dockerfile, data)


def _text(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _check(path: str, file: str, dockerfile: str) -> None:
    """Raises Failed in docker's words."""
    if not os.path.isdir(path):
        raise Failed(f'unable to prepare context: path "{path}" not found', 1)
    if not file and not os.path.isfile(os.path.join(path, dockerfile)):
        raise Failed(
            "unable to prepare context: unable to evaluate symlinks in Dockerfile path: "
            f"lstat {os.path.join(os.path.abspath(path), dockerfile)}: no such file or directory",
            1,
        )


def _context(sink: IO[bytes], path: str, file: str, dockerfile: str) -> None:
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for relative in _walk(path, _ignored(path, dockerfile)):
            archive.add(os.path.join(path, relative), relative, recursive=False, filter=_plain)
        if dockerfile.startswith(".dockerfile."):
            with open(file, "rb") as text:
                _text(archive, dockerfile, text.read())


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whose a file is here says nothing there."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _ignored(path: str, dockerfile: str) -> list[str]:
    from knarr.build.dockerfile.ignore import read

    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        try:
            with open(os.path.join(path, name), "rb") as file:
                # docker sends both of these files whatever the patterns say: the daemon needs them.
                return [*read(file.read()), f"!{dockerfile}", f"!{name}"]
        except FileNotFoundError:
            continue
    return []


def _walk(path: str, patterns: list[str]) -> Iterator[str]:
    """What is sent, a directory before what is in it; without a pattern that takes back, no ignored directory is entered."""
    from knarr.build.dockerfile.ignore import Matcher

    matcher = Matcher(patterns)
    for directory, names, files in os.walk(path):
        below = os.path.relpath(directory, path)
        prefix = "" if below == "." else f"{below}/"
        links = [name for name in names if os.path.islink(os.path.join(directory, name))]
        names[:] = sorted(name for name in names if name not in links)
        for name in list(names):
            if matcher.excludes(f"{prefix}{name}"):
                if not _may_take_back(f"{prefix}{name}", patterns):
                    names.remove(name)
            else:
                yield f"{prefix}{name}"
        for name in sorted([*files, *links]):
            if not matcher.excludes(f"{prefix}{name}"):
                yield f"{prefix}{name}"


def _may_take_back(directory: str, patterns: list[str]) -> bool:
    """Whether a `!` pattern may mean something below the directory: one with a wildcard early on always may."""
    for pattern in patterns:
        if pattern.startswith("!"):
            fixed = pattern[1:].strip("/").partition("*")[0]
            if fixed.startswith(f"{directory}/") or directory.startswith(fixed.rstrip("/")) or not fixed:
                return True
    return False


def _show(lines: Iterator[Any], options: Options) -> int:
    image = ""
    for line in lines:
        if "error" in line:
            print(line["error"], file=sys.stderr)
            return int((line.get("errorDetail") or {}).get("code") or 1)
        image = (line.get("aux") or {}).get("ID", image)
        sys.stdout.write(line.get("stream", ""))
        sys.stdout.flush()
    if options.iidfile and image:
        with open(options.iidfile, "w", encoding="utf-8") as file:
            file.write(image)
    return 0
