"""Events: rows written in the transaction that causes them; the stream is a tail of that table."""

from collections.abc import AsyncIterator

from knarr.engine.values import EventOptions
from knarr.model.system import Event


class Events:
    """The stream of what happens."""

    async def subscribe(self, options: EventOptions) -> AsyncIterator[Event]:
        """Registered when it returns: nothing that happens afterwards is missed. The caller closes the iterator."""
        raise NotImplementedError
