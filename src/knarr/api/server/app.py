"""The Engine API as one handler for the HTTP server: versions, routes, headers, errors.

Translation only: the engine decides. Use: `api = Api(engine); server = Server(api.handle)`, at the end `await api.close()`.
"""

import asyncio
import logging

from knarr.api.server import (
    archive,
    building,
    containers,
    elsewhere,
    events,
    execs,
    images,
    networks,
    stats,
    system,
    transfers,
    volumes,
    websocket,
)
from knarr.api.server.call import Call, Login, Route
from knarr.api.server.errors import message, refusal
from knarr.api.server.replies import reply
from knarr.api.spec import history, versions
from knarr.api.spec.others import Credentials
from knarr.engine.engine import Engine
from knarr.loop.http.messages import ClientGone, Request, Response
from knarr.loop.http.routing import Router
from knarr.loop.tasks import Tasks
from knarr.model.errors import Invalid, Unsupported

log = logging.getLogger(__name__)

NOUNS = (
    containers,
    websocket,
    stats,
    archive,
    execs,
    images,
    transfers,
    volumes,
    networks,
    system,
    events,
    building,
    elsewhere,
)


async def _no_login(_: str, __: Credentials) -> None:
    raise Unsupported("this daemon cannot reach registries")


class Api:
    """Serves one engine. `login(registry's host, credentials)` tries credentials, and raises what the registry says."""

    def __init__(self, engine: Engine, login: Login = _no_login, server: str = "knarr"):
        self._engine = engine
        self._login = login
        self._headers = {
            "Api-Version": str(versions.LATEST),
            "Docker-Experimental": "false",
            "Ostype": "linux",
            "Server": f"{server} (linux)",
        }
        self._lasting = Tasks("the API")
        self._router: Router[Route] = Router()
        for noun in NOUNS:
            for route in noun.ROUTES:
                self._router.add(route.method, route.path, route)

    async def handle(self, request: Request) -> Response | None:
        """Answers one request; None if its connection was taken over."""
        try:
            response = await self._answer(request)
        except (asyncio.CancelledError, ClientGone):
            raise
        except Exception as error:
            response = refusal(error)
            if response.status >= 500:
                log.warning("%s %s: %s", request.method, request.path, error)
        if response is not None:
            response.headers = {**self._headers, **response.headers}
        return response

    async def _answer(self, request: Request) -> Response | None:
        try:
            _, version, path = versions.split(request.path)
        except Invalid as error:
            if "too old" in str(error):
                # Clients that old expect plain text.
                return Response(
                    400, f"{message(error)}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"}
                )
            raise
        route, request.params, _ = self._router.find(request.method, path)
        if route is None:
            return reply({"message": "page not found"}, 404)
        history.check_operation(request.method, route.path, version)
        history.forget_parameters(request.method, route.path, version, request.query)
        call = Call(self._engine, request, version, self._login)
        if not route.lasting:
            return await route.handler(call)
        return await asyncio.shield(self._lasting.start(_run(route, call), f"{request.method} {path}"))

    async def close(self) -> None:
        """Waits for what was begun and must not be cut."""
        await self._lasting.drain()
        await self._lasting.close()


async def _run(route: Route, call: Call) -> Response | None:
    try:
        return await route.handler(call)
    except ClientGone:
        raise
    except Exception as error:
        return refusal(error)
