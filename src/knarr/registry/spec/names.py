"""The paths of the distribution protocol (OCI distribution spec 1.1, "Endpoints") and its headers, read and written; pure.

Headers come from anyone: what cannot be read is Invalid, or counts as absent where the RFC says so; never a crash.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

from knarr.model.errors import Invalid

NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\Z")
DIGEST_HEADER = "Docker-Content-Digest"
UPLOAD_HEADER = "Docker-Upload-UUID"
VERSION_HEADER = "Docker-Distribution-Api-Version"
MANIFEST_LIMIT = 4 << 20
_ROUTE = re.compile(
    r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs/uploads|blobs|tags|referrers)(?:/(?P<rest>[^/]*))?\Z"
)
_NUMBER = "[0-9]{1,18}"
_RANGE = re.compile(rf"bytes=({_NUMBER})?-({_NUMBER})?\Z", re.IGNORECASE)
_CHUNK = re.compile(rf"(?:bytes[ =])?({_NUMBER})-({_NUMBER})(?:/(?:{_NUMBER}|\*))?\Z")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:[ \t]+|\Z|(?=,))")
_PARAMETER = re.compile(rf'[\s,]*({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')
_LINK = re.compile(r"[\s,]*<([^>]*)>((?:[ \t]*;[ \t]*[^;,\"]*(?:\"[^\"]*\")?)*)")
_NEXT = re.compile(
    r';[ \t]*rel[ \t]*=[ \t]*(?:"(?:[^"]* )?next(?: [^"]*)?"|next[ \t]*(?:;|\Z))', re.IGNORECASE
)


class Target(NamedTuple):
    """What a path below /v2/ names: `kind` is "manifests", "blobs", "blobs/uploads", "tags" or "referrers"."""

    name: str
    kind: str
    rest: str


def target(path: str) -> Target | None:
    """None for a path that the protocol does not have."""
    match = _ROUTE.match(path)
    if not match:
        return None
    return Target(match["name"], match["kind"], match["rest"] or "")


def check_name(name: str) -> str:
    """Raises Invalid for what is no repository name."""
    if len(name) > 255 or not NAME.match(name):
        raise Invalid(f"invalid repository name {name!r}")
    return name


def number(text: str) -> int | None:
    """A count in a query or a header; None for anything else."""
    return int(text) if re.fullmatch(_NUMBER, text) else None


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """`Range: bytes=a-b` as (first, last) inside `size` bytes; None to send everything (RFC 9110, 14.2).

    Raises Invalid where no byte is inside.
    """
    match = _RANGE.match(header.strip())
    if not match or match[1] is match[2] is None:
        return None
    if match[1]:
        first, last = int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)
    else:
        first, last = max(size - int(match[2]), 0), size - 1
    if match[1] and match[2] and int(match[2]) < int(match[1]):
        return None
    if first > last or first >= size:
        raise Invalid("range not satisfiable")
    return first, last


def content_range(header: str) -> tuple[int, int]:
    """`Content-Range: a-b` of an upload's chunk, or `bytes a-b/size` of an answer. Raises Invalid."""
    match = _CHUNK.match(header.strip())
    if not match or int(match[2]) < int(match[1]):
        raise Invalid(f"invalid content range {header!r}")
    return int(match[1]), int(match[2])


def received(header: str) -> int | None:
    """How many bytes an upload has by its answer's `Range: 0-b`; None if it does not say.

    `0-0` is one byte, or none: the protocol cannot tell them apart, so it counts as not said.
    """
    try:
        first, last = content_range(header)
    except Invalid:
        return None
    return last + 1 if first == 0 and last > 0 else None


class Challenge(NamedTuple):
    """One `WWW-Authenticate`: the scheme in lower case and its parameters, their names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def challenges(header: str) -> list[Challenge]:
    """Reads `Bearer realm="…",service="…",scope="…", Basic realm="…"` (RFC 9110, 11.6.1) up to what cannot be read."""
    found: list[Challenge] = []
    position = 0
    while match := _SCHEME.match(header, position):
        parameters: dict[str, str] = {}
        position = match.end()
        while parameter := _PARAMETER.match(header, position):
            quoted = parameter[2]
            parameters.setdefault(
                parameter[1].lower(),
                re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted is not None else parameter[3],
            )
            position = parameter.end()
        found.append(Challenge(match[1].lower(), parameters))
        if position >= len(header):
            break
    return found


def challenge(header: str) -> Challenge:
    """The challenge to answer: Bearer before Basic; one without scheme if there is neither."""
    known = {each.scheme: each for each in reversed(challenges(header))}
    return known.get("bearer") or known.get("basic") or Challenge("", {})


def next_link(header: str) -> str:
    """The target of `Link: <…>; rel="next"` (RFC 8288); "" for none."""
    position = 0
    while match := _LINK.match(header, position):
        if _NEXT.search(match[2]):
            return match[1]
        position = match.end()
    return ""


def link(path: str, query: Mapping[str, str]) -> str:
    """The Link header to the next page."""
    return f'<{quote(path)}?{urlencode(query)}>; rel="next"'
