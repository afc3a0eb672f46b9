"""TLS below a connection, by a hand-driven ssl.SSLObject, because asyncio's own cannot half-close.

A connection that is taken over stays encrypted: the taker gets one end of a socket pair, and the bytes are relayed both
ways, ends of streams included.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from typing import Any, Protocol, cast

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 30.0
HIGH_WATER = 256 << 10
_PIECE = 64 << 10


class Inner(Protocol):
    """What is above TLS: the methods of asyncio.Protocol."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class Tls(asyncio.Protocol):
    """The server's end; `inner` is connected once hands are shaken. `known` is the server's set of living ones."""

    def __init__(self, context: ssl.SSLContext, inner: Inner, known: "set[Tls]"):
        self.inner = inner
        self._known = known
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_side=True)
        self.transport: asyncio.Transport
        self._ready = False
        self._ended = False
        self._sent_end = False
        self._reading = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._known.add(self)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        self._in.write(data)
        self._pump()

    def eof_received(self) -> bool:
        self._in.write_eof()
        self._pump()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._known.discard(self)
        self._stop_timer()
        if self._ready:
            self.inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._ready:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        if self._ready:
            self.inner.resume_writing()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _pump(self) -> None:
        """Decrypts what has arrived, and sends what TLS itself has to say."""
        try:
            if not self._ready:
                self._object.do_handshake()
                self._ready = True
                self._stop_timer()
                self.inner.connection_made(Face(self))
            while self._reading and not self._ended:
                data = self._object.read(_PIECE)
                if not data:
                    self._end()
                    break
                self.inner.data_received(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._end()
        except ssl.SSLError as error:
            log.debug("TLS: %s", error)
            self._flush()
            if self._ready:
                self._end()
            else:
                self.transport.close()
        self._flush()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self.inner.eof_received()
            self._close_if_done()

    def _flush(self) -> None:
        data = self._out.read()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def write(self, data: bytes) -> None:
        """Encrypts and sends."""
        view = memoryview(data)
        while view:
            view = view[self._object.write(view) :]
        self._flush()

    def write_eof(self) -> None:
        """The end of what is sent: close_notify."""
        if not self._sent_end:
            self._sent_end = True
            with contextlib.suppress(ssl.SSLError):
                self._object.unwrap()
            self._flush()
        self._close_if_done()

    def _close_if_done(self) -> None:
        """Both ways have ended."""
        if self._ended and self._sent_end:
            self.transport.close()

    def read(self, on: bool) -> None:
        """Whether bytes are wanted."""
        self._reading = on
        if self.transport.is_closing():
            return
        if on:
            self.transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._pump)
        else:
            self.transport.pause_reading()

    @property
    def reading(self) -> bool:
        """Whether bytes are wanted."""
        return self._reading


class Face(asyncio.Transport):
    """TLS as a transport: what the protocol above writes to."""

    def __init__(self, tls: Tls):
        super().__init__()
        self._tls = tls

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls.transport.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._tls.transport.set_write_buffer_limits(high, low)

    def is_reading(self) -> bool:
        return self._tls.reading

    def pause_reading(self) -> None:
        self._tls.read(False)

    def resume_reading(self) -> None:
        self._tls.read(True)

    def is_closing(self) -> bool:
        return self._tls.transport.is_closing()

    def write(self, data: Any) -> None:
        self._tls.write(data)

    def write_eof(self) -> None:
        self._tls.write_eof()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self._tls.write_eof()
        self._tls.transport.close()

    def abort(self) -> None:
        self._tls.transport.abort()

    async def give_away(self, *, ended: bool) -> socket.socket:
        """The connection's plain end for somebody else; bytes are relayed from now on. `ended`: the client's have ended."""
        mine, theirs = socket.socketpair()
        mine.setblocking(False)
        theirs.setblocking(False)
        self.set_write_buffer_limits(HIGH_WATER)
        plain = _Plain(self)
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: plain, sock=mine)
        except BaseException:
            mine.close()
            theirs.close()
            raise
        transport.set_write_buffer_limits(HIGH_WATER)
        self._tls.inner = _Cipher(transport)
        if ended:
            transport.write_eof()
        self.resume_reading()
        return theirs


class _Plain(asyncio.Protocol):
    """The socket pair's end: what the taker writes goes into TLS."""

    def __init__(self, face: Face):
        self._face = face

    def data_received(self, data: bytes) -> None:
        self._face.write(data)

    def eof_received(self) -> bool:
        self._face.write_eof()
        return True

    def pause_writing(self) -> None:
        self._face.pause_reading()

    def resume_writing(self) -> None:
        self._face.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._face.close()


class _Cipher:
    """TLS' end: what the client sends goes to the taker."""

    def __init__(self, transport: asyncio.Transport):
        self._transport = transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raise AssertionError("hands are shaken before")

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def eof_received(self) -> bool:
        if not self._transport.is_closing():
            self._transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport.close()

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()
