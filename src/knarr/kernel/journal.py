"""Reading systemd's journal by libsystemd (sd-journal(3)), loaded when first used; and its Synchronize, by varlink.

One function is one of the library's, raising OSError; a `Journal` is one reader at a time.
"""

import ctypes
import os
import socket
from collections.abc import Iterator
from typing import Any

VARLINK = "/run/systemd/journal/io.systemd.journal"
_LOCAL_ONLY = 1
_library: Any = None


def available() -> bool:
    """Whether the library is there."""
    try:
        _load()
    except OSError:
        return False
    return True


def _load() -> Any:
    global _library
    if _library is None:
        _library = ctypes.CDLL("libsystemd.so.0", use_errno=True)
    return _library


def synchronize(seconds: float = 5.0) -> None:
    """Returns when journald has written what it was sent; or it does not answer, which is no error."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(seconds)
            sock.connect(VARLINK)
            sock.sendall(b'{"method":"io.systemd.Journal.Synchronize"}\0')
            while (data := sock.recv(4096)) and not data.endswith(b"\0"):
                pass
    except OSError:
        return


class Journal:
    """The host's journal, at its beginning; `close` it."""

    def __init__(self) -> None:
        self._handle = ctypes.c_void_p()
        self._call("sd_journal_open", ctypes.byref(self._handle), ctypes.c_int(_LOCAL_ONLY), own=False)
        self._call("sd_journal_set_data_threshold", ctypes.c_size_t(0))

    def _call(self, name: str, *arguments: Any, own: bool = True) -> int:
        found = getattr(_load(), name)(*((self._handle, *arguments) if own else arguments))
        if found < 0:
            raise OSError(-found, os.strerror(-found), name)
        return int(found)

    def match(self, field: str) -> None:
        """sd_journal_add_match(3): only entries with FIELD=value."""
        self._call("sd_journal_add_match", field.encode(), ctypes.c_size_t(len(field.encode())))

    def seek_head(self) -> None:
        """Before the first entry."""
        self._call("sd_journal_seek_head")

    def seek_back(self, count: int) -> bool:
        """To the entry that is the `count`th from the end; False where there is none at all."""
        self._call("sd_journal_seek_tail")
        return count > 0 and self._call("sd_journal_previous_skip", ctypes.c_uint64(count)) > 0

    def next(self) -> bool:
        """To the next entry; False at the end."""
        return self._call("sd_journal_next") > 0

    def fields(self) -> Iterator[tuple[str, bytes]]:
        """Of the entry that it stands at (sd_journal_enumerate_data(3))."""
        self._call("sd_journal_restart_data")
        data, length = ctypes.c_void_p(), ctypes.c_size_t()
        while self._call("sd_journal_enumerate_data", ctypes.byref(data), ctypes.byref(length)) > 0:
            name, _, value = ctypes.string_at(data.value or 0, length.value).partition(b"=")
            yield name.decode("ascii", "replace"), value

    def moment(self) -> int:
        """When the entry was received, in nanoseconds."""
        value = ctypes.c_uint64()
        self._call("sd_journal_get_realtime_usec", ctypes.byref(value))
        return value.value * 1000

    def fd(self) -> int:
        """What becomes readable when the journal changes (sd_journal_get_fd(3)); it stays the journal's."""
        return self._call("sd_journal_get_fd")

    def process(self) -> None:
        """What changed; the descriptor is not readable any more."""
        self._call("sd_journal_process")

    def close(self) -> None:
        """May be called again."""
        if self._handle:
            _load().sd_journal_close(self._handle)
            self._handle = ctypes.c_void_p()
