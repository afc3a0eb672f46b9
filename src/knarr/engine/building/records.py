"""The build cache's rows: each function is called inside a transaction."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from knarr.build.bench import Facts, Hit
from knarr.build.tree import Layer, Tree
from knarr.content.leases import Resource
from knarr.model.descriptor import Descriptor, chain_ids
from knarr.model.digest import Digest

MOST_NAMES = 20_000


class _Stored(msgspec.Struct):
    """A layer as JSON has it."""

    diff: str
    digest: str
    media_type: str
    blob_size: int
    size: int


_stored = msgspec.json.Decoder(list[_Stored])


def read(tx: sqlite3.Connection, key: str, base: Tree, now: int) -> Hit | None:
    """A result that is used once more; its name, if that is all there is: one layer on `base`."""
    row = tx.execute(
        "UPDATE build_cache SET used = ?, uses = uses + 1 WHERE key = ? RETURNING layers, exact", (now, key)
    ).fetchone()
    if row is not None:
        return Hit(Tree(_layers(row[0])), row[1])
    row = tx.execute("SELECT diff, exact FROM build_names WHERE key = ?", (key,)).fetchone()
    return None if row is None else Hit(named(base, Digest.parse(row[0])), row[1])


def use(tx: sqlite3.Connection, keys: Sequence[str], now: int) -> None:
    """Results that were used once more without having been read."""
    tx.executemany(
        "UPDATE build_cache SET used = ?, uses = uses + 1 WHERE key = ?", [(now, key) for key in keys]
    )


def named(base: Tree, diff: Digest) -> Tree:
    """A step's result of which no more is known than its layer's name."""
    return Tree((*base.layers, Layer(diff, Descriptor("", diff, 0), 0, absent=True)))


def name(tx: sqlite3.Connection, key: str, tree: Tree, facts: Facts) -> None:
    """Remembers no more than the name."""
    row = (key, str(tree.layers[-1].diff), facts.exact)
    tx.execute("INSERT OR REPLACE INTO build_names VALUES (?, ?, ?)", row)
    tx.execute(
        "DELETE FROM build_names WHERE rowid <= (SELECT max(rowid) FROM build_names) - ?", (MOST_NAMES,)
    )


def _layers(text: str) -> tuple[Layer, ...]:
    return tuple(
        Layer(
            Digest.parse(each.diff),
            Descriptor(each.media_type, Digest.parse(each.digest), each.blob_size),
            each.size,
        )
        for each in _stored.decode(text)
    )


def write(tx: sqlite3.Connection, key: str, tree: Tree, facts: Facts, now: int) -> None:
    """A new result, or another in the place of an old one."""
    layers = [
        _Stored(str(each.diff), str(each.blob.digest), each.blob.media_type, each.blob.size, each.size)
        for each in tree.layers
    ]
    size = tree.layers[-1].size if tree.layers else 0
    tx.execute("DELETE FROM build_cache WHERE key = ?", (key,))
    tx.execute(
        "INSERT INTO build_cache VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)",
        (
            key,
            msgspec.json.encode(layers).decode(),
            facts.kind,
            facts.description,
            now,
            now,
            size,
            facts.exact,
        ),
    )
    tx.executemany("INSERT INTO build_layers VALUES (?, ?, ?)", [(key, *each) for each in _needed(tree)])


def _needed(tree: Tree) -> Sequence[tuple[str, str]]:
    chains = chain_ids([layer.diff for layer in tree.layers])
    return [(str(chain), str(layer.blob.digest)) for chain, layer in zip(chains, tree.layers, strict=True)]


def forget(tx: sqlite3.Connection, key: str) -> None:
    """A result whose layers are gone."""
    tx.execute("DELETE FROM build_cache WHERE key = ?", (key,))


class Cached(NamedTuple):
    """One row, its layers with their ChainIDs."""

    key: str
    kind: str
    description: str
    created: int
    used: int
    uses: int
    layers: tuple[Layer, ...]
    chains: tuple[str, ...]


def every(tx: sqlite3.Connection) -> Iterator[Cached]:
    """All results, the oldest first."""
    for key, kind, description, created, used, uses, text in tx.execute(
        "SELECT key, kind, description, created, used, uses, layers FROM build_cache ORDER BY created"
    ):
        layers = _layers(text)
        chains = tuple(map(str, chain_ids([layer.diff for layer in layers])))
        yield Cached(key, kind, description, created, used, uses, layers, chains)


def forget_all(tx: sqlite3.Connection, keys: Iterable[str]) -> list[Resource]:
    """Results that nobody shall find any more; what they kept."""
    kept: set[Resource] = set()
    for key in keys:
        for chain, digest in tx.execute("SELECT chain, digest FROM build_layers WHERE key = ?", (key,)):
            kept |= {Resource("layer", chain), Resource("blob", digest)}
        forget(tx, key)
    if tx.execute("SELECT 1 FROM build_cache").fetchone() is None:
        tx.execute("DELETE FROM build_names")
    return sorted(kept)
