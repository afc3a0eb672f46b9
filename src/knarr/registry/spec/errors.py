"""The protocol's error codes (OCI distribution spec 1.1, "Error Codes"): kinds to codes and statuses, and back."""

import json
from typing import Any

from knarr.model.errors import (
    Conflict,
    Denied,
    Invalid,
    KnarrError,
    NotFound,
    Unauthorized,
    Unavailable,
    Unsupported,
)


class NameUnknown(NotFound):
    """The repository is not there."""


class ManifestUnknown(NotFound):
    """The manifest is not there."""


class BlobUnknown(NotFound):
    """The blob is not there."""


class UploadUnknown(NotFound):
    """The upload is not there, or ended."""


class NameInvalid(Invalid):
    """The repository's name."""


class DigestInvalid(Invalid):
    """The bytes are not those of the digest."""


class ManifestInvalid(Invalid):
    """The manifest cannot be read, or names what is not there."""


class RangeInvalid(Invalid):
    """A chunk does not follow the last one."""


TABLE: tuple[tuple[type[KnarrError], str, int], ...] = (
    (NameUnknown, "NAME_UNKNOWN", 404),
    (ManifestUnknown, "MANIFEST_UNKNOWN", 404),
    (BlobUnknown, "BLOB_UNKNOWN", 404),
    (UploadUnknown, "BLOB_UPLOAD_UNKNOWN", 404),
    (NameInvalid, "NAME_INVALID", 400),
    (DigestInvalid, "DIGEST_INVALID", 400),
    (ManifestInvalid, "MANIFEST_INVALID", 400),
    (RangeInvalid, "BLOB_UPLOAD_INVALID", 416),
    (Unauthorized, "UNAUTHORIZED", 401),
    (Denied, "DENIED", 403),
    (NotFound, "NAME_UNKNOWN", 404),
    (Invalid, "DIGEST_INVALID", 400),
    (Conflict, "DENIED", 409),
    (Unsupported, "UNSUPPORTED", 405),
    (Unavailable, "TOOMANYREQUESTS", 429),
)


def encode(error: BaseException) -> tuple[int, bytes]:
    """The status and the JSON body for an error; (500, UNKNOWN) for what is none of ours."""
    for kind, code, status in TABLE:
        if isinstance(error, kind):
            return status, body(code, str(error))
    return 500, body("UNKNOWN", "internal error")


def body(code: str, message: str) -> bytes:
    """The JSON of one error."""
    return json.dumps({"errors": [{"code": code, "message": message, "detail": None}]}).encode()


def decode(data: bytes) -> tuple[str, str]:
    """(code, message) of the first error in a body; ("", "") for anything else."""
    try:
        value: Any = json.loads(data)
        first = value["errors"][0]
        return str(first.get("code") or ""), str(first.get("message") or "")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return "", ""
