"""What goes wrong with images, by name and in Docker's words."""

from knarr.model.errors import Conflict, Invalid, NotFound
from knarr.model.platform import Platform


class NoSuchImage(NotFound):
    """No name, id or unique prefix of an id is like this."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No such image: {name}")


class AmbiguousImage(Invalid):
    """Several ids begin like this."""

    def __init__(self, prefix: str) -> None:
        super().__init__(f"image id prefix {prefix} is ambiguous")


class NoMatchingPlatform(NotFound):
    """The registry has the image, but not for this platform."""


class WrongPlatform(NotFound):
    """The image is here, but not for this platform."""

    def __init__(self, name: str, mine: Platform, wanted: Platform) -> None:
        super().__init__(
            f"image with reference {name} was found but its platform ({mine}) does not match the specified platform ({wanted})"
        )


class PlatformNotProvided(NotFound):
    """The image is here, for other platforms."""

    def __init__(self, name: str, wanted: Platform) -> None:
        super().__init__(
            f"image with reference {name} was found but does not provide the specified platform ({wanted})"
        )


class BadImage(Invalid):
    """A manifest, a configuration or an archive is not what an image can be made of."""


class ImageInUse(Conflict):
    """Containers or names are in the way of a removal."""
