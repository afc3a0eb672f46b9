"""`knarr build --shell-on-fail`: this terminal for the shell in a step that failed; see frontdoor/consoles for the words."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from knarr.build.client.exchange import Answering
from knarr.build.client.turns import Bell, Task
from knarr.build.frontdoor.consoles import SERVICE
from knarr.build.proto.session_pb2 import BytesMessage
from knarr.cli import streams
from knarr.grpc.services import Service

_PIECE = 64 << 10


def console(pause: Callable[[], None], resume: Callable[[], None]) -> Service:
    """Lends the terminal to one step at a time; the display pauses meanwhile."""
    waiting: set[Task] = set()
    busy: list[Answering] = []

    async def enter(stream: Answering) -> None:
        title = unquote(stream.metadata.get("title"))
        while busy:
            await stream.park(waiting)
        busy.append(stream)
        pause()
        print(
            f"\n{title} failed: a shell where it ran; its exit ends the build.",
            file=sys.stderr,
            flush=True,
        )
        try:
            with streams.raw(active=True):
                await _shown(stream)
        finally:
            busy.clear()
            resume()
            for each in tuple(waiting):
                each.wake()

    service = Service(SERVICE)
    service.streaming("Enter", enter, BytesMessage)
    return service


async def _shown(stream: Answering) -> None:
    """Until the builder ends it. What is typed is sent, and the window's size when it changes."""
    bell, typing = Bell(), [0]
    before: Any = signal.signal(signal.SIGWINCH, lambda *_: bell.ring())
    bell.ring()
    try:
        while True:
            ready = await stream.either(bell.fileno(), *typing)
            if bell.fileno() in ready:
                bell.hush()
                if found := streams.window():
                    await _send(stream, b"w %d %d" % found)
            if 0 in ready:
                data = os.read(0, _PIECE)
                typing = typing if data else []
                await _send(stream, b"d" + data)
            while stream.waiting:
                message = await stream.receive()
                if message is None:
                    return
                _write(message.data)
    finally:
        signal.signal(signal.SIGWINCH, before)
        bell.close()


async def _send(stream: Answering, data: bytes) -> None:
    await stream.send(BytesMessage(data=data))


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
