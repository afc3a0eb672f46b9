"""The json-file log: Docker's lines, rotated by size. A full disk loses lines, never the container.

Lines of one read share a moment and are encoded by one call of json's C encoder: the separator between two items of a list
is the end of one record and the beginning of the next. Lines longer than `PIECE` come as several records, as with Docker.
"""

import io
import json
import os
import time

PIECE = 16 << 10
STREAMS = ("stdin", "stdout", "stderr")


class JsonLog:
    """`max_size` -1 never rotates; `max_file` counts the present file."""

    __slots__ = ("_fd", "_max_file", "_max_size", "_partial", "_path", "_prefix", "_second", "_size", "lost")

    def __init__(self, path: str, max_size: int = -1, max_file: int = 1):
        self._path, self._max_size, self._max_file = path, max_size, max(1, max_file)
        self._partial = [b"", b"", b""]
        self._second, self._prefix = -1, ""
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size
        self.lost = 0

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def write(self, stream: int, data: bytes) -> None:
        """Takes what was read from a stream; an unfinished line waits for its end."""
        data = self._partial[stream] + data
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        while len(rest) >= PIECE:
            cut = _boundary(rest)
            end, rest = end + cut, rest[cut:]
            self._put(stream, data[:end])
            data, end = rest, 0
        self._partial[stream] = rest
        if end:
            self._put(stream, data[:end])

    def finish(self) -> None:
        """The stream's ends: unfinished lines are written as they are."""
        for stream, rest in enumerate(self._partial):
            if rest:
                self._partial[stream] = b""
                self._put(stream, rest)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._fd)

    def _put(self, stream: int, data: bytes) -> None:
        lines = io.StringIO(data.decode("utf-8", "replace"), newline="\n").readlines()
        if len(data) > PIECE and max(map(len, lines)) > PIECE:
            lines = [line[at : at + PIECE] for line in lines for at in range(0, len(line), PIECE)]
        self._append(self._encode(stream, lines), stream, lines)

    def _encode(self, stream: int, lines: list[str]) -> bytes:
        end = f',"stream":"{STREAMS[stream]}","time":"{self._now()}"}}\n'
        body = json.dumps(lines, ensure_ascii=False, separators=(end + '{"log":', ":"))
        return f'{{"log":{body[1:-1]}{end}'.encode("utf-8", "replace")

    def _now(self) -> str:
        second, fraction = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{fraction:09d}Z"

    def _append(self, encoded: bytes, stream: int, lines: list[str]) -> None:
        if self._max_size >= 0 and self._size + len(encoded) > self._max_size:
            if len(lines) > 1:
                middle = len(lines) // 2
                for half in (lines[:middle], lines[middle:]):
                    self._append(self._encode(stream, half), stream, half)
                return
            if self._size:
                self._rotate()
        try:
            view = memoryview(encoded)
            while view:
                view = view[os.write(self._fd, view) :]
            self._size += len(encoded)
        except OSError:
            self.lost += len(lines)

    def _rotate(self) -> None:
        try:
            if self._max_file == 1:
                os.ftruncate(self._fd, 0)
            else:
                for number in range(self._max_file - 1, 0, -1):
                    older = f"{self._path}.{number - 1}" if number > 1 else self._path
                    if os.path.exists(older):
                        os.rename(older, f"{self._path}.{number}")
                fd, self._fd = self._fd, self._open()
                os.close(fd)
            self._size = 0
        except OSError:
            return


def _boundary(data: bytes) -> int:
    """Where to cut a long line: at most PIECE, not inside a UTF-8 sequence."""
    cut = PIECE
    while cut > PIECE - 4 and cut < len(data) and data[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut if cut > PIECE - 4 else PIECE
