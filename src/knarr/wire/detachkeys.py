"""Detach keys: "ctrl-p,ctrl-q" to bytes, and finding them in what a person types.

As docker: single characters, or ctrl- with a to z or one of @ [ \\ ] ^ _. What turns out not to be the whole sequence is passed on.
"""

from knarr.model.errors import Invalid

DEFAULT = b"\x10\x11"
_SYMBOLS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str) -> bytes:
    """The bytes of a sequence; the default for "". Raises Invalid with docker's words."""
    if not text:
        return DEFAULT
    return bytes(_key(word, text) for word in text.split(","))


def _key(word: str, text: str) -> int:
    if len(word) == 1 and word.isascii():
        return ord(word)
    name = word.removeprefix("ctrl-")
    if name != word and len(name) == 1:
        if "a" <= name <= "z":
            return ord(name) - ord("a") + 1
        if name in _SYMBOLS:
            return _SYMBOLS[name]
    raise Invalid(f"invalid detach keys ({text}) provided: unknown character: '{word}'")


class Matcher:
    """Feed it input; it gives what may go on, and says when the sequence was typed."""

    def __init__(self, keys: bytes):
        self._keys = keys
        self._held = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what to pass on, whether the keys came); what follows the keys is dropped."""
        data = self._keys[: self._held] + data
        at = data.find(self._keys)
        if at >= 0:
            self._held = 0
            return data[:at], True
        self._held = next(n for n in range(len(self._keys) - 1, -1, -1) if data.endswith(self._keys[:n]))
        return data[: len(data) - self._held], False
