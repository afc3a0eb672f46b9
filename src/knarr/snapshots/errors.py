"""What archives and snapshots complain of; standard library only, because the zygote loads it."""

from knarr.model.errors import Conflict, Invalid, NotFound


class BadArchive(Invalid):
    """The tar stream is malformed, cut short, or asks for something that must not be."""


class NotADirectory(Invalid):
    """Something in the way of a path is not a directory."""


class NoSuchPath(NotFound):
    """The path is not in the tree."""


class NoSuchSnapshot(NotFound):
    """No snapshot has this key."""


class NoSuchLayer(NotFound):
    """No layer has this chain id."""


class SnapshotExists(Conflict):
    """The key is taken."""
