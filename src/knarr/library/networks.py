"""`engine.networks`: made, found, listed, pruned; containers connected to them and disconnected."""

from collections.abc import Mapping, Sequence
from typing import Any

from knarr.api.client.aio import Http
from knarr.library import reading
from knarr.library.container import Container
from knarr.library.feeds import Filters, Made, filters
from knarr.library.values import NetworkDetails, Pruned


class Network:
    """One network; `details` is what was last seen of it."""

    def __init__(self, http: Http, details: NetworkDetails):
        self._http = http
        self.id, self.name, self.details = details.id, details.name, details

    def __repr__(self) -> str:
        return f"<Network {self.name} {self.id[:12]}>"

    async def refresh(self) -> NetworkDetails:
        """Looks again."""
        self.details = reading.read(NetworkDetails, await self._http.ask("GET", f"/networks/{self.id}"))
        return self.details

    async def connect(
        self, container: Container, *, aliases: Sequence[str] = (), ipv4: str = "", ipv6: str = ""
    ) -> None:
        """Running or not."""
        config: dict[str, Any] = {"Aliases": list(aliases)} if aliases else {}
        addresses = {"IPv4Address": ipv4, "IPv6Address": ipv6}
        if ipv4 or ipv6:
            config["IPAMConfig"] = {key: each for key, each in addresses.items() if each}
        body = {"Container": container.id, "EndpointConfig": config}
        await self._http.ask("POST", f"/networks/{self.id}/connect", body=body)
        await container.refresh()

    async def disconnect(self, container: Container, *, force: bool = False) -> None:
        """Running or not."""
        body = {"Container": container.id, "Force": force}
        await self._http.ask("POST", f"/networks/{self.id}/disconnect", body=body)
        await container.refresh()

    async def remove(self) -> None:
        """Raises Denied while containers are in it."""
        await self._http.ask("DELETE", f"/networks/{self.id}")


class Networks:
    """Networks of one engine."""

    def __init__(self, http: Http):
        self._http = http

    def create(
        self,
        name: str,
        *,
        driver: str = "",
        subnet: str = "",
        gateway: str = "",
        internal: bool = False,
        ipv6: bool = False,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Made[Network]:
        """`await` leaves it; `async with` removes it at the end."""
        body: dict[str, Any] = {
            "Name": name,
            "Driver": driver or "bridge",
            "Internal": internal,
            "EnableIPv6": ipv6,
            "Labels": dict(labels or {}),
            "Options": dict(options or {}),
        }
        if subnet:
            asked = {"Subnet": subnet, "Gateway": gateway}
            body["IPAM"] = {"Config": [{key: each for key, each in asked.items() if each}]}

        async def make() -> Network:
            return await self.get((await self._http.ask("POST", "/networks/create", body=body))["Id"])

        return Made(make, Network.remove)

    async def get(self, name: str) -> Network:
        """By name or id. Raises NotFound."""
        return Network(
            self._http, reading.read(NetworkDetails, await self._http.ask("GET", f"/networks/{name}"))
        )

    async def list(self, wanted: Filters = None) -> list[NetworkDetails]:
        """`wanted` are docker's filters."""
        value = await self._http.ask("GET", "/networks", {"filters": filters(wanted)})
        return reading.read(list[NetworkDetails], value)

    async def prune(self, wanted: Filters = None) -> Pruned:
        """Removes those that no container is in."""
        value = await self._http.ask("POST", "/networks/prune", {"filters": filters(wanted)})
        return Pruned(tuple(value.get("NetworksDeleted") or ()), 0)
