"""fsutil's packets (frontdoor/filesync draws the exchange) as a client writes and reads them, without protobuf's library."""

import os
import stat
from typing import NamedTuple

from knarr.build.frontdoor.gomode import from_mode
from knarr.wire.protobuf import Fields, data, message, number, text

STAT, REQ, DATA, FIN, ERR = range(5)


class Packet(NamedTuple):
    """What a builder sends that takes a directory: a file's number, or an error's text."""

    type: int
    id: int
    data: bytes

    @classmethod
    def FromString(cls, body: bytes) -> "Packet":  # noqa: N802  (protobuf's name)
        """As protobuf's messages have it. Raises Malformed."""
        found = Fields(body)
        return cls(found.number(1), found.number(3), found.data(4))


class Raw(NamedTuple):
    """A message as its bytes."""

    data: bytes

    @classmethod
    def FromString(cls, data: bytes) -> "Raw":  # noqa: N802  (protobuf's name)
        """As protobuf's messages have it."""
        return cls(data)

    def SerializeToString(self) -> bytes:  # noqa: N802  (protobuf's name)
        """As protobuf's messages have it."""
        return self.data


END = Raw(b"")
"""Everything has been told: a STAT of nothing."""


def packet(kind: int, identity: int = 0, content: bytes = b"") -> Raw:
    """Any packet but a STAT."""
    return Raw(number(1, kind) + number(3, identity) + data(4, content))


class Told(NamedTuple):
    """An entry of a directory. `message` is what is told of it."""

    path: str
    regular: bool
    mode: int
    message: Raw


def made(path: str, size: int) -> Told:
    """A file that is nowhere on disk."""
    body = text(1, path) + number(2, 0o600) + number(5, size)
    return Told(path, True, 0o600, Raw(message(2, body)))


def told(root: str, path: str, facts: os.stat_result, linked: dict[tuple[int, int], str]) -> Told:
    """An entry as it is, but root's; `linked` keeps the first name of files that have several."""
    full = f"{root}/{path}"
    mode = facts.st_mode
    regular = stat.S_ISREG(mode)
    link = os.readlink(full) if stat.S_ISLNK(mode) else ""
    if regular and facts.st_nlink > 1:
        first = linked.setdefault((facts.st_dev, facts.st_ino), path)
        link = "" if first == path else first
    go = from_mode(mode)
    body = text(1, path) + number(2, go)
    if regular:
        body += number(5, facts.st_size)
    body += number(6, facts.st_mtime_ns) + text(7, link)
    if facts.st_rdev:
        body += number(8, os.major(facts.st_rdev)) + number(9, os.minor(facts.st_rdev))
    for name in os.listxattr(full, follow_symlinks=False):
        value = os.getxattr(full, name, follow_symlinks=False)
        body += message(10, text(1, name) + data(2, value))
    return Told(path, regular, go, Raw(message(2, body)))
