"""The firewall of this room: the tables of `rules` in the kernel. Blocking; callers lock."""

import errno
from collections.abc import Iterable
from typing import Any

from knarr.kernel.nftables import Nftables, NftablesMissing
from knarr.network import rules
from knarr.network.errors import FirewallMissing
from knarr.network.plan import EndpointPlan, NetworkConfig, elements


class Firewall:
    """Works in the network namespace of the thread that made it. Raises FirewallMissing without libnftables."""

    def __init__(self) -> None:
        try:
            self._nft = Nftables()
        except NftablesMissing as error:
            raise FirewallMissing(error.strerror) from error

    def close(self) -> None:
        """Frees the library's context."""
        self._nft.close()

    def ensure(self, config: NetworkConfig, plans: Iterable[EndpointPlan]) -> None:
        """Loads the network's table and puts the elements of `plans` there, in one transaction."""
        text = rules.ruleset(config) + "".join(self._adding(plan) for plan in plans)
        present = self._in_docker_user(config)
        if present is not None and len(present) < len(rules.docker_user(config)):
            text += _without(present) + "".join(rules.docker_user(config))
        try:
            self._nft.run(text)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EBUSY):
                raise _named(error) from error
            self._nft.run(rules.delete(config) + text)

    def publish(self, plan: EndpointPlan) -> None:
        """Adds the endpoint's elements; one that is there already is not an error."""
        self._nft.run(self._adding(plan))

    def withdraw(self, table: str, pairs: list[tuple[str, str]]) -> None:
        """Deletes elements, those that are there."""
        try:
            self._nft.run(rules.change("delete", table, pairs))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            if len(pairs) > 1:
                for pair in pairs:
                    self.withdraw(table, [pair])

    def whole(self, config: NetworkConfig) -> bool:
        """Whether the table has as many rules as it should."""
        return sum("rule" in each for each in self._table(config)) == rules.count(config)

    def owned(self, config: NetworkConfig) -> list[tuple[str, str, str]]:
        """Every element of the table as (endpoint id, set, element's key)."""
        found: list[tuple[str, str, str]] = []
        for each in self._table(config):
            named = each.get("set") or each.get("map") or {}
            if named.get("name") in rules.SETS:
                keys = (_read(element) for element in named.get("elem", ()))
                found += [(owner, named["name"], key) for owner, key in keys]
        return found

    def remove(self, config: NetworkConfig) -> None:
        """Removes the network's table, if it is there."""
        self._nft.run(rules.delete(config) + _without(self._in_docker_user(config) or []))

    def _table(self, config: NetworkConfig) -> list[dict[str, Any]]:
        try:
            return self._nft.list(f"list table ip {config.table}")
        except OSError as error:
            if error.errno == errno.ENOENT:
                return []
            raise

    def _in_docker_user(self, config: NetworkConfig) -> list[int] | None:
        """The handles of our rules in Docker's chain; None when there is no such chain."""
        try:
            objects = self._nft.list("list chain ip filter DOCKER-USER")
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        found = (each["rule"] for each in objects if "rule" in each)
        return [rule["handle"] for rule in found if rule.get("comment") == config.table]

    def _adding(self, plan: EndpointPlan) -> str:
        return rules.change("add", plan.network.table, elements(plan))


def _without(handles: list[int]) -> str:
    return "".join(f"delete rule ip filter DOCKER-USER handle {handle}\n" for handle in handles)


def _named(error: OSError) -> Exception:
    if error.errno in (errno.EOPNOTSUPP, errno.EPERM):
        return FirewallMissing(f"the kernel refuses nftables: {error.strerror}")
    return error


def _read(element: Any) -> tuple[str, str]:
    """An element as (comment, key in nft's words); a map's element is a pair whose first part is the key."""
    key = element[0] if isinstance(element, list) else element
    comment = ""
    if isinstance(key, dict) and "elem" in key:
        comment = key["elem"].get("comment", "")
        key = key["elem"]["val"]
    parts = key["concat"] if isinstance(key, dict) else [key]
    return comment, " . ".join(str(part) for part in parts)
