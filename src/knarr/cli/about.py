"""This program's version, for people."""

from knarr.model.version import VERSION


def version() -> str:
    """The package's version."""
    return VERSION
