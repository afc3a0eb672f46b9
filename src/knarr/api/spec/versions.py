"""Versions of the Docker Engine API: which are spoken, and how a request's prefix names one."""

import re
from typing import NamedTuple

from knarr.model.errors import Invalid

_PREFIX = re.compile(r"/v([0-9][0-9.]*)(/.*)\Z", re.DOTALL)


class Version(NamedTuple):
    """Compares as numbers do: 1.9 is older than 1.10."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Reads `1.51`. Raises Invalid."""
        major, _, minor = text.partition(".")
        if not major.isdigit() or not (minor or "0").isdigit() or len(text) > 12:
            raise Invalid(f"invalid API version: {text}")
        return cls(int(major), int(minor or 0))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


LATEST = Version(1, 55)
OLDEST = Version(1, 24)


def split(path: str) -> tuple[str, Version, str]:
    """The prefix's text ("" for none, which means the latest version), its version, and the path behind it.

    Raises Invalid in dockerd's words for a version that is not spoken.
    """
    match = _PREFIX.match(path)
    if not match:
        return "", LATEST, path
    text, rest = match.groups()
    version = Version.parse(text)
    if version < OLDEST:
        raise Invalid(
            f"client version {text} is too old. Minimum supported API version is {OLDEST}, "
            "please upgrade your client to a newer version"
        )
    if version > LATEST:
        raise Invalid(f"client version {text} is too new. Maximum supported API version is {LATEST}")
    return text, version, rest
