"""The rows of images: every function takes a transaction and is part of a use case's one write or read.

A blob or a layer that no row here names may be deleted; `unreferenced` says which. Containers hold the layers of their chain
even after their image's name and row are gone.
"""

import re
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from knarr.content.leases import Resource
from knarr.engine.images.errors import AmbiguousImage, NoSuchImage
from knarr.model.descriptor import chain_ids
from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.image import Image
from knarr.model.reference import Reference
from knarr.model.system import Event

_decoder = msgspec.json.Decoder(Image)
_ID = re.compile(r"[0-9a-f]{1,64}\Z")
_MANY = 500


class LayerRow(NamedTuple):
    """A layer of an image to be recorded: `blob` is its compressed form."""

    chain: Digest
    diff: Digest
    size: int


class User(NamedTuple):
    """A container of an image."""

    id: str
    runs: bool


def chain(image: Image) -> tuple[Digest, ...]:
    """The ChainIDs of its layers, lowest first."""
    return chain_ids(image.layers)


def blob(digest: Digest | str) -> Resource:
    """A blob as leases and collection name it."""
    return Resource("blob", str(digest))


def layer(chain_id: Digest | str) -> Resource:
    """An unpacked layer as leases and collection name it."""
    return Resource("layer", str(chain_id))


def insert(tx: sqlite3.Connection, image: Image, layers: Sequence[LayerRow], blobs: Iterable[Digest]) -> bool:
    """Records an image, its layers and the blobs that it needs; False if it was there."""
    key = str(image.id)
    done = tx.execute(
        "INSERT INTO images (id, created, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (key, image.created, msgspec.json.encode(image).decode()),
    ).rowcount
    tx.executemany(
        "INSERT INTO image_blobs VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(key, str(digest)) for digest in blobs],
    )
    if not done:
        return False
    tx.executemany(
        "INSERT INTO layers VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(str(row.chain), str(row.diff), row.size) for row in layers],
    )
    tx.executemany(
        "INSERT INTO image_layers VALUES (?, ?, ?, ?)",
        [(key, position, str(row.chain), str(row.diff)) for position, row in enumerate(layers)],
    )
    return True


def keep_blobs(tx: sqlite3.Connection, image: Digest, blobs: Iterable[Digest]) -> None:
    """Further blobs that must stay while the image does."""
    tx.executemany(
        "INSERT INTO image_blobs VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(str(image), str(digest)) for digest in blobs],
    )


def delete(tx: sqlite3.Connection, image: Digest | str) -> tuple[list[str], list[str]]:
    """Deletes an image's rows; the chains (topmost first) and the blobs that were its own."""
    key = str(image)
    chains = _column(tx, "SELECT chain FROM image_layers WHERE image = ? ORDER BY position DESC", key)
    blobs = _column(tx, "SELECT digest FROM image_blobs WHERE image = ?", key)
    tx.execute("DELETE FROM images WHERE id = ?", (key,))
    return chains, blobs


def name_it(tx: sqlite3.Connection, ref: Reference, image: Digest, via: Digest | None = None) -> bool:
    """Gives the image a name, which another may lose; False if it had it. `via`: the document that the name leads to, where that
    is not the image's own manifest."""
    wanted = (str(image), str(via) if via is not None else None)
    row = tx.execute("SELECT image, via FROM image_names WHERE name = ?", (str(ref),)).fetchone()
    if row == wanted:
        return False
    tx.execute("INSERT OR REPLACE INTO image_names VALUES (?, ?, ?)", (str(ref), *wanted))
    tx.execute("UPDATE images SET tagged = ? WHERE id = ?", (time.time_ns(), str(image)))
    return True


def unname(tx: sqlite3.Connection, ref: Reference) -> None:
    """Takes a name away."""
    tx.execute("DELETE FROM image_names WHERE name = ?", (str(ref),))


def named(tx: sqlite3.Connection, ref: Reference) -> str | None:
    """The id of the image that has exactly this name."""
    row = tx.execute("SELECT image FROM image_names WHERE name = ?", (str(ref),)).fetchone()
    return row[0] if row else None


