"""The one table of statuses: kinds of errors to HTTP, and the rows where dockerd's number differs from the kind's."""

import logging
import secrets

from knarr.api.server.replies import reply
from knarr.loop.http.messages import Response
from knarr.model import errors
from knarr.network.errors import PortTaken
from knarr.registry.client.transport import RegistryError

log = logging.getLogger(__name__)

# dockerd: libnetwork's port errors have no class, so they are 500; a command that cannot be executed is a bad request.
_QUIRKS: tuple[tuple[type[Exception], int], ...] = (
    (PortTaken, 500),
    (errors.NoSuchCommand, 400),
    (errors.CannotExecute, 400),
)
_KINDS: tuple[tuple[type[Exception], int], ...] = (
    (errors.Invalid, 400),
    (errors.Unauthorized, 401),
    (errors.Denied, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Unchanged, 304),
    (errors.Unsupported, 501),
    (errors.Unavailable, 503),
)


def status(error: BaseException) -> int:
    """The HTTP status of an error; 500 for what is none of ours. A registry's refusal keeps its own."""
    if isinstance(error, RegistryError) and error.status in (401, 403, 404):
        return error.status
    for kind, number in (*_QUIRKS, *_KINDS):
        if isinstance(error, kind):
            return number
    return 500


def message(error: BaseException) -> str:
    """What the user reads. A bug is logged with an id that the message names."""
    if isinstance(error, errors.KnarrError):
        return str(error)
    number = secrets.token_hex(4)
    log.error("error %s: %r", number, error, exc_info=error)
    if isinstance(error, OSError):
        return f"{error} (see the daemon's log: {number})"
    return f"internal error {number}: {type(error).__name__}: {error}"


def refusal(error: BaseException) -> Response:
    """The whole answer to a request that failed."""
    number = status(error)
    if number == 304:
        return Response(304)
    return reply({"message": message(error)}, number)
