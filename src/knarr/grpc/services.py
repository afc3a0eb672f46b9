"""What a server offers: services as tables of methods, by path. Knows no loop.

A handler raises RpcError; what else it raises is a bug, or what a subclass translates.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from knarr.grpc.calls import Metadata
from knarr.grpc.hpack import Header
from knarr.grpc.status import RpcError, Status

T_co = TypeVar("T_co", covariant=True)


class Call(Protocol[T_co]):
    """A call as its handler sees it. What is received are messages of one type; what is sent, of any."""

    @property
    def metadata(self) -> Metadata:
        """What the client said beside its messages."""

    async def receive(self) -> T_co | None:
        """The next message; None at the end."""

    async def receive_many(self) -> Sequence[T_co]:
        """Every message that is here, at least one; none at the end."""

    async def send(self, message: Any) -> None:
        """One message."""

    async def send_many(self, messages: Sequence[Any]) -> None:
        """Messages in one write."""

    async def send_headers(self, metadata: Iterable[Header] = ()) -> None:
        """What the answer says before its first message."""


class Method(NamedTuple):
    """How a call is answered, and what its messages are."""

    handler: Callable[[Any], Awaitable[None]]
    request: Any


class Service:
    """`unary` methods take a request and return a reply; `streaming` ones send and receive themselves."""

    def __init__(self, name: str):
        self._name = name
        self.methods: dict[str, Method] = {}

    def unary(self, method: str, function: Callable[[Any, Any], Awaitable[Any]], request: Any) -> None:
        """`function(request, metadata)` gives the reply."""

        async def answer(stream: Any) -> None:
            asked = await stream.receive()
            if asked is None:
                raise RpcError(Status.INTERNAL, "no request")
            await stream.send(await function(asked, stream.metadata))

        self.streaming(method, answer, request)

    def streaming(self, method: str, function: Callable[[Any], Awaitable[None]], request: Any) -> None:
        """`function(stream)`."""

        async def translated(stream: Any) -> None:
            try:
                await function(stream)
            except RpcError:
                raise
            except Exception as error:
                told = self.told(error)
                if told is None:
                    raise
                raise told from error

        self.methods[f"/{self._name}/{method}"] = Method(translated, request)

    def told(self, error: Exception) -> RpcError | None:
        """An error in gRPC's words; None for one that has none."""
        return None
