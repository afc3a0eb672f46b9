"""Headers of tar archives: ustar, pax (POSIX.1-2001), GNU long names and base-256 numbers; no I/O.

`Parser` eats the 512-byte blocks that are not content and gives an `Entry` for each member; `encode` is its inverse. Names
are str with surrogateescape, so that any bytes survive. Sparse members and unknown member types are refused by name.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from knarr.model.errors import Invalid

BLOCK = 512
MAX_EXTENSION = 1 << 20

FILE, LINK, SYMLINK, CHAR, BLOCKDEV, DIRECTORY, FIFO = "0123456"
_TYPES = {b"\0": FILE, b"7": FILE, **{kind.encode(): kind for kind in "0123456"}}
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"
_XATTR = "SCHILY.xattr."
_NOTHING: Mapping[str, bytes] = MappingProxyType({})


class BadTar(Invalid):
    """What was read is no tar archive, or a damaged one."""


class Entry(NamedTuple):
    """One member. `mode` is the permission bits, `mtime` nanoseconds; `size` is of the content that follows."""

    name: str
    type: str = FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: str = ""
    major: int = 0
    minor: int = 0
    xattrs: Mapping[str, bytes] = _NOTHING
    uname: str = ""
    gname: str = ""


def padding(size: int) -> int:
    """The zero bytes after `size` bytes of content."""
    return -size % BLOCK


class Parser:
    """Give it a block; it gives an Entry, or how many bytes of extension to read (unpadded) and hand to `extension`,
    or None for a block of zeros (two of them end the archive)."""

    def __init__(self) -> None:
        self._pax: dict[str, bytes] = {}
        self._global: dict[str, bytes] = {}
        self._name: bytes | None = None
        self._link: bytes | None = None
        self._waiting = b""

    def block(self, block: bytes) -> "Entry | int | None":
        """Raises BadTar."""
        if len(block) != BLOCK:
            raise BadTar("unexpected EOF: the archive ends inside a header")
        if not any(block):
            return None
        _check(block)
        kind = block[156:157]
        size = _number(block[124:136])
        if kind in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
            if size > MAX_EXTENSION:
                raise BadTar(f"a tar extension of {size} bytes is too long")
            self._waiting = kind
            return size
        return self._entry(block, kind, size)

    def extension(self, data: bytes) -> None:
        """The payload of the extension that `block` announced. Raises BadTar."""
        kind = self._waiting
        if kind == _GNU_NAME:
            self._name = data.split(b"\0", 1)[0]
        elif kind == _GNU_LINK:
            self._link = data.split(b"\0", 1)[0]
        elif kind == _PAX_GLOBAL:
            self._global.update(_pax(data))
        else:
            self._pax.update(_pax(data))

    def _entry(self, block: bytes, kind: bytes, size: int) -> Entry:
        records = {**self._global, **self._pax} if self._global else self._pax
        name, link = self._name, self._link
        self._pax, self._name, self._link = {}, None, None
        if kind not in _TYPES or any(key.startswith("GNU.sparse.") for key in records):
            what = "sparse file" if kind == b"S" or kind in _TYPES else f"type {kind.decode('latin-1')!r}"
            raise BadTar(f"a tar member that is a {what} is not supported")
        if name is None:
            name = _string(block[:100])
            prefix = _string(block[345:500]) if block[257:263] == b"ustar\0" else b""
            if prefix:
                name = prefix + b"/" + name
        if link is None:
            link = _string(block[157:257])
        name = records.get("path", name)
        link = records.get("linkpath", link)
        size = _decimal(records, "size", size)
        entry_type = _TYPES[kind]
        if entry_type == FILE and kind == b"\0" and name.endswith(b"/"):
            entry_type = DIRECTORY
        device = entry_type in (CHAR, BLOCKDEV)
        return Entry(
            _text(name),
            entry_type,
            _number(block[100:108]) & 0o7777,
            _decimal(records, "uid", _number(block[108:116])),
            _decimal(records, "gid", _number(block[116:124])),
            size if entry_type == FILE else 0,
            _time(records["mtime"]) if "mtime" in records else _number(block[136:148]) * 1_000_000_000,
            _text(link),
            _number(block[329:337]) if device else 0,
            _number(block[337:345]) if device else 0,
            {key[len(_XATTR) :]: value for key, value in records.items() if key.startswith(_XATTR)}
            or _NOTHING,
            _text(records.get("uname", _string(block[265:297]))),
            _text(records.get("gname", _string(block[297:329]))),
        )


def encode(entry: Entry) -> bytes:
    """The blocks before the entry's content: one, or more where pax records are needed. The same for equal entries."""
    name, link = entry.name.encode("utf-8", "surrogateescape"), entry.link.encode("utf-8", "surrogateescape")
    records: dict[str, bytes] = {}
    if len(name) > 100 or not name.isascii():
        records["path"] = name
    if len(link) > 100 or not link.isascii():
        records["linkpath"] = link
    seconds, nanoseconds = divmod(entry.mtime, 1_000_000_000)
    if nanoseconds or not 0 <= seconds < 8**11:
        records["mtime"] = _seconds(seconds, nanoseconds)
    for key, value, limit in (
        ("uid", entry.uid, 8**7),
        ("gid", entry.gid, 8**7),
        ("size", entry.size, 8**11),
    ):
        if value >= limit:
            records[key] = str(value).encode()
    for key, value in sorted(entry.xattrs.items()):
        records[_XATTR + key] = value
    head = b""
    if records:
        payload = b"".join(_record(key, value) for key, value in records.items())
        base = name.rstrip(b"/").rpartition(b"/")[2]
        extension = Entry(_text(b"PaxHeaders/" + base[:80]), size=len(payload))
        head = _header(extension, _PAX) + payload + bytes(padding(len(payload)))
    return head + _header(entry, entry.type.encode())


