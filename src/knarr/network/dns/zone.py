"""Who is called what on one network, and what one container sees of all its networks. Pure."""

from collections.abc import Mapping, Sequence


class Zone:
    """The names of one network's endpoints, in lower case. One name may stand for several addresses."""

    def __init__(self) -> None:
        self._addresses: dict[str, dict[str, tuple[str, ...]]] = {}
        self._owners: dict[str, str] = {}
        self._endpoints: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def add(self, endpoint_id: str, addresses: Sequence[str], names: Sequence[str]) -> None:
        """The first of the names is the one that the addresses are told as. Again replaces."""
        self.remove(endpoint_id)
        lower = tuple(dict.fromkeys(name.lower() for name in names))
        mine = tuple(addresses)
        self._endpoints[endpoint_id] = (mine, lower)
        self._owners.update(dict.fromkeys(mine, lower[0]))
        for name in lower:
            self._addresses.setdefault(name, {})[endpoint_id] = mine

    def remove(self, endpoint_id: str) -> None:
        """An endpoint that is not there is no error."""
        addresses, names = self._endpoints.pop(endpoint_id, ((), ()))
        for address in addresses:
            self._owners.pop(address, None)
        for name in names:
            del self._addresses[name][endpoint_id]
            if not self._addresses[name]:
                del self._addresses[name]

    def addresses(self, name: str) -> list[str]:
        """Those of everyone who is called so, of both families."""
        return [address for each in self._addresses.get(name, {}).values() for address in each]

    def owner(self, address: str) -> str | None:
        """The name of the endpoint that has an address."""
        return self._owners.get(address)


class Sight:
    """What a container may ask for: the zones of its networks by the networks' names, and its own links (alias → name)."""

    def __init__(self, zones: Mapping[str, Zone], links: Mapping[str, str]) -> None:
        self.change(zones, links)

    def change(self, zones: Mapping[str, Zone], links: Mapping[str, str]) -> None:
        """The container's networks are others now."""
        self._zones = dict(zones)
        self._links = {alias.lower(): name.lower() for alias, name in links.items()}

    def addresses(self, name: str) -> Sequence[str] | None:
        """By name, or by name and network ("web.front")."""
        name = self._links.get(name, name)
        found = [address for zone in self._zones.values() for address in zone.addresses(name)]
        if not found:
            bare, _, network = name.rpartition(".")
            found = self._zones[network].addresses(bare) if network in self._zones else []
        return found or None

    def name(self, address: str) -> str | None:
        """With the network, as Docker tells it: "web.front"."""
        for network, zone in self._zones.items():
            owner = zone.owner(address)
            if owner is not None:
                return f"{owner}.{network}"
        return None
