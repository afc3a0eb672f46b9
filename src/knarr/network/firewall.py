"""The firewall of this room: the tables of `rules` in the kernel. Blocking; callers lock."""

import errno
from collections.abc import Iterable, Iterator
from typing import Any

from knarr.kernel.nftables import Nftables, NftablesMissing
from knarr.network import hostrules, rules
from knarr.network.config import NetworkConfig
from knarr.network.errors import FirewallMissing
from knarr.network.plan import Element, EndpointPlan, elements


class Firewall:
    """Works in the network namespace of the thread that made it. Raises FirewallMissing without libnftables.

    `group` is where `admission` hears of connections, 0 where the host's own rules do not matter; `bypass` goes past them.
    """

    def __init__(self, *, bypass: bool = True) -> None:
        try:
            self._nft = Nftables()
        except NftablesMissing as error:
            raise FirewallMissing(error.strerror) from error

        self.group = 0
        self.bypass = bypass

    def close(self) -> None:
        """Frees the library's context."""
        self._nft.close()

    def ensure(self, config: NetworkConfig, plans: Iterable[EndpointPlan]) -> None:
        """Loads the network's tables and puts the elements of `plans` there, in one transaction."""
        text = rules.ruleset(config, self.group) + "".join(self._adding(plan) for plan in plans)
        for family in rules.families(config):
            text += self._in_host_chains(config, family)
        try:
            self._nft.run(text)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EBUSY):
                raise _named(error) from error
            self._nft.run(rules.delete(config) + text)

    def publish(self, plan: EndpointPlan) -> None:
        """Adds the endpoint's elements; one that is there already is not an error."""
        text = self._adding(plan)
        if text:
            self._nft.run(text)

    def exchange(self, plan: EndpointPlan, gone: list[Element]) -> None:
        """Deletes elements and adds the endpoint's in one transaction, so that a port changes hands at once."""
        table = plan.network.table
        try:
            self._nft.run(rules.change("delete", table, gone) + self._adding(plan))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            self.withdraw(table, gone)
            self.publish(plan)

    def withdraw(self, table: str, gone: list[Element]) -> None:
        """Deletes elements, those that are there."""
        if not gone:
            return
        try:
            self._nft.run(rules.change("delete", table, gone))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            if len(gone) > 1:
                for each in gone:
                    self.withdraw(table, [each])

    def whole(self, config: NetworkConfig) -> bool:
        """Whether the tables have as many rules as they should."""
        return sum("rule" in each for _, each in self._tables(config)) == rules.count(config, self.group)

    def owned(self, config: NetworkConfig) -> list[tuple[str, Element]]:
        """Every element of the tables with the endpoint's id."""
        found: list[tuple[str, Element]] = []
        for family, each in self._tables(config):
            named = each.get("set") or each.get("map") or {}
            if named.get("name") in rules.SETS:
                keys = (_read(element) for element in named.get("elem", ()))
                found += [(owner, Element(family, named["name"], key)) for owner, key in keys]
        return found

    def remove(self, config: NetworkConfig) -> None:
        """Removes the network's tables, if they are there."""
        text = rules.delete(config)
        for family in rules.families(config):
            text += "".join(_without(*each) for each in self._marked(config, family))
        self._nft.run(text)

    def guarded(self) -> bool:
        """Whether the host has a firewall of its own (see `hostrules`). A context keeps what it saw last: not a whole ruleset."""
        once = Nftables()
        try:
            return hostrules.guarded(once.list("list ruleset", terse=True))
        finally:
            once.close()

    def _tables(self, config: NetworkConfig) -> Iterator[tuple[str, dict[str, Any]]]:
        for family in rules.families(config):
            try:
                objects = self._nft.list(f"list table {family} {config.table}")
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
                continue
            yield from ((family, each) for each in objects)

    def _in_host_chains(self, config: NetworkConfig, family: str) -> str:
        """What lets the bridge through chains of others: Docker's own, or without it and where the host's rules are not obeyed, FORWARD."""
        for chain in ("DOCKER-USER", *(("FORWARD",) if self.bypass else ())):
            present = self._handles(config, family, chain)
            wanted = rules.host_chains(config, chain, family)
            if present is not None:
                missing = len(present) < len(wanted)
                return _without(family, chain, present) + "".join(wanted) if missing else ""
        return ""

    def _marked(self, config: NetworkConfig, family: str) -> Iterator[tuple[str, str, list[int]]]:
        for chain in ("DOCKER-USER", "FORWARD"):
            present = self._handles(config, family, chain)
            if present:
                yield family, chain, present

    def _handles(self, config: NetworkConfig, family: str, chain: str) -> list[int] | None:
        """The handles of our rules in a chain of the host's; None when there is no such chain."""
        try:
            objects = self._nft.list(f"list chain {family} filter {chain}")
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        found = (each["rule"] for each in objects if "rule" in each)
        return [rule["handle"] for rule in found if rule.get("comment") == config.table]

    def _adding(self, plan: EndpointPlan) -> str:
        return rules.change("add", plan.network.table, elements(plan))


def _without(family: str, chain: str, handles: list[int]) -> str:
    return "".join(f"delete rule {family} filter {chain} handle {handle}\n" for handle in handles)


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
