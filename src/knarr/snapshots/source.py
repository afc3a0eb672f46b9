"""A tar stream as members: one buffer over one descriptor, forward only. Standard library only."""

import os
from collections.abc import Iterator

from knarr.snapshots import header
from knarr.snapshots.errors import BadArchive
from knarr.snapshots.header import BLOCK, BadHeader, Header

_BUFFER = 256 << 10
_MAX_EXTENSION = 1 << 20
_EXTENSIONS = frozenset({header.LONG_NAME, header.LONG_LINK, header.PAX, header.GLOBAL})


class Source:
    """`members()` yields headers; between two of them the caller may `pour` the member's data, else it is skipped."""

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._buffer = memoryview(bytearray(_BUFFER))
        self._start = self._end = 0
        self._left = 0
        self._padding = 0

    def members(self) -> Iterator[Header]:
        """Until the end-of-archive block or the stream's end. Raises BadArchive."""
        while True:
            self._skip(self._left)
            self._pad(self._padding)
            self._left = self._padding = 0
            found = self._member()
            if found is None:
                self._drain()
                return
            self._left, self._padding = found.size, -found.size % BLOCK
            yield found

    def _member(self) -> Header | None:
        """The next member with what its extension headers say about it."""
        pax: dict[bytes, bytes] = {}
        while True:
            block = self._block(within=bool(pax))
            if block is None:
                return None
            try:
                found = header.parse(block)
                if found.kind not in _EXTENSIONS:
                    return header.amended(found, pax) if pax else found
                body = self._body(found.size)
                if found.kind == header.PAX:
                    pax.update(header.records(body))
                elif found.kind != header.GLOBAL:
                    key = b"path" if found.kind == header.LONG_NAME else b"linkpath"
                    pax[key] = body.partition(b"\0")[0]
            except BadHeader as error:
                raise BadArchive(f"invalid tar header: {error}") from None

    def _block(self, *, within: bool) -> memoryview | None:
        if not self._fill(BLOCK):
            if self._end > self._start or within:
                raise BadArchive("unexpected end of archive")
            return None
        block = self._buffer[self._start : self._start + BLOCK]
        self._start += BLOCK
        if block[0] == 0 and block == header.ZEROS:
            return None
        return block

    def _body(self, size: int) -> bytes:
        if size > _MAX_EXTENSION:
            raise BadHeader(f"an extension of {size} bytes")
        parts = bytearray()
        while len(parts) < size:
            parts += self._some(size - len(parts))
        self._skip(-size % BLOCK)
        return bytes(parts)

    def pieces(self) -> Iterator[memoryview]:
        """The rest of the member's data; a piece is valid until the next."""
        while self._left:
            chunk = self._some(self._left)
            self._left -= len(chunk)
            yield chunk

    def pour(self, out: int) -> None:
        """The rest of the member's data goes to descriptor `out`."""
        for chunk in self.pieces():
            while chunk:
                chunk = chunk[os.write(out, chunk) :]

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self._some(size))

    def _pad(self, size: int) -> None:
        """As `_skip`, but an archive may end here: docker's CLI writes the last file's padding not always."""
        while size and (self._start < self._end or self._fill(1)):
            size -= len(self._some(size))

    def _drain(self) -> None:
        """To the end, so that the writer sees no broken pipe for what may follow the archive."""
        while os.readv(self._stream, [self._buffer]):
            pass

    def _some(self, most: int) -> memoryview:
        """At least one byte, valid until the next read."""
        if self._start == self._end and not self._fill(1):
            raise BadArchive("unexpected end of archive")
        size = min(most, self._end - self._start)
        chunk = self._buffer[self._start : self._start + size]
        self._start += size
        return chunk

    def _fill(self, least: int) -> bool:
        """True if `least` bytes are in the buffer."""
        have = self._end - self._start
        if have >= least:
            return True
        if self._start:
            self._buffer[:have] = self._buffer[self._start : self._end]
            self._start, self._end = 0, have
        while self._end < least:
            got = os.readv(self._stream, [self._buffer[self._end :]])
            if not got:
                return False
            self._end += got
        return True
