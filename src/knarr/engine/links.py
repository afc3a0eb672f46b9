"""--link on the default bridge, which knows no names: the linked containers come as variables and lines of /etc/hosts.

A link is kept as "ID:ALIAS", so that it outlives a change of its target's name. Docker's forms, as in its documentation of
legacy links.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from knarr.engine.errors import NoSuchContainer
from knarr.engine.live import Live, Roster
from knarr.model.container import ContainerSpec
from knarr.model.errors import Conflict, Invalid, KnarrError

_UNTOLD = ("HOME", "PATH")


def legacy(spec: ContainerSpec) -> bool:
    """Whether its links are of this kind: on networks of users' own they are names."""
    return bool(spec.links) and spec.network_mode in ("", "default", "bridge")


def resolve(links: Iterable[str], roster: Roster) -> tuple[str, ...]:
    """NAME[:ALIAS] as ID:ALIAS. Raises Invalid, Conflict."""
    found = []
    for link in links:
        name, _, alias = link.partition(":")
        if not link:
            raise Invalid("empty string specified for links")
        if ":" in alias:
            raise Invalid(f"bad format for links: {link}")
        try:
            target = roster.find(name)
        except NoSuchContainer as error:
            raise Invalid(f"could not get container for {name}: {error}") from None
        if target.spec.network_mode == "host":
            raise Conflict(
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior"
            )
        found.append(f"{target.id}:{alias or target.name}")
    return tuple(found)


def pairs(live: Live, roster: Roster) -> Iterator[tuple[Live, str]]:
    """The containers that it is linked to, with their aliases; those that are gone are left out."""
    if legacy(live.spec):
        for link in live.spec.links:
            key, _, alias = link.partition(":")
            target = roster.get(key)
            if target is not None:
                yield target, alias


def shown(live: Live, roster: Roster) -> tuple[str, ...]:
    """HostConfig.Links as inspect tells them: "/db:/app/store"."""
    if not legacy(live.spec):
        return live.spec.links
    return tuple(f"/{target.name}:/{live.name}/{alias}" for target, alias in pairs(live, roster))


def names(roster: Roster) -> Mapping[str, list[str]]:
    """What containers are called by those that link to them, by their ids."""
    found: dict[str, list[str]] = {}
    for live in roster:
        for target, alias in pairs(live, roster):
            found.setdefault(target.id, []).append(f"/{live.name}/{alias}")
    return found


def without(live: Live, alias: str) -> ContainerSpec:
    """Its specification without one link. Raises NoSuchContainer."""
    rest = tuple(link for link in live.spec.links if link.partition(":")[2] != alias)
    if not legacy(live.spec) or len(rest) == len(live.spec.links):
        raise NoSuchContainer(f"{live.name}/{alias}")
    return replace(live.spec, links=rest)


class CannotLink(KnarrError):
    """The target does not run."""

    def __init__(self, target: str, name: str, alias: str) -> None:
        super().__init__(f"Cannot link to a non running container: /{target} AS /{name}/{alias}")


def addressed(live: Live, roster: Roster) -> list[tuple[Live, str, str]]:
    """Targets, aliases and addresses for a life. Raises CannotLink."""
    found = []
    for target, alias in pairs(live, roster):
        if not target.runs or not target.extra.endpoints:
            raise CannotLink(target.name, live.name, alias)
        found.append((target, alias, _address(target)))
    return found


def hosts(target: Live, alias: str, address: str) -> str:
    """One line of /etc/hosts."""
    called = [alias, target.spec.hostname, *([target.name] if target.name != alias else ())]
    return f"{address}\t{' '.join(called)}"


def environment(live: Live, target: Live, alias: str, address: str) -> list[str]:
    """The variables that tell of one target: its name, its exposed ports, its own variables."""
    prefix = alias.upper().replace("-", "_")
    told = [f"{prefix}_NAME=/{live.name}/{alias}"]
    for number, port in enumerate(sorted(target.spec.exposed_ports)):
        url, word = f"{port.protocol}://{address}:{port.number}", port.protocol.upper()
        if number == 0:
            told.append(f"{prefix}_PORT={url}")
        base = f"{prefix}_PORT_{port.number}_{word}"
        told += [f"{base}={url}", f"{base}_ADDR={address}", f"{base}_PORT={port.number}"]
        told.append(f"{base}_PROTO={port.protocol}")
    entries = (entry for entry in target.spec.environment if entry.partition("=")[0] not in _UNTOLD)
    return [*told, *(f"{prefix}_ENV_{entry}" for entry in entries if "=" in entry)]


def _address(target: Live) -> str:
    first = target.extra.endpoints[0]
    return str(first["address"] or first.get("address6", ""))
