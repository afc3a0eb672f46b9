"""Keys of the build cache: what an operation does, and the contents that it does it on. Pure.

A key names contents, never times or places: a file that was touched is the same file. A copy depends on the files that it
takes and not on their neighbours.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from stat import S_IFMT, S_IMODE

import msgspec

from knarr.build.context.entries import Entry, Index
from knarr.build.graph import Vertex
from knarr.build.llb import encode
from knarr.build.operations import Exec, Operation
from knarr.model.platform import Platform

VERSION = b"knarr-build-1"
_FEW, _KEPT = 2000, 8


@lru_cache(1024)
def operation(what: Operation, platform: Platform | None) -> bytes:
    """The operation itself, whatever it works on and whichever proxies it goes through."""
    if isinstance(what, Exec):
        what = replace(what, proxy=None)
    return hashlib.sha256(encode(what, [], platform)).digest()


def key(vertex: Vertex, inputs: Sequence[str], epoch: int | None) -> str:
    """The key of a vertex on inputs that are named by their contents. `epoch`: times are clamped to it."""
    parts = [
        VERSION,
        operation(vertex.operation, vertex.platform),
        *(each.encode() for each in inputs),
        str(epoch).encode(),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def index(entries: Index) -> str:
    """The name of a whole context by its contents."""
    return contents((path, entries[path]) for path in sorted(entries))


class Names:
    """Names of contexts that come again as they were, as the same object; large ones are not held for that."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[Index, str]] = OrderedDict()

    def find(self, entries: Index) -> str | None:
        """The name that was kept for this object."""
        known = self._known.get(id(entries))
        return known[1] if known is not None else None

    def keep(self, entries: Index, name: str) -> None:
        """Of the last few."""
        if len(entries) <= _FEW:
            self._known[id(entries)] = entries, name
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)


def contents(entries: Iterable[tuple[str, Entry]]) -> str:
    """The name of some files, each with the name that it will get. Times don't count."""
    total = hashlib.sha256()
    for name, entry in entries:
        facts = (
            name,
            S_IFMT(entry.mode),
            S_IMODE(entry.mode),
            entry.uid,
            entry.gid,
            entry.link,
            entry.digest,
            entry.device,
            sorted(entry.xattrs.items()),
        )
        total.update(msgspec.msgpack.encode(facts))
    return f"files:{total.hexdigest()}"
