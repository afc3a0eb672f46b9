"""Named and anonymous volumes: directories below the data root that outlive containers."""

from collections.abc import Mapping, Sequence

from knarr.engine.values import Pruned
from knarr.model.system import VolumeView


class Volumes:
    """All volumes of one engine."""

    async def create(
        self,
        name: str,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> VolumeView:
        """An empty name makes an anonymous one; an existing one is returned as it is."""
        raise NotImplementedError

    async def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[VolumeView]:
        """By name; filters dangling, driver, label, name."""
        raise NotImplementedError

    async def inspect(self, name: str) -> VolumeView:
        """Raises NoSuchVolume."""
        raise NotImplementedError

    async def remove(self, name: str, force: bool = False) -> None:
        """Raises NoSuchVolume (unless `force`), VolumeInUse."""
        raise NotImplementedError

    async def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Removes unused volumes: the anonymous ones, or with filter all=true each."""
        raise NotImplementedError
