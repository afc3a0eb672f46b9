"""One store for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.system.images.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A store with an empty registry."""
    opened = await World.open(tmp_path / "store")
    yield opened
    await opened.close()