def names(tx: sqlite3.Connection, image: Digest | str) -> tuple[Reference, ...]:
    """All names of an image, in order."""
    found = _column(tx, "SELECT name FROM image_names WHERE image = ? ORDER BY name", str(image))
    return tuple(Reference.parse(name) for name in found)


def repository(tx: sqlite3.Connection, ref: Reference) -> tuple[tuple[Reference, str], ...]:
    """The tags of a repository with their images."""
    rows = tx.execute(
        "SELECT name, image FROM image_names WHERE substr(name, 1, ?) = ? ORDER BY name",
        (len(ref.name) + 1, f"{ref.name}:"),
    )
    return tuple((Reference.parse(name), image) for name, image in rows)


def read(tx: sqlite3.Connection, image: Digest | str) -> Image | None:
    """By its whole id."""
    row = tx.execute("SELECT value FROM images WHERE id = ?", (str(image),)).fetchone()
    return _decoder.decode(row[0]) if row else None


def require(tx: sqlite3.Connection, image: Digest | str) -> None:
    """In the transaction that makes a container: nobody removed the image meanwhile. Raises NoSuchImage."""
    if not tx.execute("SELECT 1 FROM images WHERE id = ?", (str(image),)).fetchone():
        raise NoSuchImage(str(image))


def read_all(tx: sqlite3.Connection) -> list[tuple[Image, int]]:
    """Every image with the moment it was last tagged, newest first."""
    rows = tx.execute("SELECT value, tagged FROM images ORDER BY created DESC, id")
    return [(_decoder.decode(value), tagged) for value, tagged in rows]


def find(tx: sqlite3.Connection, name: str) -> Image:
    """Docker's order: a whole id, a name, a unique prefix of an id. Raises NoSuchImage, AmbiguousImage."""
    found = _by_id(tx, name) or _by_name(tx, name) or _by_prefix(tx, name)
    image = read(tx, found) if found else None
    if image is None:
        raise NoSuchImage(_familiar(name))
    return image


def _familiar(name: str) -> str:
    """As docker repeats a name that it does not know: with its tag. Raises Invalid for what is no name and no id."""
    bare = name.removeprefix("sha256:")
    if not name or _ID.match(bare):
        return name
    return Reference.parse(name).tagged().familiar


def _by_id(tx: sqlite3.Connection, name: str) -> str | None:
    hexadecimal = name.removeprefix("sha256:")
    if len(hexadecimal) != 64:
        return None
    row = tx.execute(
        "SELECT id FROM images WHERE id = ?1 UNION ALL SELECT image FROM image_indexes WHERE digest = ?1",
        (f"sha256:{hexadecimal}",),
    ).fetchone()
    return row[0] if row else None


def _by_name(tx: sqlite3.Connection, name: str) -> str | None:
    try:
        ref = Reference.parse(name).tagged()
    except Invalid:
        return None
    found = named(tx, ref)
    if found is None and ref.tag and ref.digest:
        found = named(tx, ref._replace(tag=None))
    return found


def _by_prefix(tx: sqlite3.Connection, name: str) -> str | None:
    prefix = name.removeprefix("sha256:").lower()
    if not prefix or len(prefix) >= 64 or prefix.strip("0123456789abcdef"):
        return None
    found = _column(
        tx, "SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 2", f"sha256:{prefix}", f"sha256:{prefix}g"
    )
    if len(found) > 1:
        raise AmbiguousImage(name)
    return found[0] if found else None


def layer_sizes(tx: sqlite3.Connection) -> dict[str, int]:
    """The unpacked size of every layer by its chain id."""
    return dict(tx.execute("SELECT chain, size FROM layers").fetchall())


def layer_users(tx: sqlite3.Connection) -> dict[str, int]:
    """How many images have each layer."""
    return dict(tx.execute("SELECT chain, count(*) FROM image_layers GROUP BY chain").fetchall())


