"""TLS for the client: a thread relays between the encrypted connection and a plain socket pair, half-close included.

So everything above sees a plain socket, whether it asks once or takes the connection over. Imported only when needed.
"""

import contextlib
import os
import select
import socket
import ssl
import threading

_PIECE = 64 << 10


def context(ca: str, certificate: str, key: str, *, verify: bool = True) -> ssl.SSLContext:
    """Docker's files; one that is not there is left out."""
    made = ssl.create_default_context(cafile=ca if os.path.exists(ca) else None)
    if os.path.exists(certificate):
        made.load_cert_chain(certificate, key)
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def of_directory(directory: str) -> ssl.SSLContext:
    """The files by docker's names."""
    return context(*(os.path.join(directory, name) for name in ("ca.pem", "cert.pem", "key.pem")))


def wrap(connection: socket.socket, name: str, made: ssl.SSLContext) -> socket.socket:
    """Shakes hands on `connection`, which is ours from now on, and gives the plain end. Raises OSError."""
    relay = _Relay(connection, made, name)
    try:
        relay.handshake()
    except BaseException:
        connection.close()
        raise
    mine, theirs = socket.socketpair()
    threading.Thread(target=relay.run, args=(mine,), name="tls", daemon=True).start()
    return theirs


class _Relay:
    """One connection; the thread that runs it is the only one that touches it."""

    def __init__(self, connection: socket.socket, made: ssl.SSLContext, name: str):
        self._connection = connection
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = made.wrap_bio(self._in, self._out, server_hostname=name)

    def handshake(self) -> None:
        """Until both sides agree."""
        while True:
            try:
                self._object.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            finally:
                self._flush()
        self._flush()

    def run(self, plain: socket.socket) -> None:
        """Relays until both directions have ended, or one cannot go on."""
        sending, receiving = True, True
        with self._connection, plain, contextlib.suppress(OSError):
            receiving = self._deliver(plain)
            while receiving or sending:
                wanted = [self._connection] * receiving + [plain] * sending
                ready, _, _ = select.select(wanted, [], [])
                if plain in ready:
                    data = plain.recv(_PIECE)
                    if data:
                        self._object.write(data)
                    else:
                        sending = False
                        with contextlib.suppress(ssl.SSLError):
                            self._object.unwrap()
                    self._flush()
                if self._connection in ready:
                    self._fill()
                    receiving = self._deliver(plain)

    def _deliver(self, plain: socket.socket) -> bool:
        """Passes on what has arrived; False at its end."""
        while True:
            try:
                data = self._object.read(_PIECE)
            except ssl.SSLWantReadError:
                self._flush()
                return True
            except ssl.SSLError:
                data = b""
            if not data:
                plain.shutdown(socket.SHUT_WR)
                return False
            plain.sendall(data)

    def _fill(self) -> None:
        data = self._connection.recv(_PIECE)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def _flush(self) -> None:
        if self._out.pending:
            self._connection.sendall(self._out.read())
