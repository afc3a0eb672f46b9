"""Docker's and Go's words for what goes wrong between a registry and us."""

import errno
from http import HTTPStatus
from typing import Any

from knarr.model.errors import Denied, KnarrError, NotFound, Unauthorized

_DIALLED = {
    errno.ECONNREFUSED: "connect: connection refused",
    errno.EHOSTUNREACH: "connect: no route to host",
    errno.ENETUNREACH: "connect: network is unreachable",
    errno.ETIMEDOUT: "connect: connection timed out",
}
_CERTIFICATES = {
    10: "x509: certificate has expired or is not yet valid",
    18: "x509: certificate signed by unknown authority",
    19: "x509: certificate signed by unknown authority",
    20: "x509: certificate signed by unknown authority",
    21: "x509: certificate signed by unknown authority",
    62: "x509: certificate is not valid for this host name",
}
DENIED = "denied: requested access to the resource is denied"


class RegistryError(KnarrError):
    """The registry refused: its status, the first code and message of its answer."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(f"{code.lower().replace('_', ' ')}: {message}" if code else message)
        self.status = status
        self.code = code


def as_pull(error: RegistryError, name: str, reference: str) -> KnarrError:
    """Docker's words for a refused pull of a manifest."""
    if error.status in (401, 403):
        return NotFound(
            f"pull access denied for {name}, repository does not exist or may require 'docker login': {DENIED}"
        )
    if error.code == "NAME_UNKNOWN":
        return NotFound(f"repository {name} not found: {error}")
    if error.status == 404:
        return NotFound(f"manifest for {reference} not found: manifest unknown: manifest unknown")
    return error


def as_blob(error: RegistryError, name: str) -> KnarrError:
    """The words for a refused blob."""
    return NotFound("unknown blob") if error.status == 404 else as_pull(error, name, name)


def as_push(error: RegistryError) -> KnarrError:
    """Docker's words for a refused push."""
    if error.status == 403 or (error.status == 401 and not error.code):
        return Denied(str(error) if error.code else DENIED)
    return Unauthorized(str(error)) if error.status == 401 else error


def as_login(error: RegistryError, url: str) -> KnarrError:
    """Docker's words for credentials that were refused."""
    if error.status not in (401, 403):
        return error
    if error.code:
        return Unauthorized(str(error))
    return Unauthorized(
        f"login attempt to {url}/v2/ failed with status: {error.status} {HTTPStatus(error.status).phrase}"
    )


def dialled(error: Any, host: str) -> str:
    """Go's words for a connection to `host` that could not be made; `error` is aiohttp's."""
    if isinstance(error, TimeoutError):
        return f"dial tcp {host}: i/o timeout"
    reason = getattr(error, "certificate_error", None) or error.os_error
    verify_code = getattr(reason, "verify_code", None)
    if verify_code is not None:
        said = _CERTIFICATES.get(verify_code, f"x509: {getattr(reason, 'verify_message', reason)}")
        return f"tls: failed to verify certificate: {said}"
    library_reason = str(getattr(reason, "reason", "") or "")
    if "WRONG_VERSION_NUMBER" in library_reason or "PACKET_LENGTH_TOO_LONG" in library_reason:
        return "http: server gave HTTP response to HTTPS client"
    if library_reason:
        return f"remote error: tls: {library_reason.lower().replace('_', ' ')}"
    number = reason.errno
    if number in _DIALLED:
        return f"dial tcp {error.host}:{error.port}: {_DIALLED[number]}"
    if "DNS" in type(error).__name__:
        return f"dial tcp: lookup {error.host}: no such host"
    return f"dial tcp {error.host}:{error.port}: {(reason.strerror or str(reason)).lower()}"
