"""What a log file has of one line, or of a piece of one."""

from collections.abc import Mapping
from typing import NamedTuple


class Record(NamedTuple):
    """One record: the stream's name, the moment in ns, the bytes, what the driver says beside them."""

    stream: str
    at: int
    data: bytes
    attrs: Mapping[str, str] = {}
