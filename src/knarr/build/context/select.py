"""Which files a copy takes, and what they are called at its destination. Pure: an index in, names and entries out.

Links in the source's path are followed inside the index; a wildcard matches one path component at a time, as Go's
filepath.Match does.
"""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from stat import S_ISLNK

from knarr.build.context.entries import Entry, Index
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.ignore import Matcher
from knarr.build.errors import BuildFailed
from knarr.build.operations import Copy
from knarr.model.patterns import is_pattern, match

_LINKS = 40


@dataclass(frozen=True, slots=True)
class Match:
    """One source of a copy: `path` is where it is, `name` its last component, `entry` None for the top of the context. `members` are what is
    below a directory, by path relative to it, directories before what is in them."""

    path: str
    name: str
    entry: Entry | None
    members: Sequence[tuple[str, Entry]]

    @property
    def is_dir(self) -> bool:
        return self.entry is None or self.entry.is_dir

    def named(self) -> Iterator[tuple[str, Entry]]:
        """All of it, by the names that it gets."""
        return self._below(self.name)

    def sources(self) -> Iterator[tuple[str, Entry]]:
        """All of it, by the paths where it is."""
        return ((path.lstrip("/"), entry) for path, entry in self._below(self.path))

    def _below(self, top: str) -> Iterator[tuple[str, Entry]]:
        if self.entry is not None:
            yield top, self.entry
        for path, entry in self.members:
            yield f"{top}/{path}", entry


def select(index: Index, copy: Copy) -> list[Match]:
    """What the copy takes, in walking order; its patterns choose among what is below a directory. Raises BuildFailed."""
    path = posixpath.normpath(f"/{copy.src}").strip("/")
    for needed in copy.required:
        if resolve(index, needed, last=False) is None:
            raise NothingThere(needed)
    if copy.wildcard and is_pattern(path):
        found = list(_matching(index, path))
        if not found and not copy.empty_wildcard:
            raise NothingThere(copy.src)
    else:
        found = [path]
    return [_match(index, each, copy) for each in found]


class NothingThere(BuildFailed):
    """A copy's source that is not there."""

    def __init__(self, source: str, why: str = ""):
        super().__init__(why or f'"/{source.strip("/")}": not found')


class BadPattern(BuildFailed):
    """A pattern that is none."""


def _match(index: Index, path: str, copy: Copy) -> Match:
    real = resolve(index, path, last=copy.follow_symlink)
    if real is None:
        raise NothingThere(copy.src)
    entry = index.get(real)
    name = posixpath.basename(path)
    if entry is not None and not entry.is_dir:
        return Match(path, name, entry, ())
    members = _chosen(list(below(index, real)), copy)
    return Match(path, name, entry, members)


def _chosen(members: list[tuple[str, Entry]], copy: Copy) -> list[tuple[str, Entry]]:
    """What the patterns leave, with the directories that something left is in."""
    if not copy.include and not copy.exclude:
        return members
    include, exclude = _matcher("include", copy.include), _matcher("exclude", copy.exclude)
    kept = {
        path
        for path, _ in members
        if (not copy.include or include.excludes(path)) and not exclude.excludes(path)
    }
    for path in list(kept):
        while path := posixpath.dirname(path):
            kept.add(path)
    return [(path, entry) for path, entry in members if path in kept]


def _matcher(kind: str, patterns: tuple[str, ...]) -> Matcher:
    try:
        found = Matcher(patterns)
        found.excludes("a")  # some are found to be none when they are used
    except DockerfileError as error:
        raise BadPattern(f"invalid {kind}patterns: [{' '.join(patterns)}]: {error}") from error
    return found


def below(index: Index, directory: str) -> Iterator[tuple[str, Entry]]:
    """What is below `directory` ("" is the top), by path relative to it."""
    prefix = f"{directory}/" if directory else ""
    for path, entry in index.items():
        if path.startswith(prefix) and path != directory:
            yield path[len(prefix) :], entry


def resolve(index: Index, path: str, *, last: bool) -> str | None:
    """Where `path` leads when links are followed, inside the top; `last`: in its last component, too. None: nowhere."""
    done: list[str] = []
    left = [part for part in path.split("/") if part]
    for _ in range(_LINKS * 10):
        if not left:
            return "/".join(done)
        part = left.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        entry = index.get("/".join([*done, part]))
        if entry is None:
            return None
        if S_ISLNK(entry.mode) and (left or last):
            done = [] if entry.link.startswith("/") else done
            left = [*entry.link.split("/"), *left]
            continue
        done.append(part)
    raise NothingThere(path, "too many links")


def _matching(index: Index, pattern: str) -> Iterator[str]:
    parts = pattern.split("/")
    try:
        for path in index:
            names = path.split("/")
            if len(names) == len(parts) and all(map(match, parts, names)):
                yield path
    except ValueError as error:
        raise BuildFailed(str(error)) from error
