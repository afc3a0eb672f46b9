"""Hears when somebody takes rules out of our tables, as a reload of the host's own firewall does, and has them mended.

Our own changes are heard too; `mend` looks first and leaves a whole table alone, so they end here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from knarr.kernel.netlink.netfilter import open_events, read_losses
from knarr.network.plan import NetworkConfig

log = logging.getLogger(__name__)
Mend = Callable[[NetworkConfig], Awaitable[object]]


class Watch:
    """Watches the tables of the networks in `networks`, on the running loop."""

    def __init__(self, networks: dict[str, NetworkConfig], mend: Mend) -> None:
        self._loop = asyncio.get_running_loop()
        self._networks = networks
        self._mend = mend
        self._damaged: set[str] = set()
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
        lost = read_losses(self._socket)
        self._damaged |= set(self._networks) if lost is None else lost & set(self._networks)
        if self._damaged and (self._task is None or self._task.done()):
            self._task = self._loop.create_task(self._work(), name="mend the firewall")

    async def _work(self) -> None:
        while self._damaged:
            config = self._networks.get(self._damaged.pop())
            if config is not None:
                try:
                    await self._mend(config)
                except OSError:
                    log.exception("cannot mend the firewall of network %s", config.name)
