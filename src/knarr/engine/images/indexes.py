"""The rows of indexes: images of several platforms under one name. Every function is part of one transaction.

One image stands for the index: it has the names, is listed, and is run where no platform is asked for. The others are images
of their own that are not listed, and go with it.
"""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from knarr.engine.images import rows
from knarr.engine.images.errors import PlatformNotProvided, WrongPlatform
from knarr.engine.images.manifest import choose
from knarr.model.descriptor import OCI_MANIFEST, Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, NotFound
from knarr.model.image import Image
from knarr.model.platform import Platform
from knarr.model.reference import Reference


class Member(NamedTuple):
    """One manifest of an index, and its image."""

    manifest: Digest
    image: Image


class Led(NamedTuple):
    """What a name leads to: the image that stands for it, and the document by which it is known where that is not its own
    manifest."""

    image: Image
    via: Digest | None


def insert(
    tx: sqlite3.Connection, digest: Digest, image: Digest, parts: Sequence[tuple[Digest, Digest]]
) -> None:
    """Records an index: `image` stands for it, `parts` are manifests with their images, all recorded before."""
    tx.execute("INSERT OR REPLACE INTO image_indexes VALUES (?, ?)", (str(digest), str(image)))
    tx.executemany(
        "INSERT OR REPLACE INTO image_members VALUES (?, ?, ?, ?)",
        [(str(digest), position, str(manifest), str(one)) for position, (manifest, one) in enumerate(parts)],
    )


def join(
    tx: sqlite3.Connection, digest: Digest, before: str | None, new: Member, here: Platform
) -> tuple[Image, bool] | None:
    """Makes an image one more of an index of which others are here: `before` is the one whose name the index' digest was. What
    stands for the index now, and whether the image came to it; None if it is alone."""
    parts = list(members(tx, digest))
    earlier = rows.read(tx, before) if not parts and before is not None else None
    if earlier is not None and earlier.manifest is not None:
        parts = [Member(earlier.manifest, earlier)]
    joined = all(part.image.id != new.image.id for part in parts)
    if joined:
        parts.append(new)
    if len(parts) == 1:
        return None
    lead = next((part.image for part in parts if part.image.platform.matches(here)), parts[0].image)
    insert(tx, digest, lead.id, [(part.manifest, part.image.id) for part in parts])
    return lead, joined


def members(tx: sqlite3.Connection, via: Digest | str) -> tuple[Member, ...]:
    """In the index' order; none if it is no index."""
    found = tx.execute(
        "SELECT manifest, image FROM image_members WHERE via = ? ORDER BY position", (str(via),)
    )
    pairs = [(Digest.parse(manifest), rows.read(tx, image)) for manifest, image in found.fetchall()]
    return tuple(Member(manifest, image) for manifest, image in pairs if image is not None)


def of(tx: sqlite3.Connection, image: Digest | str) -> Digest | None:
    """The index that an image stands for: the one that its names lead to, or one of its own."""
    row = tx.execute(
        "SELECT digest FROM image_indexes LEFT JOIN image_names ON image_names.via = digest"
        " WHERE image_indexes.image = ? ORDER BY name IS NULL, digest",
        (str(image),),
    ).fetchone()
    return Digest.parse(row[0]) if row else None


def led(tx: sqlite3.Connection, name: str) -> Led:
    """As `rows.find`, with the document that exactly this name leads to. Raises NoSuchImage, AmbiguousImage."""
    image = rows.find(tx, name)
    via = _by_name(tx, name) or _by_digest(tx, name)
    if via is None and not _is_name(tx, name):
        via = of(tx, image.id)
    return Led(image, via)


def _is_name(tx: sqlite3.Connection, name: str) -> bool:
    try:
        return rows.named(tx, Reference.parse(name).tagged()) is not None
    except Invalid:
        return False


def _by_name(tx: sqlite3.Connection, name: str) -> Digest | None:
    try:
        ref = Reference.parse(name).tagged()
    except Invalid:
        return None
    row = tx.execute("SELECT via FROM image_names WHERE name = ?", (str(ref),)).fetchone()
    if row is None and ref.tag and ref.digest:
        ref = ref._replace(tag=None)
        row = tx.execute("SELECT via FROM image_names WHERE name = ?", (str(ref),)).fetchone()
    return Digest.parse(row[0]) if row and row[0] else None


def _by_digest(tx: sqlite3.Connection, name: str) -> Digest | None:
    known = f"sha256:{name.removeprefix('sha256:')}"
    row = tx.execute("SELECT digest FROM image_indexes WHERE digest = ?", (known,)).fetchone()
    return Digest.parse(row[0]) if row else None


def chosen(tx: sqlite3.Connection, name: str, platform: Platform | None) -> Member:
    """The image under a name for a platform, with its manifest. Raises NoSuchImage, AmbiguousImage, WrongPlatform."""
    image, via = led(tx, name)
    inside = () if via is None else members(tx, via)
    if platform is None or not inside:
        if platform is not None and not image.platform.matches(platform):
            raise WrongPlatform(name, image.platform, platform)
        own = next((each.manifest for each in inside if each.image.id == image.id), None)
        manifest = own or (via if via is not None and not inside else image.manifest)
        if manifest is None:
            manifest = image.id
        return Member(manifest, image)
    entries = [Descriptor(OCI_MANIFEST, each.manifest, 0, each.image.platform) for each in inside]
    try:
        wanted = choose(entries, platform)
    except NotFound:
        raise PlatformNotProvided(name, platform) from None
    return next(each for each in inside if each.manifest == wanted.digest)


def hidden(tx: sqlite3.Connection) -> set[str]:
    """The images that others stand for."""
    found = tx.execute(
        "SELECT image FROM image_members EXCEPT SELECT image FROM image_indexes EXCEPT SELECT image FROM image_names"
    )
    return {row[0] for row in found}


def needed_by(tx: sqlite3.Connection, image: Digest | str) -> tuple[Reference, ...]:
    """The names of the images that stand for an index in which this one is as well; empty if there is no such index."""
    found = tx.execute(
        "SELECT DISTINCT image_indexes.image FROM image_members JOIN image_indexes ON digest = via"
        " WHERE image_members.image = ?1 AND image_indexes.image != ?1",
        (str(image),),
    )
    return tuple(name for (key,) in found.fetchall() for name in rows.names(tx, key))


def is_part(tx: sqlite3.Connection, image: Digest | str) -> bool:
    """Whether an index for which another stands has this image."""
    return bool(
        tx.execute(
            "SELECT 1 FROM image_members JOIN image_indexes ON digest = via"
            " WHERE image_members.image = ?1 AND image_indexes.image != ?1",
            (str(image),),
        ).fetchone()
    )


def follow(tx: sqlite3.Connection, image: Digest | str) -> list[str]:
    """The images that go when `image` goes: of its indexes, hidden, and in no other index."""
    found = tx.execute(
        "SELECT DISTINCT image_members.image FROM image_members JOIN image_indexes ON digest = via"
        " WHERE image_indexes.image = ?1 AND image_members.image != ?1 AND image_members.image NOT IN"
        " (SELECT inner.image FROM image_members AS inner JOIN image_indexes AS other ON other.digest = inner.via"
        "  WHERE other.image != ?1)",
        (str(image),),
    )
    unseen = hidden(tx)
    return [row[0] for row in found.fetchall() if row[0] in unseen]
