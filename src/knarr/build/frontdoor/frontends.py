"""Which frontends are served: the Dockerfile's, by its own name, and by its image's, as clients ask for BUILDKIT_SYNTAX."""

from collections.abc import Mapping

from knarr.build.dockerfile.directives import is_built_in
from knarr.build.errors import BuildFailed

DOCKERFILE = "dockerfile.v0"
_GATEWAY = "gateway.v0"


def check(frontend: str, attrs: Mapping[str, str]) -> None:
    """Raises BuildFailed for any other."""
    image = attrs.get("source", "")
    if frontend == DOCKERFILE or (frontend == _GATEWAY and is_built_in(image)):
        return
    if frontend == _GATEWAY:
        raise BuildFailed(f"frontend {image} is not supported: only docker/dockerfile is built in")
    raise BuildFailed(f"frontend {frontend} is not supported by this builder")
