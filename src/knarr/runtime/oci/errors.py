"""What knarr-oci says in runc's own words. Messages here are contracts: engines above look for them."""

from knarr.model.errors import Conflict, Invalid, KnarrError, NotFound


class Usage(Invalid):
    """The command line is wrong; the command's help goes before the sentence."""


class ContainerExists(Conflict):
    """The name is taken."""

    def __init__(self) -> None:
        super().__init__("container with given ID already exists")


class NoSuchContainer(NotFound):
    """Nothing of that name below the root."""

    def __init__(self) -> None:
        super().__init__("container does not exist")


class NotRunning(Conflict):
    """The init is gone."""

    def __init__(self) -> None:
        super().__init__("container not running")


class StillRunning(Conflict):
    """It must be stopped first."""

    def __init__(self) -> None:
        super().__init__("unable to destroy container: container still running")


def saying(prefix: str, error: BaseException) -> KnarrError:
    """The error with words before it, its kind kept."""
    kind = (
        type(error)
        if type(error).__init__ is KnarrError.__init__ and isinstance(error, KnarrError)
        else KnarrError
    )
    return kind(f"{prefix}{words(error)}")


def words(error: BaseException) -> str:
    """An error as Go would print it."""
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        reason = reason[:1].lower() + reason[1:]
        path = error.filename2 or error.filename
        return f"{path}: {reason}" if path else reason
    return str(error)
