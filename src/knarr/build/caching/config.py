"""BuildKit's cache configuration, version 0: JSON that links keys to layers (application/vnd.buildkit.cacheconfig.v0).

A record is a key, the records that it is built on, and layers by their number, each with its parents. What a step of ours
gives has a record too, linked to the step's keys by `GIVES` and named by its layer's DiffID: so a cache that lacks the layer
still tells what it would be. Reading trusts nothing: whatever is wrong with a number, a link or a digest is BadCache.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from knarr.build.errors import BuildFailed
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest
from knarr.model.errors import Invalid

MEDIA_TYPE = "application/vnd.buildkit.cacheconfig.v0"
INLINE = "moby.buildkit.cache.v0"
UNCOMPRESSED = "containerd.io/uncompressed"
GIVES = f"sha256:{hashlib.sha256(b'knarr: the layer that a step gives').hexdigest()}"
NEVER = "0001-01-01T00:00:00Z"
_KEY = re.compile(r"[0-9a-f]{64}\Z")


class BadCache(BuildFailed):
    """A cache that cannot be read."""


class Layer(msgspec.Struct, omit_defaults=True):
    """One blob, and the number of the layer below; -1 for none."""

    blob: str = ""
    parent: int = 0


class Result(msgspec.Struct, rename="camel"):
    """A layer with all that is below it."""

    layer: int
    created_at: str = NEVER


class Chain(msgspec.Struct, rename="camel"):
    """Layers one by one, whatever their parents."""

    layers: list[int]
    created_at: str = NEVER


class Link(msgspec.Struct, omit_defaults=True):
    """The number of a record; `selector` says which part of it."""

    link: int
    selector: str = ""


class Record(msgspec.Struct, omit_defaults=True):
    """A key. `inputs`: for each of its inputs the records that it may be."""

    layers: list[Result] = []
    chains: list[Chain] = []
    digest: str = ""
    inputs: list[list[Link]] = []


class Config(msgspec.Struct, omit_defaults=True):
    """The whole."""

    layers: list[Layer] = []
    records: list[Record] = []


class Known(NamedTuple):
    """What a cache has under a key: the layer that the step gives, its blob where it can be had, and the step's exact key."""

    diff: Digest
    blob: Descriptor | None
    exact: str


_config = msgspec.json.Decoder(Config)
_records = msgspec.json.Decoder(list[Record])


def dump(config: "Config | Sequence[Record]") -> bytes:
    """As BuildKit's encoder writes it; records alone stand inside an image's configuration."""
    return msgspec.json.encode(config)


def read(data: bytes, blobs: Mapping[str, Descriptor]) -> dict[str, Known]:
    """A configuration's keys; `blobs` are those that its manifest has. Raises BadCache."""
    try:
        config = _config.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise BadCache(f"invalid cache config: {error}") from None
    return _known(config, blobs)


def read_inline(data: bytes, layers: Sequence[Descriptor]) -> dict[str, Known]:
    """The keys inside an image's configuration; `layers` are the image's, each with its DiffID. Raises BadCache."""
    try:
        records = _records.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise BadCache(f"invalid inline cache: {error}") from None
    numbered = [Layer(str(layer.digest), number - 1) for number, layer in enumerate(layers)]
    return _known(Config(numbered, records), {str(layer.digest): layer for layer in layers})


def _known(config: Config, blobs: Mapping[str, Descriptor]) -> dict[str, Known]:
    _check_layers(config.layers)
    _check_records(config)
    diffs, exact = _gives(config.records)
    found: dict[str, Known] = {}
    for number, record in enumerate(config.records):
        key = record.digest.removeprefix("sha256:")
        blob = _blob(config, record, blobs)
        told = diffs.get(number)
        diff = _diff(blob) or told
        if not _KEY.match(key) or diff is None or key in found:
            continue
        if told is not None and told != diff:
            raise BadCache(f"record {number} gives {told}, and its layer is {diff}")
        if blob is not None:  # what a cache notes beside it is not the image's
            blob = Descriptor(blob.media_type, blob.digest, blob.size)
        other = exact.get(number, key)
        found[key] = Known(diff, blob, other if _KEY.match(other) else key)
    return found


def _check_layers(layers: Sequence[Layer]) -> None:
    """Every parent is there, and no layer is below itself."""
    good: set[int] = set()
    for first, layer in enumerate(layers):
        if layer.parent < -1 or layer.parent >= len(layers):
            raise BadCache(f"invalid layer index {layer.parent}")
        seen: list[int] = []
        at = first
        while at != -1 and at not in good:
            if len(seen) > len(layers):
                raise BadCache("invalid looping layer")
            seen.append(at)
            at = layers[at].parent
            if at < -1 or at >= len(layers):
                raise BadCache(f"invalid layer index {at}")
        good.update(seen)


def _check_records(config: Config) -> None:
    """Every number is one that is there, and no record is built on itself."""
    records = config.records
    left: list[int] = []
    users: list[list[int]] = [[] for _ in records]
    for number, record in enumerate(records):
        for result in (*record.layers, *(Result(index) for chain in record.chains for index in chain.layers)):
            if not 0 <= result.layer < len(config.layers):
                raise BadCache(f"invalid layer index {result.layer}")
        waits = 0
        for links in record.inputs:
            if not links:
                raise BadCache(f"invalid empty input for record {number}")
            for link in links:
                if not 0 <= link.link < len(records):
                    raise BadCache(f"invalid record ID: {link.link}")
                users[link.link].append(number)
                waits += 1
        left.append(waits)
    ready = [number for number, waits in enumerate(left) if not waits]
    done = 0
    while ready:
        done += 1
        for user in users[ready.pop()]:
            left[user] -= 1
            if not left[user]:
                ready.append(user)
    if done != len(records):
        raise BadCache("invalid looping record")


def _gives(records: Sequence[Record]) -> tuple[dict[int, Digest], dict[int, str]]:
    """What the records' steps give, and their exact keys."""
    diffs: dict[int, Digest] = {}
    exact: dict[int, str] = {}
    for record in records:
        links = record.inputs[0] if len(record.inputs) == 1 else []
        if not links or any(link.selector != GIVES for link in links):
            continue
        diff = _digest(record.digest)
        first = records[links[0].link].digest.removeprefix("sha256:")
        for link in links:
            if diffs.setdefault(link.link, diff) != diff:
                raise BadCache(f"record {link.link} gives both {diffs[link.link]} and {diff}")
            exact[link.link] = first
    return diffs, exact


def _blob(config: Config, record: Record, blobs: Mapping[str, Descriptor]) -> Descriptor | None:
    """The newest result's topmost layer, if it can be had."""
    results = [(each.created_at, each.layer) for each in record.layers]
    results += [(each.created_at, each.layers[-1]) for each in record.chains if each.layers]
    for _, number in sorted(results, reverse=True):
        blob = blobs.get(config.layers[number].blob)
        if blob is not None:
            return blob
    return None


def _diff(blob: Descriptor | None) -> Digest | None:
    text = "" if blob is None else blob.annotations.get(UNCOMPRESSED, "")
    return _digest(text) if text else None


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except Invalid as error:
        raise BadCache(str(error)) from None
