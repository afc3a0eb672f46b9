"""What can go wrong with the state database."""

from knarr.model.errors import Conflict, KnarrError


class StateTooNew(KnarrError):
    """The file was written by a newer knarr: it is refused, not guessed at."""


class StateFull(KnarrError):
    """The disk has no room for a write, nor had the reserve."""


class Taken(Conflict):
    """A UNIQUE or FOREIGN KEY constraint refused a write; `columns` says which ("containers.name")."""

    def __init__(self, message: str, columns: str):
        super().__init__(message)
        self.columns = columns
