"""What Go's standard library does with text, where BuildKit's answers depend on it: spaces, quotes, paths, numbers."""

import re
from collections.abc import Iterable

SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
SPACE_SET = frozenset(SPACES)
WIDE_SPACE = re.compile(r"[\t\v\f\r ]+")

_ESCAPES = {
    "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\\": r"\\", '"': r"\"",
}  # fmt: skip
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_INTEGER = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)
_OCTAL = re.compile(r"[0-7]+\Z", re.ASCII)
_DECIMAL = re.compile(r"[0-9]+\Z", re.ASCII)


def trim(text: str) -> str:
    """strings.TrimSpace"""
    return text.strip(SPACES)


def quote(text: str) -> str:
    """strconv.Quote"""
    return '"' + "".join(_quoted(character) for character in text) + '"'


def quote_all(texts: Iterable[str]) -> str:
    """fmt's %q of a slice of strings."""
    return "[" + " ".join(quote(text) for text in texts) + "]"


def _quoted(character: str) -> str:
    if (escape := _ESCAPES.get(character)) is not None:
        return escape
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python's surrogateescape keeps it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def clean(path: str) -> str:
    """path.Clean"""
    rooted = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
        elif parts and parts[-1] != "..":
            parts.pop()
        elif not rooted:
            parts.append(part)
    return ("/" if rooted else "") + "/".join(parts) or "."


def join(*parts: str) -> str:
    """path.Join"""
    return clean("/".join(part for part in parts if part)) if any(parts) else ""


def base(path: str) -> str:
    """path.Base"""
    if not path:
        return "."
    stripped = path.rstrip("/")
    return stripped.rpartition("/")[2] if stripped else "/"


def parse_bool(text: str) -> bool | None:
    """strconv.ParseBool; None where it fails."""
    return True if text in _TRUE else False if text in _FALSE else None


def parse_int(text: str, bits: int = 64) -> int | None:
    """strconv.ParseInt of a decimal; None where it fails."""
    if not _INTEGER.match(text) or len(text) > 64:
        return None
    value = int(text)
    return value if -(1 << bits - 1) <= value < 1 << bits - 1 else None


def parse_uint(text: str, base: int = 10, bits: int = 32) -> int | None:
    """strconv.ParseUint; None where it fails."""
    if not (_OCTAL if base == 8 else _DECIMAL).match(text) or len(text) > 64:
        return None
    value = int(text, base)
    return value if value < 1 << bits else None


def int_error(text: str, bits: int, function: str = "ParseInt") -> str:
    """The words of strconv's error for a decimal that `parse_int` refused."""
    reason = "value out of range" if _INTEGER.match(text) else "invalid syntax"
    return f"strconv.{function}: parsing {quote(text)}: {reason}"