def end() -> bytes:
    """What ends an archive."""
    return bytes(2 * BLOCK)


def _header(entry: Entry, kind: bytes) -> bytes:
    seconds = entry.mtime // 1_000_000_000
    fields = [
        entry.name.encode("utf-8", "surrogateescape")[:100].ljust(100, b"\0"),
        _octal(entry.mode, 8),
        _octal(entry.uid, 8),
        _octal(entry.gid, 8),
        _octal(entry.size, 12),
        _octal(seconds, 12),
        b" " * 8,
        kind,
        entry.link.encode("utf-8", "surrogateescape")[:100].ljust(100, b"\0"),
        b"ustar\x0000",
        entry.uname.encode("utf-8", "surrogateescape")[:31].ljust(32, b"\0"),
        entry.gname.encode("utf-8", "surrogateescape")[:31].ljust(32, b"\0"),
        _octal(entry.major, 8),
        _octal(entry.minor, 8),
    ]
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _octal(value: int, width: int) -> bytes:
    """A number in a header; what does not fit is 0 here and in a pax record."""
    digits = width - 1
    return b"%0*o\0" % (digits, value if 0 <= value < 8**digits else 0)


def _record(key: str, value: bytes) -> bytes:
    """A pax record: its own decimal length, a blank, key=value, a line end."""
    body = b" " + key.encode("utf-8", "surrogateescape") + b"=" + value + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def _seconds(seconds: int, nanoseconds: int) -> bytes:
    if seconds < 0 and nanoseconds:
        seconds, nanoseconds = seconds + 1, 1_000_000_000 - nanoseconds
        sign = "-" if seconds == 0 else ""
        return f"{sign}{seconds}.{nanoseconds:09d}".rstrip("0").rstrip(".").encode()
    text = f"{seconds}.{nanoseconds:09d}" if nanoseconds else str(seconds)
    return (text.rstrip("0") if nanoseconds else text).encode()


def _check(block: bytes) -> None:
    wanted = _number(block[148:156])
    total = sum(block) - sum(block[148:156]) + 8 * 32
    if total != wanted:
        # Old tars summed signed bytes.
        signed = total - 256 * sum(1 for byte in block[:148] + block[156:] if byte > 127)
        if signed != wanted:
            raise BadTar("invalid tar header: the checksum does not match")


def _number(field: bytes) -> int:
    """Octal digits, or base 256 where the first byte's high bit is set (GNU)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (len(field) * 8 - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (len(field) * 8 - 1)
        return value
    text = field.split(b"\0", 1)[0].strip()
    if not text:
        return 0
    if not all(48 <= byte <= 55 for byte in text):
        raise BadTar("invalid tar header: a number is not octal")
    return int(text, 8)


def _decimal(records: Mapping[str, bytes], key: str, default: int) -> int:
    value = records.get(key)
    if value is None:
        number = default
    elif value.isdigit() and len(value) < 20:
        number = int(value)
    else:
        raise BadTar(f"invalid pax record: {key} is not a number")
    if number < 0:
        raise BadTar(f"invalid tar header: negative {key}")
    return number


def _time(value: bytes) -> int:
    """Decimal seconds with a fraction, in nanoseconds."""
    text = value.decode("ascii", "replace")
    negative = text.startswith("-")
    whole, _, fraction = text.removeprefix("-").partition(".")
    if not whole.isdigit() or len(whole) > 18 or (fraction and not fraction.isdigit()):
        raise BadTar("invalid pax record: mtime is not a time")
    total = int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or 0)
    return -total if negative else total


def _string(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _text(data: bytes) -> str:
    if b"\0" in data:
        raise BadTar("invalid tar header: a name holds a NUL")
    return data.decode("utf-8", "surrogateescape")


def _pax(data: bytes) -> dict[str, bytes]:
    """The records of a pax header. An empty value removes a record; it is dropped."""
    records: dict[str, bytes] = {}
    while data:
        digits, blank, _ = data.partition(b" ")
        if not blank or not digits.isdigit() or len(digits) > 9:
            raise BadTar("invalid pax record")
        length = int(digits)
        record = data[len(digits) + 1 : length]
        if length < len(digits) + 4 or length > len(data) or data[length - 1 : length] != b"\n":
            raise BadTar("invalid pax record")
        key, equals, value = record[:-1].partition(b"=")
        if not equals or not key:
            raise BadTar("invalid pax record")
        records[key.decode("utf-8", "surrogateescape")] = value
        data = data[length:]
    return {key: value for key, value in records.items() if value}
