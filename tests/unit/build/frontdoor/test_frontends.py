"""Which frontends are served."""

import pytest

from knarr.build.errors import BuildFailed
from knarr.build.frontdoor import frontends


@pytest.mark.parametrize(
    ("frontend", "image"),
    [
        ("dockerfile.v0", ""),
        ("gateway.v0", "docker/dockerfile:1"),
        ("gateway.v0", "mirror.example/docker/dockerfile:1.7-labs"),
    ],
)
def test_ours(frontend: str, image: str) -> None:
    frontends.check(frontend, {"source": image})


@pytest.mark.parametrize(
    ("frontend", "image", "why"),
    [
        (
            "gateway.v0",
            "example.org/other",
            "frontend example.org/other is not supported: only docker/dockerfile",
        ),
        ("gateway.v0", "", "is not supported"),
        ("input.v0", "", "frontend input.v0 is not supported by this builder"),
    ],
)
def test_others(frontend: str, image: str, why: str) -> None:
    with pytest.raises(BuildFailed, match=why):
        frontends.check(frontend, {"source": image})
