"""A command on a pseudo-terminal, driven as a person would: read until it shows something, then type."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Self


class Terminal:
    """`with Terminal(argv) as t: t.expect("\\$ "); t.type("exit\\n"); assert t.wait() == 0`."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, size: tuple[int, int] = (24, 80)
    ):
        self.output = b""
        self._status: int | None = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(argv[0], list(argv), dict(env if env is not None else os.environ))
            finally:
                os._exit(127)
        self.resize(*size)

    def resize(self, rows: int, columns: int) -> None:
        """Changes the window's size, which signals SIGWINCH."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Types `text`."""
        os.write(self.fd, text.encode())

    def expect(self, pattern: str, seconds: float = 60) -> str:
        """Reads until `pattern` shows and takes everything up to its end off the output."""
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern.encode(), self.output)):
            assert self._read(deadline), f"no {pattern!r} in {self.output!r}"
        seen, self.output = self.output[: match.end()], self.output[match.end() :]
        return seen.decode(errors="replace")

    def wait(self, seconds: float = 60) -> int:
        """Reads to the end; the exit status."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.output += data
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        if self._status is None:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
