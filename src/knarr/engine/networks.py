"""Networks as users see them; "bridge", "host" and "none" are predefined."""

from collections.abc import Mapping, Sequence

from knarr.engine.values import Pruned
from knarr.model.system import NetworkView


class Networks:
    """All networks of one engine."""

    async def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[NetworkView]:
        """Without endpoints; filters driver, id, label, name, scope, type, dangling."""
        raise NotImplementedError

    async def inspect(self, name: str) -> NetworkView:
        """With its endpoints. Raises NoSuchNetwork."""
        raise NotImplementedError

    async def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Removes unused user-defined networks."""
        raise NotImplementedError
