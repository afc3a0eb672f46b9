"""Content digests: `sha256:<hex>` (OCI image spec, descriptor.md, "Digests")."""

import hashlib
import re
from typing import NamedTuple

from knarr.model.errors import Invalid

_LENGTHS = {"sha256": 64, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+\Z")


class Digest(NamedTuple):
    """An algorithm and its lower-case hex; `str()` gives `algorithm:hex`."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Raises Invalid for anything but a full sha256 or sha512 digest."""
        algorithm, colon, hexadecimal = text.partition(":")
        if not colon or len(hexadecimal) != _LENGTHS.get(algorithm, -1) or not _HEX.match(hexadecimal):
            raise Invalid(f"invalid digest {text!r}")
        return cls(algorithm, hexadecimal)

    @classmethod
    def of(cls, data: bytes) -> "Digest":
        """The sha256 digest of `data`."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    @property
    def short(self) -> str:
        """The first 12 hex digits, as docker shows ids."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
