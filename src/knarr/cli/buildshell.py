"""`knarr build --shell-on-fail`: this terminal for the shell in a step that failed; see frontdoor/consoles for the words."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from urllib.parse import unquote

from knarr.build.frontdoor.consoles import SERVICE
from knarr.build.frontdoor.services import Service
from knarr.build.proto.session_pb2 import BytesMessage
from knarr.cli import streams
from knarr.grpc.services import Call

_PIECE = 64 << 10


def console(pause: Callable[[], None], resume: Callable[[], None]) -> Service:
    """Lends the terminal to one step at a time; the display pauses meanwhile."""
    one = asyncio.Lock()

    async def enter(stream: Call[BytesMessage]) -> None:
        title = unquote(stream.metadata.get("title"))
        async with one:
            pause()
            print(
                f"\n{title} failed: a shell where it ran; its exit ends the build.",
                file=sys.stderr,
                flush=True,
            )
            try:
                with streams.raw(active=True), _typed(stream):
                    while (message := await stream.receive()) is not None:
                        _write(message.data)
            finally:
                resume()

    service = Service(SERVICE)
    service.streaming("Enter", enter, BytesMessage)
    return service


@contextlib.contextmanager
def _typed(stream: Call[BytesMessage]) -> Iterator[None]:
    """What is typed is sent while this lasts, and the window's size when it changes."""
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[bytes] = asyncio.Queue()

    def size() -> None:
        if found := streams.window():
            events.put_nowait(b"w %d %d" % found)

    async def send() -> None:
        while True:
            await stream.send(BytesMessage(data=await events.get()))

    size()
    loop.add_signal_handler(signal.SIGWINCH, size)
    loop.add_reader(0, lambda: events.put_nowait(b"d" + os.read(0, _PIECE)))
    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        sending.cancel()
        loop.remove_reader(0)
        loop.remove_signal_handler(signal.SIGWINCH)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
