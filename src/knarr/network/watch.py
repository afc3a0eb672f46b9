"""Hears when somebody takes rules out of our tables, as a reload of the host's own firewall does, and has them mended; and when
the tables of others change, and has the host's own firewall looked for.

Our own changes are heard too; `mend` looks first and leaves a whole table alone, so they end here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from knarr.kernel.netlink.netfilter import open_events, read_news
from knarr.model.errors import KnarrError
from knarr.network.config import NetworkConfig

log = logging.getLogger(__name__)
Mend = Callable[[NetworkConfig], Awaitable[object]]
Look = Callable[[], Awaitable[object]]
_OWN = "knarr-"
_SETTLING = 0.1
"""Changes of a ruleset come in swarms."""


class Watch:
    """Watches the tables of the networks in `networks`, on the running loop. Without `look` others' tables do not matter."""

    def __init__(self, networks: Mapping[str, NetworkConfig], mend: Mend, look: Look | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._networks = networks
        self._mend = mend
        self._look = look
        self._damaged: set[str] = set()
        self._news = False
        self._task: asyncio.Task[None] | None = None
        self._socket = open_events()
        self._loop.add_reader(self._socket, self._hear)

    def close(self) -> None:
        """Stops listening."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        if self._task is not None:
            self._task.cancel()

    def _hear(self) -> None:
        news = read_news(self._socket)
        known = {config.table for config in self._networks.values() if config.bridged}
        self._damaged |= known if news is None else news.lost & known
        if self._look is not None:
            self._news |= news is None or any(not table.startswith(_OWN) for table in news.other)
        if (self._damaged or self._news) and (self._task is None or self._task.done()):
            self._task = self._loop.create_task(self._work(), name="mend the firewall")

    async def _work(self) -> None:
        while self._damaged or self._news:
            if self._news and self._look is not None:
                await asyncio.sleep(_SETTLING)
                self._news = False
                await self._safely(self._look(), "cannot look at the host's firewall")
            elif self._damaged:
                table = self._damaged.pop()
                for config in [
                    each for each in self._networks.values() if each.table == table and each.bridged
                ]:
                    await self._safely(
                        self._mend(config), f"cannot mend the firewall of network {config.name}"
                    )

    async def _safely(self, work: Awaitable[object], failure: str) -> None:
        try:
            await work
        except (OSError, KnarrError):
            log.exception("%s", failure)
