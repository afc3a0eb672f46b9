"""The paths of the distribution protocol (OCI distribution spec 1.1, "Endpoints") and its headers, read and written; pure."""

import re
from typing import NamedTuple

from knarr.model.errors import Invalid

NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
DIGEST_HEADER = "Docker-Content-Digest"
UPLOAD_HEADER = "Docker-Upload-UUID"
MANIFEST_LIMIT = 4 << 20
_ROUTE = re.compile(
    r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs/uploads|blobs|tags|referrers)(?:/(?P<rest>[^/]*))?\Z"
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d+)-(\d+)(?:/(?:\d+|\*))?\Z")
_CHALLENGE = re.compile(r'\s*([a-zA-Z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')


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


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """`Range: bytes=a-b` as (first, last) inside `size` bytes; None to send everything (RFC 9110, 14.2).

    Raises Invalid where no byte is inside.
    """
    match = _RANGE.match(header.strip())
    if not match or match[1] == match[2] == "":
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
    """`Content-Range: a-b` of an upload's chunk. Raises Invalid."""
    match = _CONTENT_RANGE.match(header.strip())
    if not match or int(match[2]) < int(match[1]):
        raise Invalid(f"invalid content range {header!r}")
    return int(match[1]), int(match[2])


class Challenge(NamedTuple):
    """One `WWW-Authenticate`: the scheme in lower case and its parameters."""

    scheme: str
    parameters: dict[str, str]


def challenge(header: str) -> Challenge:
    """Reads `Bearer realm="…",service="…",scope="…"` (RFC 9110, 11.6.1); what cannot be read has no parameters."""
    scheme, _, rest = header.strip().partition(" ")
    parameters = {}
    position = 0
    while match := _CHALLENGE.match(rest, position):
        quoted = match[2]
        parameters[match[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match[3]
        position = match.end()
    return Challenge(scheme.lower(), parameters)


def next_link(header: str) -> str:
    """The target of `Link: <…>; rel="next"` (RFC 8288); "" for none."""
    match = re.match(r'\s*<([^>]*)>\s*;\s*rel="?next"?', header)
    return match[1] if match else ""
