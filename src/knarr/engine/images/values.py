"""What the images' facade gives beyond `model.image`."""

from typing import NamedTuple

from knarr.model.image import Removed


class PrunedImages(NamedTuple):
    """What a prune removed, and the bytes of layers that it freed."""

    removed: tuple[Removed, ...]
    space: int
