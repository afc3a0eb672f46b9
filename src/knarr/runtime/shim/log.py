"""The json-file log: Docker's lines, rotated by size. A full disk loses lines, never the container.

Lines of one read share a moment and are encoded by one call of json's C encoder: the separator between two items of a list
is the end of one record and the beginning of the next. Lines longer than `PIECE` come as several records, as with Docker.
`LogFile` is any driver's file. What a driver must have: `write`, `finish`, `close`, `full`, `heed`.
"""

import io
import json
import os
import time
from collections.abc import Callable, Mapping

PIECE = 16 << 10
STREAMS = ("stdin", "stdout", "stderr")


class LogFile:
    """A file and its older ones, .1 the youngest. `max_size` -1 never rotates; `max_file` counts the present file. `pack` is
    called with the name of an older file that shall be compressed, and before the next rotation without one: it waits."""

    __slots__ = ("_fd", "_max_file", "_max_size", "_pack", "_path", "size")

    def __init__(
        self, path: str, max_size: int = -1, max_file: int = 1, pack: "Callable[[str], None] | None" = None
    ):
        self._path, self._max_size, self._max_file, self._pack = path, max_size, max(1, max_file), pack
        self._fd = self._open()
        self.size = os.fstat(self._fd).st_size

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def over(self, count: int) -> bool:
        """Whether so many more bytes are too many."""
        return self._max_size >= 0 and self.size + count > self._max_size

    def append(self, data: bytes) -> bool:
        """False where the disk takes no more."""
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            self.size += len(data)
        except OSError:
            return False
        return True

    def rotate(self) -> None:
        """The present file becomes an older one, the oldest goes."""
        try:
            if self._max_file == 1:
                os.ftruncate(self._fd, 0)
            else:
                self._shift()
                fd, self._fd = self._fd, self._open()
                os.close(fd)
            self.size = 0
        except OSError:
            return
        if self._pack is not None and self._max_file > 1:
            self._pack(f"{self._path}.1")

    def _shift(self) -> None:
        endings: tuple[str, ...] = ("",)
        if self._pack is not None:
            self._pack("")
            endings = ("", ".gz")
        for number in range(self._max_file - 1, 0, -1):
            older = f"{self._path}.{number - 1}" if number > 1 else self._path
            for ending in endings:
                if os.path.exists(f"{older}{ending}"):
                    os.rename(f"{older}{ending}", f"{self._path}.{number}{ending}")

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._fd)


class JsonLog:
    """`attrs` are the attributes of every record, as JSON; `lost` counts lines that found no room."""

    __slots__ = ("_attrs", "_file", "_partial", "_prefix", "_second", "lost")
    full = False

    def __init__(
        self,
        path: str,
        max_size: int = -1,
        max_file: int = 1,
        attrs: Mapping[str, str] | None = None,
        pack: "Callable[[str], None] | None" = None,
    ):
        self._file = LogFile(path, max_size, max_file, pack)
        self._attrs = f',"attrs":{json.dumps(attrs, ensure_ascii=False)}' if attrs else ""
        self._partial = [b"", b"", b""]
        self._second, self._prefix = -1, ""
        self.lost = 0

    def heed(self, on_room: Callable[[], None]) -> None:
        """It never makes anybody wait."""

    def write(self, stream: int, data: bytes) -> None:
        """Takes what was read from a stream; an unfinished line waits for its end."""
        data = self._partial[stream] + data
        end = data.rfind(b"\n") + 1
        rest = data[end:]
        while len(rest) >= PIECE:
            cut = boundary(rest)
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

    def close(self, on_gone: Callable[[], None] | None = None) -> bool:
        """Lets go of the file; True: at once."""
        self._file.close()
        return True

    def _put(self, stream: int, data: bytes) -> None:
        lines = io.StringIO(data.decode("utf-8", "replace"), newline="\n").readlines()
        if len(data) > PIECE and max(map(len, lines)) > PIECE:
            lines = [line[at : at + PIECE] for line in lines for at in range(0, len(line), PIECE)]
        self._append(self._encode(stream, lines), stream, lines)

    def _encode(self, stream: int, lines: list[str]) -> bytes:
        end = f',"stream":"{STREAMS[stream]}"{self._attrs},"time":"{self._now()}"}}\n'
        body = json.dumps(lines, ensure_ascii=False, separators=(end + '{"log":', ":"))
        return f'{{"log":{body[1:-1]}{end}'.encode("utf-8", "replace")

    def _now(self) -> str:
        second, fraction = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{fraction:09d}Z"

    def _append(self, encoded: bytes, stream: int, lines: list[str]) -> None:
        if self._file.over(len(encoded)):
            if len(lines) > 1:
                middle = len(lines) // 2
                for half in (lines[:middle], lines[middle:]):
                    self._append(self._encode(stream, half), stream, half)
                return
            if self._file.size:
                self._file.rotate()
        if not self._file.append(encoded):
            self.lost += len(lines)


def boundary(data: bytes) -> int:
    """Where to cut a long line: at most PIECE, not inside a UTF-8 sequence."""
    cut = PIECE
    while cut > PIECE - 4 and cut < len(data) and data[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut if cut > PIECE - 4 else PIECE
