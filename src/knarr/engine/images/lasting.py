"""Layers reach the disk soon after they are known, and nobody waits for it (docs/decisions: what outlives a power failure)."""

import asyncio
import logging

from knarr.kernel.files import syncfs
from knarr.loop.blocking import hop

log = logging.getLogger(__name__)


class Lasting:
    """One synchronisation at a time; all that is wished for during one is served by the next."""

    def __init__(self) -> None:
        self._running = False
        self._again = False

    def wish(self, path: str) -> None:
        """What was written to the file system of `path` by now shall outlive a power failure."""
        if self._running:
            self._again = True
            return
        self._running = True
        hop(syncfs, path).add_done_callback(lambda done: self._done(done, path))

    def _done(self, done: "asyncio.Future[None]", path: str) -> None:
        self._running = False
        if not done.cancelled() and (error := done.exception()) is not None:
            log.warning("cannot synchronise %s: %s", path, error)
        if self._again:
            self._again = False
            self.wish(path)
