"""Docker's `local` driver: protobuf records, rotated by size, older files compressed. Also the cache of other drivers."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from knarr.runtime.shim.log import LogFile
from knarr.runtime.shim.logs.messages import Messages
from knarr.runtime.shim.loop import Loop
from knarr.wire.locallog import Piece, attributes, encode


class LocalLog(Messages):
    """`lost` counts what found no room on the disk."""

    __slots__ = ("_attrs", "_file", "_records")

    def __init__(self, loop: Loop, wish: Mapping[str, Any]):
        from knarr.runtime.shim.logs.packing import Packer

        super().__init__()
        os.makedirs(os.path.dirname(wish["path"]), 0o700, exist_ok=True)
        pack = Packer(loop) if wish.get("compress") else None
        self._file = LogFile(wish["path"], int(wish["max_size"]) or -1, int(wish["max_file"]), pack)
        self._attrs = attributes(wish.get("attrs") or {})
        self._records: list[bytes] = []

    def put(self, stream: str, at: int, line: bytes, piece: Piece | None) -> None:
        """One record."""
        self._records.append(encode(stream, at, line, piece, self._attrs))

    def flush(self) -> None:
        """Everything by one write, unless a file is full in between."""
        batch: list[bytes] = []
        size = 0
        for record in self._records:
            if (batch or self._file.size) and self._file.over(size + len(record)):
                self._append(batch)
                self._file.rotate()
                batch, size = [], 0
            batch.append(record)
            size += len(record)
        self._append(batch)
        self._records = []

    def _append(self, batch: list[bytes]) -> None:
        if batch and not self._file.append(b"".join(batch)):
            self.lost += len(batch)

    def close(self, on_gone: Callable[[], None] | None = None) -> bool:
        """Lets go of the file."""
        self._file.close()
        return True
