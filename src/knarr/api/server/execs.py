"""/exec: processes beside a container's own."""

from knarr.api.server import asking, streams, telling
from knarr.api.server.call import Call, Route
from knarr.api.server.containers import size
from knarr.api.server.errors import message
from knarr.api.server.replies import reply
from knarr.api.spec.containers import ExecCreate, ExecStart
from knarr.loop.http.messages import Response
from knarr.wire import mux


async def create(call: Call) -> Response:
    """POST /containers/{name}/exec"""
    body = await call.json(ExecCreate)
    return reply({"Id": await call.engine.execs.create(call.name, asking.exec_(body))}, 201)


async def start(call: Call) -> Response | None:
    """POST /exec/{name}/start: an error that comes after the head is written into the stream, as dockerd has it."""
    body = await call.json(ExecStart)
    await call.engine.execs.check(call.name)
    console = tuple(body.ConsoleSize or ()) if body.Tty else ()
    console_size = (console[0], console[1]) if len(console) == 2 else (0, 0)
    if body.Detach:
        await call.engine.execs.start(call.name, detach=True, tty=body.Tty, console_size=console_size)
        return Response(200)
    sock, tail = await streams.take_over(call, not body.Tty)
    with sock:
        try:
            await call.engine.execs.start(
                call.name, sock=sock, tail=tail, tty=body.Tty, console_size=console_size
            )
        except Exception as error:
            text = f"{message(error)}\r\n".encode()
            await streams.tell(sock, text if body.Tty else mux.encode(mux.STDOUT, text))
    return None


async def inspect(call: Call) -> Response:
    """GET /exec/{name}/json"""
    return reply(telling.exec_inspect(await call.engine.execs.inspect(call.name)))


async def resize(call: Call) -> Response:
    """POST /exec/{name}/resize"""
    height, width = size(call)
    await call.engine.execs.resize(call.name, width, height)
    return Response(200)


ROUTES = (
    Route("POST", "/containers/{name}/exec", create, lasting=True),
    Route("POST", "/exec/{name}/start", start),
    Route("POST", "/exec/{name}/resize", resize),
    Route("GET", "/exec/{name}/json", inspect),
)
