"""A shim on its way: between its order and its first word."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from knarr.engine.shims import Shim, attachment
from knarr.loop.packets import PacketChannel


class Birth:
    """What is said here is heard before its hello. What it raises, `shim` raises."""

    def __init__(
        self,
        channel: PacketChannel,
        answered: Callable[[Callable[[PacketChannel], None]], Awaitable[Shim]],
    ):
        self._channel, self._answered = channel, answered
        self._said: list[tuple[Mapping[str, Any], Sequence[int]]] = []
        self._outcome: Shim | Exception | None = None

    def attach(self, sock_fd: int, **options: Any) -> None:
        """As Shim.attach; not with a terminal. The descriptor must stay open until `shim` has returned."""
        self._say({"do": "attach", **attachment(**options)}, [sock_fd])

    def start(self) -> None:
        """Opens the gate as soon as the init is there: `shim` returns when the program runs."""
        self._say({"do": "start"}, ())

    def _say(self, request: Mapping[str, Any], fds: Sequence[int]) -> None:
        message = {"id": 0, **request}
        self._said.append((message, fds))
        self._channel.post(message, fds)

    def _repeat(self, channel: PacketChannel) -> None:
        for message, fds in self._said:
            channel.post(message, fds)
        self._channel = channel

    async def shim(self) -> Shim:
        """Waits for its first word; again, the same outcome. Raises as `Zygote.launch` says."""
        if self._outcome is None:
            try:
                self._outcome = await self._answered(self._repeat)
            except Exception as error:
                self._outcome = error
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome
