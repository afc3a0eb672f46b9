"""This program's version, found without the cost of importlib.metadata."""

VERSION = "0.1.0"


def version() -> str:
    """The package's version; a test holds it against pyproject.toml."""
    return VERSION
