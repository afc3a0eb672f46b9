"""What clients ask of caches, read from the attributes of `--cache-to` and `--cache-from`, in BuildKit's words. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from knarr.build.errors import BuildFailed
from knarr.build.port import CacheSpec
from knarr.model.errors import Invalid
from knarr.model.reference import Reference

EXPORTS = ("inline", "registry", "local")
IMPORTS = ("registry", "local")
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_COMPRESSIONS = ("uncompressed", "gzip", "estargz", "zstd")


class To(NamedTuple):
    """One export. `all`: every step's layers, not only the results'. `oci`: its media types; `artifact`: an image manifest
    instead of an index. `force`: layers that the build did not make are compressed like that, too. `mounts`: cache mounts go along."""

    kind: str
    ref: Reference | None = None
    dest: str = ""
    all: bool = False
    oci: bool = True
    artifact: bool = True
    compression: str = "gzip"
    level: int | None = None
    force: bool = False
    ignore_error: bool = False
    mounts: bool = False


class From(NamedTuple):
    """One import. `mounts`: cache mounts that this engine lacks come along."""

    kind: str
    name: str
    attrs: Mapping[str, str]
    mounts: bool = False


def exports(specs: Sequence[CacheSpec]) -> list[To]:
    """Raises BuildFailed."""
    seen: set[str] = set()
    wanted: list[CacheSpec] = []
    for spec in specs:
        if spec.type == "inline" and any(each.type == "inline" for each in wanted):
            continue
        if _key(spec) in seen:
            raise BuildFailed(f"duplicate cache exports [{spec.type}]")
        seen.add(_key(spec))
        wanted.append(spec)
    return [_export(spec) for spec in wanted]


def imports(specs: Sequence[CacheSpec]) -> list[From]:
    """Each once, in turn; what is wrong with one is told when it is tried."""
    found: dict[str, From] = {}
    for spec in specs:
        name = _key(spec)
        mounts = spec.attrs.get("mounts", "") in _TRUE
        found.setdefault(name, From(spec.type, name, spec.attrs, mounts))
    return list(found.values())


def listed(attrs: Mapping[str, str]) -> list[CacheSpec]:
    """The imports that a frontend's options name. Raises BuildFailed."""
    text = attrs.get("cache-imports", "")
    try:
        found = [
            CacheSpec(type=str(each["Type"]), attrs=dict(each.get("Attrs") or {}))
            for each in json.loads(text or "[]")
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BuildFailed(f"failed to unmarshal cache-imports ({text}): {error}") from error
    plain = [name for name in attrs.get("cache-from", "").split(",") if name]
    return [*found, *(CacheSpec(type="registry", attrs={"ref": name}) for name in plain)]


def reference(attrs: Mapping[str, str]) -> Reference:
    """Where a registry has the cache. Raises BuildFailed."""
    if not attrs.get("ref"):
        raise BuildFailed("missing ref")
    try:
        return Reference.parse(attrs["ref"]).tagged()
    except Invalid as error:
        raise BuildFailed(f"invalid reference format: {attrs['ref']}") from error


def _export(spec: CacheSpec) -> To:
    if spec.type not in EXPORTS:
        raise BuildFailed(f'unknown cache exporter: "{spec.type}"')
    if spec.type == "inline":
        return To("inline")
    try:
        return _configured(spec)
    except BuildFailed as error:
        raise BuildFailed(f"failed to configure {spec.type} cache exporter: {error}") from None


def _configured(spec: CacheSpec) -> To:
    attrs = spec.attrs
    if spec.type == "local" and not attrs.get("dest"):
        raise BuildFailed("local cache exporter requires dest")
    oci = _flag(attrs, "oci-mediatypes", default=True)
    artifact = _flag(attrs, "image-manifest", default=oci)
    if artifact and not oci:
        raise BuildFailed(
            "invalid configuration for remote cache, OCI mediatypes are required for image-manifest cache format"
        )
    compression = attrs.get("compression", "gzip")
    if compression not in _COMPRESSIONS:
        raise BuildFailed(f"unsupported compression type {compression}")
    if compression == "estargz":
        raise BuildFailed("compression estargz is not supported by this builder")
    if spec.type == "registry":
        _flag(attrs, "registry.insecure", default=False)
    return To(
        spec.type,
        reference(attrs) if spec.type == "registry" else None,
        attrs.get("dest", ""),
        all=attrs.get("mode") == "max",
        oci=oci,
        artifact=artifact,
        compression=compression,
        level=_level(attrs.get("compression-level")),
        force=_flag(attrs, "force-compression", default=False, empty=True),
        ignore_error=attrs.get("ignore-error", "") in _TRUE,
        mounts=_flag(attrs, "mounts", default=False),
    )


def _flag(attrs: Mapping[str, str], name: str, *, default: bool, empty: bool | None = None) -> bool:
    text = attrs.get(name)
    if text is None:
        return default
    if not text and empty is not None:
        return empty
    if text not in (*_TRUE, *_FALSE):
        raise BuildFailed(f'failed to parse {name}: strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in _TRUE


def _level(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        raise BuildFailed(f"non-integer value {text} specified for compression-level") from None


def _key(spec: CacheSpec) -> str:
    """As BuildKit names a cache: a registry's by its reference, others by their kind and a number."""
    if spec.type == "registry" and spec.attrs.get("ref"):
        return spec.attrs["ref"]
    told = json.dumps([spec.type, sorted(spec.attrs.items())]).encode()
    return f"{spec.type}:{int.from_bytes(hashlib.sha256(told).digest()[:8])}"