def users(tx: sqlite3.Connection, image: Digest | str) -> tuple[User, ...]:
    """The containers of an image, and of those that it stands for."""
    rows = tx.execute(
        "SELECT id, status FROM containers WHERE image = ?1 OR image IN"
        " (SELECT image_members.image FROM image_members JOIN image_indexes ON digest = via"
        "  WHERE image_indexes.image = ?1) ORDER BY created",
        (str(image),),
    )
    return tuple(User(key, status in ("running", "paused", "restarting", "starting")) for key, status in rows)


def own_users(tx: sqlite3.Connection, image: Digest | str) -> tuple[User, ...]:
    """The containers of exactly this image."""
    rows = tx.execute("SELECT id, status FROM containers WHERE image = ? ORDER BY created", (str(image),))
    return tuple(User(key, status in ("running", "paused", "restarting", "starting")) for key, status in rows)


def user_counts(tx: sqlite3.Connection) -> dict[str, int]:
    """How many containers each image has."""
    return dict(tx.execute("SELECT image, count(*) FROM containers GROUP BY image").fetchall())


def free(tx: sqlite3.Connection, resources: Iterable[Resource]) -> tuple[list[Resource], int]:
    """Those of the resources that no image and no container needs, and the bytes of their layers, which are forgotten."""
    needed = referenced(tx)
    found = [resource for resource in resources if resource not in needed]
    size = 0
    for resource in found:
        if resource.kind == "layer":
            row = tx.execute("DELETE FROM layers WHERE chain = ? RETURNING size", (resource.name,)).fetchone()
            size += row[0] if row else 0
    return found, size


def unclaimed(tx: sqlite3.Connection, resources: Iterable[Resource]) -> list[Resource]:
    """Those that no image, no step and no build's record has: a question that is answered by indexes, before `free` asks all."""
    found = []
    for resource in resources:
        query = _CLAIMED[resource.kind]
        if tx.execute(query, {"name": resource.name}).fetchone() is None:
            found.append(resource)
    return found


_CLAIMED = {
    "layer": "SELECT 1 FROM image_layers WHERE chain = :name UNION ALL"
    " SELECT 1 FROM build_layers WHERE chain = :name LIMIT 1",
    "blob": "SELECT 1 FROM image_blobs WHERE digest = :name UNION ALL"
    " SELECT 1 FROM build_record_blobs WHERE digest = :name UNION ALL"
    " SELECT 1 FROM build_layers WHERE digest = :name LIMIT 1",
}
_CHAINS = (
    "SELECT chain FROM image_layers UNION"
    " SELECT value FROM containers, json_each(containers.extra, '$.chain') UNION"
    " SELECT part.value FROM containers, json_each(containers.extra, '$.mounts') AS mount,"
    " json_each(mount.value, '$.chain') AS part"
)


def referenced(tx: sqlite3.Connection) -> set[Resource]:
    """Every blob and layer that a row needs."""
    chains = _column(tx, f"{_CHAINS} UNION SELECT chain FROM build_layers")
    blobs = _column(
        tx,
        "SELECT digest FROM image_blobs UNION SELECT digest FROM build_layers"
        " UNION SELECT digest FROM build_record_blobs",
    )
    return {blob(digest) for digest in blobs} | {layer(chain_id) for chain_id in chains}


def only_built(tx: sqlite3.Connection) -> set[str]:
    """The layers and blobs that nobody but the build cache has."""
    return set(
        _column(
            tx,
            f"SELECT chain FROM build_layers WHERE chain NOT IN ({_CHAINS})"
            " UNION SELECT digest FROM build_layers WHERE digest NOT IN (SELECT digest FROM image_blobs)",
        )
    )


def kept_chains(tx: sqlite3.Connection) -> set[str]:
    """The layers of images and containers."""
    return set(_column(tx, _CHAINS))


def event(image: Image | None, subject: str, action: str, name: str) -> Event:
    """An event of an image, with its labels as docker gives them."""
    labels = dict(image.config.labels or {}) if image is not None else {}
    return Event(
        type="image", action=action, id=subject, at=time.time_ns(), attributes={**labels, "name": name}
    )


def _column(tx: sqlite3.Connection, sql: str, *arguments: str) -> list[str]:
    return [row[0] for row in tx.execute(sql, arguments)]
