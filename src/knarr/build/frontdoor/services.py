"""A gRPC service as a table of methods, and the translation of our errors on its way out."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from knarr.build.frontdoor.encoding import failure
from knarr.model.errors import KnarrError

Streamed = Callable[[Stream[Any, Any]], Awaitable[None]]


class Service:
    """`unary` methods take a request and return a reply; `streaming` ones send and receive themselves."""

    def __init__(self, name: str):
        self._name = name
        self._methods: dict[str, Handler] = {}

    def __mapping__(self) -> Mapping[str, Handler]:
        return self._methods

    def unary(
        self, method: str, function: Callable[[Any, Any], Awaitable[Any]], request: type, reply: type
    ) -> None:
        """`function(request, metadata)` gives the reply."""

        async def answer(stream: Stream[Any, Any]) -> None:
            asked = await stream.recv_message()
            if asked is None:
                raise GRPCError(Status.INTERNAL, "no request")
            await stream.send_message(await function(asked, stream.metadata))

        self._add(method, answer, Cardinality.UNARY_UNARY, request, reply)

    def streaming(
        self, method: str, function: Streamed, request: type, reply: type, *, both: bool = False
    ) -> None:
        """`function(stream)`; `both`: the client streams as well."""
        kind = Cardinality.STREAM_STREAM if both else Cardinality.UNARY_STREAM
        self._add(method, function, kind, request, reply)

    def _add(self, method: str, function: Streamed, kind: Cardinality, request: type, reply: type) -> None:
        async def translated(stream: Stream[Any, Any]) -> None:
            try:
                await function(stream)
            except KnarrError as error:
                raise failure(error) from error

        self._methods[f"/{self._name}/{method}"] = Handler(translated, kind, request, reply)
