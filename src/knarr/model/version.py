"""This program's version, found without the cost of importlib.metadata; a test holds it against pyproject.toml."""

VERSION = "0.1.0"
