"""libnftables(3) by ctypes: nft's own language, one atomic transaction a call.

A context is bound to the network namespace of the thread that makes it and is not safe for threads: callers lock.
What nft says on an error is the error's text; its errno is the one that the text names (EINVAL for a syntax error).
"""

import ctypes
import errno
import json
import os
from typing import Any

LIBRARY = "libnftables.so.1"
NFT_CTX_OUTPUT_JSON = 1 << 4
NFT_CTX_OUTPUT_TERSE = 1 << 11
_BY_TEXT = {
    os.strerror(number): number
    for number in (errno.ENOENT, errno.EEXIST, errno.EBUSY, errno.EPERM, errno.EOPNOTSUPP, errno.ENOBUFS)
}


class NftablesMissing(OSError):
    """The library is not installed."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            errno.ENOSYS, f"{LIBRARY} cannot be loaded ({cause}); install the package libnftables1"
        )


class NftablesError(OSError):
    """nft refused a command."""


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise NftablesMissing(str(error)) from error
    context, words = ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
        ("nft_ctx_new", context, (ctypes.c_uint32,)),
        ("nft_ctx_free", None, (context,)),
        ("nft_ctx_buffer_output", ctypes.c_int, (context,)),
        ("nft_ctx_buffer_error", ctypes.c_int, (context,)),
        ("nft_ctx_get_output_buffer", words, (context,)),
        ("nft_ctx_get_error_buffer", words, (context,)),
        ("nft_ctx_output_set_flags", None, (context, ctypes.c_uint)),
        ("nft_run_cmd_from_buffer", ctypes.c_int, (context, words)),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


class Nftables:
    """One libnftables context."""

    def __init__(self) -> None:
        self._library = _load()
        self._context: int | None = self._library.nft_ctx_new(0)
        if not self._context:
            raise OSError(errno.ENOMEM, "nft_ctx_new failed")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str) -> str:
        """nft_run_cmd_from_buffer(3): carries out the commands, all or none; returns what nft prints."""
        if self._context is None:
            raise OSError(errno.EBADF, "the nftables context is closed")
        code = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        output = self._library.nft_ctx_get_output_buffer(self._context) or b""
        message = (
            (self._library.nft_ctx_get_error_buffer(self._context) or b"").decode(errors="replace").strip()
        )
        if code != 0:
            raise NftablesError(
                _errno(message), message or "nft failed without a word", _first_line(commands)
            )
        return str(output.decode(errors="replace"))

    def list(self, command: str, *, terse: bool = False) -> list[dict[str, Any]]:
        """The objects that a `list …` command answers, as libnftables-json(5) describes them; `terse`: sets without what is in
        them."""
        if self._context is None:
            raise OSError(errno.EBADF, "the nftables context is closed")
        flags = NFT_CTX_OUTPUT_JSON | (NFT_CTX_OUTPUT_TERSE if terse else 0)
        self._library.nft_ctx_output_set_flags(self._context, flags)
        try:
            answer = self.run(command)
        finally:
            self._library.nft_ctx_output_set_flags(self._context, 0)
        objects: list[dict[str, Any]] = json.loads(answer)["nftables"]
        return objects

    def close(self) -> None:
        """nft_ctx_free(3)"""
        if self._context is not None:
            self._library.nft_ctx_free(self._context)
            self._context = None


def _errno(message: str) -> int:
    return next((number for words, number in _BY_TEXT.items() if words in message), errno.EINVAL)


def _first_line(commands: str) -> str:
    return commands.strip().partition("\n")[0]
