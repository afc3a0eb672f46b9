"""What the daemon tells of itself and of its host."""

from knarr.engine.values import DiskUsage, Info, Version


class System:
    """Info, version, disk usage."""

    async def info(self) -> Info:
        """Counts, drivers, host."""
        raise NotImplementedError

    async def version(self) -> Version:
        """Versions of the engine and what it stands on."""
        raise NotImplementedError

    async def disk_usage(self) -> DiskUsage:
        """What images, containers and volumes take."""
        raise NotImplementedError
