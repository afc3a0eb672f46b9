"""What tells two images apart, from archives of both: fields of their configurations, layers, and files in those.

Reads archives in the layout that `save` writes (OCI's, with blobs). A layer is called by the line of history that made it.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import IO, Any, NamedTuple

_PIECE = 1 << 20
_SHOWN = 40
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class _Layout:
    """One archive."""

    def __init__(self, archive: tarfile.TarFile):
        self._archive = archive
        self._names = {member.name.removeprefix("./"): member for member in archive}

    def manifests(self) -> dict[str, Mapping[str, Any]]:
        """By platform."""
        found: dict[str, Mapping[str, Any]] = {}
        left = list(self._json("index.json")["manifests"])
        while left:
            each = left.pop(0)
            value = self._json(_path(each["digest"]))
            if each.get("mediaType") in _INDEXES or "manifests" in value:
                left += value["manifests"]
                continue
            platform = each.get("platform") or {}
            found["/".join(filter(None, map(platform.get, ("os", "architecture", "variant"))))] = value
        return found

    def config(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """An image's configuration."""
        return self._json(_path(manifest["config"]["digest"]))

    def blob(self, digest: str) -> IO[bytes]:
        """A blob's bytes."""
        file = self._archive.extractfile(self._names[_path(digest)])
        assert file is not None
        return file

    def _json(self, name: str) -> Mapping[str, Any]:
        file = self._archive.extractfile(self._names[name])
        assert file is not None
        value: Mapping[str, Any] = json.load(file)
        return value


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def differences(first: str, second: str) -> Iterator[str]:
    """A line each; nothing where the archives' images are the same."""
    with tarfile.open(first) as one, tarfile.open(second) as two:
        old, new = _Layout(one), _Layout(two)
        before, after = old.manifests(), new.manifests()
        for platform in sorted({*before, *after}):
            sign = f"{platform}: " if len(before) > 1 else ""
            if platform not in before or platform not in after:
                yield f"{sign}only one of the images has this platform"
                continue
            for line in _image(old, before[platform], new, after[platform]):
                yield f"{sign}{line}"


def _image(old: _Layout, before: Mapping[str, Any], new: _Layout, after: Mapping[str, Any]) -> Iterator[str]:
    ours, theirs = old.config(before), new.config(after)
    names = _makers(ours)
    for number, (one, two) in enumerate(zip_longest(before["layers"], after["layers"])):
        name = f"layer {number + 1}" + (f" ({names[number]})" if number < len(names) else "")
        if one is None or two is None:
            yield f"{name}: only one of the images has it"
        elif one["digest"] != two["digest"]:
            found = [f"{name}: {line}" for line in _layer(old.blob(one["digest"]), new.blob(two["digest"]))]
            yield from found or [f"{name}: the same files, archived otherwise"]
    for line in _fields("config", ours, theirs):
        if not line.startswith("config.rootfs"):
            yield line
    if before.get("annotations") != after.get("annotations"):
        yield from _fields("annotations", before.get("annotations") or {}, after.get("annotations") or {})


def _makers(config: Mapping[str, Any]) -> list[str]:
    """The words that made each layer."""
    made = [each for each in config.get("history") or () if not each.get("empty_layer")]
    texts = [" ".join(str(each.get("created_by", "")).removesuffix("# buildkit").split()) for each in made]
    return [text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…" for text in texts]


def _fields(name: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _fields(f"{name}.{key}", old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, two) in enumerate(zip(old, new, strict=True)):
            yield from _fields(f"{name}[{number}]", one, two)
    elif old != new:
        yield f"{name}: {json.dumps(old)}, and then {json.dumps(new)}"


class _Entry(NamedTuple):
    """What is compared of a file, by the words for it."""

    facts: Mapping[str, object]
    digest: str
    start: bytes


def _layer(old: IO[bytes], new: IO[bytes]) -> Iterator[str]:
    before, after = _entries(old), _entries(new)
    for name in sorted({*before, *after}):
        one, two = before.get(name), after.get(name)
        if one is None or two is None:
            yield f"/{name}: only in the {'second' if one is None else 'first'}"
            continue
        for fact, value in one.facts.items():
            if value != two.facts[fact]:
                yield f"/{name}: {fact} {value}, and then {two.facts[fact]}"
        if one.digest != two.digest:
            yield f"/{name}: other contents{_shown(one.start, two.start)}"
    common = [name for name in before if name in after]
    if common != [name for name in after if name in before]:
        yield "the files are in another order"


def _shown(one: bytes, two: bytes) -> str:
    """Where they part, if that is near and can be read."""
    at = next(
        (at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two))
    )
    begin = max(at - _SHOWN // 2, 0)
    texts = [each[begin : begin + _SHOWN].decode(errors="replace") for each in (one, two)]
    if any("\ufffd" in text for text in texts):
        return f" from byte {at} on"
    return f" from byte {at} on: {texts[0]!r}, and then {texts[1]!r}"


def _entries(file: IO[bytes]) -> dict[str, _Entry]:
    found = {}
    with file, tarfile.open(fileobj=file, mode="r|*") as archive:
        for member in archive:
            start = b""
            digest = hashlib.sha256()
            if member.isreg() and (content := archive.extractfile(member)) is not None:
                while data := content.read(_PIECE):
                    start = start or data
                    digest.update(data)
            facts = {
                "type": member.type.decode(errors="replace"),
                "mode": f"{member.mode:04o}",
                "owner": f"{member.uid}:{member.gid}",
                "time": member.pax_headers.get("mtime") or member.mtime,
                "link": member.linkname,
                "device": f"{member.devmajor}:{member.devminor}",
                "attributes": {
                    key: value for key, value in sorted(member.pax_headers.items()) if "xattr" in key
                },
            }
            found[member.name.removeprefix("./").strip("/")] = _Entry(facts, digest.hexdigest(), start)
    return found
