"""What an exporter of images was asked for, read once: names, annotations, compression, media types. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from knarr.build.errors import BuildFailed
from knarr.build.port import Exporter
from knarr.model.errors import Invalid
from knarr.model.platform import Platform
from knarr.model.reference import Reference

_ANNOTATION = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)\Z")
_LEVELS = ("manifest", "manifest-descriptor", "index", "index-descriptor")
_COMPRESSIONS = ("gzip", "zstd", "uncompressed")
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_NUMBER = re.compile(r"[+-]?\d+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How layers are compressed. Without `force` only those that a build made itself, if they are not so already."""

    kind: str = "gzip"
    level: int | None = None
    force: bool = False

    @property
    def plain(self) -> bool:
        """Whether layers stay as they were made."""
        return self.kind == "gzip" and not self.force


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """By level: of the manifests and their descriptors for all platforms or one (`""`), of the index and its descriptor."""

    given: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)

    def manifest(self, level: str, platform: Platform | None) -> dict[str, str]:
        """Those for one platform's."""
        return {**self.given.get((level, ""), {}), **self.given.get((level, str(platform or "")), {})}

    def index(self, level: str) -> dict[str, str]:
        """Those for the index, whatever platform they were given for."""
        return {
            key: value
            for (each, _), pairs in sorted(self.given.items())
            if each == level
            for key, value in pairs.items()
        }

    @property
    def need_oci(self) -> bool:
        """Whether Docker's media types have no place for them."""
        return any(level != "manifest" for level, _ in self.given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """One exporter's. `oci` None: nothing was said of media types."""

    names: tuple[Reference, ...] = ()
    push: bool = False
    by_digest: bool = False
    store: bool = True
    canonical: bool = False
    archived: bool = True
    dangling: str = ""
    oci: bool | None = None
    inline: bool = False
    compression: Compression = field(default_factory=Compression)
    annotations: Annotations = field(default_factory=Annotations)


def choices(exporter: Exporter) -> Choices:
    """Raises BuildFailed."""
    attrs = exporter.attrs
    _flag(attrs, "unpack")
    _flag(attrs, "rewrite-timestamp")
    _flag(attrs, "registry.insecure")
    found = Choices(
        names=tuple(_reference(name) for name in attrs.get("name", "").split(",") if name and name != "*"),
        push=_flag(attrs, "push") or _flag(attrs, "push-by-digest"),
        by_digest=_flag(attrs, "push-by-digest"),
        store=_flag(attrs, "store", default=True),
        canonical=_flag(attrs, "name-canonical"),
        archived=_flag(attrs, "tar", default=True),
        dangling=attrs.get("dangling-name-prefix", ""),
        oci=_flag(attrs, "oci-mediatypes") if attrs.get("oci-mediatypes") else None,
        inline=_flag(attrs, "attestation-inline"),
        compression=_compression(attrs),
        annotations=_annotations(attrs),
    )
    for name in attrs.get("name", "").split(",") if found.by_digest else ():
        if name and Reference.parse(name).tag:
            raise BuildFailed(f"can't push tagged ref {Reference.parse(name)} by digest")
    if found.oci is False:
        if found.compression.kind == "zstd":
            raise BuildFailed('exporter option "compression=zstd" conflicts with "oci-mediatypes=false"')
        if found.annotations.need_oci:
            raise BuildFailed('cannot export annotations with "oci-mediatypes=false"')
    return found


def _reference(text: str) -> Reference:
    try:
        return Reference.parse(text).tagged()
    except Invalid as error:
        raise BuildFailed(f"invalid reference format: {text}") from error


def _flag(attrs: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    text = attrs.get(name, "")
    if not text:
        return default
    if text not in (*_TRUE, *_FALSE):
        raise BuildFailed(
            f'non-bool value specified for {name}: strconv.ParseBool: parsing "{text}": invalid syntax'
        )
    return text in _TRUE


def _compression(attrs: Mapping[str, str]) -> Compression:
    kind = attrs.get("compression") or "gzip"
    if kind == "estargz":
        raise BuildFailed("exporter option compression=estargz is not supported by this builder")
    if kind not in _COMPRESSIONS:
        raise BuildFailed(f"unsupported compression type {kind}")
    level = attrs.get("compression-level", "")
    if level and not _NUMBER.match(level):
        raise BuildFailed(
            f'non-int value {level} specified for compression-level: strconv.ParseInt: parsing "{level}":'
            " invalid syntax"
        )
    return Compression(
        kind=kind, level=int(level) if level else None, force=_flag(attrs, "force-compression")
    )


def _annotations(attrs: Mapping[str, str]) -> Annotations:
    given: dict[tuple[str, str], dict[str, str]] = {}
    for name, value in attrs.items():
        if not name.startswith("annotation"):
            continue
        found = _ANNOTATION.match(name)
        if found is None:
            raise BuildFailed(f"invalid annotation key {name}")
        level = found[1] or "manifest"
        if level not in _LEVELS:
            raise BuildFailed(f"unrecognized annotation type {level}")
        try:
            platform = str(Platform.parse(found[2])) if found[2] else ""
        except Invalid as error:
            raise BuildFailed(str(error)) from error
        given.setdefault((level, platform), {})[found[3]] = value
    return Annotations(given=given)


def check_platforms(annotations: Annotations, platforms: Sequence[Platform]) -> None:
    """Raises BuildFailed for an annotation of a platform that is not built."""
    known = {str(each) for each in platforms}
    for _, platform in annotations.given:
        if platform and platform not in known:
            raise BuildFailed(f"invalid annotation: no platform {platform} found in source")
