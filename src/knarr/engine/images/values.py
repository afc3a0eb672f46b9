"""What the images' facade gives beyond `model.image`."""

from typing import NamedTuple

from knarr.model.image import Removed


class SearchResult(NamedTuple):
    """One line of `docker search`."""

    name: str
    description: str
    stars: int
    official: bool
    automated: bool


class PrunedImages(NamedTuple):
    """What a prune removed, and the bytes of layers that it freed."""

    removed: tuple[Removed, ...]
    space: int
