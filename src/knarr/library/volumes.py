"""`engine.volumes`: made, found, listed, pruned."""

from collections.abc import Mapping

from knarr.api.client.aio import Http
from knarr.library import reading
from knarr.library.feeds import Filters, Made, filters
from knarr.library.values import Pruned, VolumeDetails


class Volume:
    """One named volume."""

    def __init__(self, http: Http, details: VolumeDetails):
        self._http = http
        self.name, self.details = details.name, details

    def __repr__(self) -> str:
        return f"<Volume {self.name}>"

    async def remove(self, *, force: bool = False) -> None:
        """Raises Conflict while a container uses it."""
        await self._http.ask("DELETE", f"/volumes/{self.name}", {"force": force})


class Volumes:
    """Volumes of one engine."""

    def __init__(self, http: Http):
        self._http = http

    def create(
        self,
        name: str = "",
        *,
        driver: str = "",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Made[Volume]:
        """Without a name the daemon gives it one. `await` leaves it; `async with` removes it at the end."""
        body = {
            "Name": name,
            "Driver": driver,
            "Labels": dict(labels or {}),
            "DriverOpts": dict(options or {}),
        }

        async def make() -> Volume:
            value = await self._http.ask("POST", "/volumes/create", body=body)
            return Volume(self._http, reading.read(VolumeDetails, value))

        return Made(make, Volume.remove)

    async def get(self, name: str) -> Volume:
        """Raises NotFound."""
        return Volume(
            self._http, reading.read(VolumeDetails, await self._http.ask("GET", f"/volumes/{name}"))
        )

    async def list(self, wanted: Filters = None) -> list[VolumeDetails]:
        """`wanted` are docker's filters."""
        value = await self._http.ask("GET", "/volumes", {"filters": filters(wanted)})
        return reading.read(list[VolumeDetails], value.get("Volumes") or [])

    async def prune(self, wanted: Filters = None) -> Pruned:
        """Removes anonymous ones that no container uses; with `{"all": True}` named ones too."""
        value = await self._http.ask("POST", "/volumes/prune", {"filters": filters(wanted)})
        return Pruned(tuple(value.get("VolumesDeleted") or ()), int(value.get("SpaceReclaimed") or 0))
