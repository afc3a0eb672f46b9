"""A TCP proxy that cuts connections in the middle, at points that a seed decides."""

import contextlib
import random
import socket
import threading
from typing import Self


class CuttingProxy:
    """Forwards to a loopback port. Each of the first `cuts` connections that carry more than the drawn number of bytes to the client is cut there.

    Which connection draws which number depends on the order of connections; that there are `cuts` cuts does not.
    """

    def __init__(self, target: int, *, cuts: int, seed: int, least: int, most: int) -> None:
        self._target = target
        self._random = random.Random(seed)
        self._range = (least, most)
        self._left = cuts
        self._lock = threading.Lock()
        self._closed = False
        self._clients: set[socket.socket] = set()
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def close(self) -> None:
        """Stops accepting, ends what is connected, and waits for its threads."""
        with self._lock:
            self._closed = True
            for sock in (self._listener, *self._clients):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            if self._closed:
                client.close()
                return
            self._clients.add(client)
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            asking = threading.Thread(target=self._copy, args=(client, server))
            asking.start()
            self._answer(server, client)
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            asking.join()
            with self._lock:
                self._clients.discard(client)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with self._lock:
            left = self._random.randint(*self._range)
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                if len(data) >= left and self._may_cut():
                    client.sendall(data[:left])
                    return
                left = max(0, left - len(data))
                client.sendall(data)

    def _may_cut(self) -> bool:
        with self._lock:
            if self._left == 0:
                return False
            self._left -= 1
            self.cuts += 1
            return True
