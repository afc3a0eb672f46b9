"""The kinds of errors, and the few that several rooms raise.

Rooms subclass a kind with a name and a message in Docker's wording; only the edges (`api/server/errors.py`,
`registry/spec/errors.py`, `cli`) know statuses and exit codes. What is not a `KnarrError` or an `OSError` is a bug.
"""


class KnarrError(Exception):
    """The root. `str(error)` is the sentence that a user reads."""


class Invalid(KnarrError):
    """The caller asked for something malformed or impossible (400)."""


class Unauthorized(KnarrError):
    """No or wrong credentials (401)."""


class Denied(KnarrError):
    """Known, and not allowed (403)."""


class NotFound(KnarrError):
    """The named thing does not exist (404)."""


class Conflict(KnarrError):
    """The thing's present state, or another thing, is in the way (409)."""


class Unchanged(KnarrError):
    """Already as asked: not an error for a user (304)."""


class Unsupported(KnarrError):
    """A thing that this build, kernel or machine cannot do (501)."""


class Unavailable(KnarrError):
    """Something outside does not answer now (503)."""


class NoSuchCommand(KnarrError):
    """The container's command does not exist in its root (exit code 127)."""


class CannotExecute(KnarrError):
    """The container's command exists but cannot be executed (exit code 126)."""
