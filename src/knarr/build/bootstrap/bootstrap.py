"""Base images without a registry: from a distribution's own packages, the same bytes each time.

`bootstrap("debian:bookworm", archive)`, `bootstrap("busybox", archive)` or `bootstrap("recipes/nginx.toml", archive)` writes
a docker archive that is also an OCI layout. Blocking; needs root and mmdebstrap (busybox: only busybox-static).
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from knarr.model.digest import Digest


class Bootstrapped(NamedTuple):
    """The name that the archive gives its image, the image's id and its manifest's digest."""

    reference: str
    image: Digest
    manifest: Digest


def bootstrap(name: str, archive: Path, *, report: Callable[[str], None] = lambda line: None) -> Bootstrapped:
    """Makes `name` and writes it to `archive`; `report` gets a line for each step. Raises Invalid, Unavailable."""
    raise NotImplementedError
