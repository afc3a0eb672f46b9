"""tar headers: 512-byte blocks and pax records ↔ `Header`. Pure: no I/O (POSIX.1-2017 pax; GNU tar manual, "Basic Tar Format").

Reads v7, ustar, pax, GNU long names and base-256 numbers; refuses sparse members. Writes ustar, with a pax record for what
ustar cannot hold. Names are bytes, as the kernel has them.
"""

import stat
import struct
from typing import Any, NamedTuple

BLOCK = 512
ZEROS = bytes(BLOCK)
REGULAR, LINK, SYMLINK, CHAR, DEVICE, DIRECTORY, FIFO, CONTIGUOUS = (
    b"0",
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
    b"7",
)
# Kinds by the kind of st_mode, and back.
KINDS = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: DEVICE,
    stat.S_IFIFO: FIFO,
}
FORMATS = {kind: mode for mode, kind in KINDS.items()} | {CONTIGUOUS: stat.S_IFREG}
LONG_NAME, LONG_LINK, PAX, GLOBAL, LABEL, SPARSE = b"L", b"K", b"x", b"g", b"V", b"S"
_HEADER_ONLY = frozenset({LINK, SYMLINK, CHAR, DEVICE, DIRECTORY, FIFO})
_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_XATTR = b"SCHILY.xattr."
_SECOND = 1_000_000_000


class BadHeader(ValueError):
    """The block or the record is not tar."""


class Header(NamedTuple):
    """One member. `mtime` and `atime` are nanoseconds, `atime` None if the archive does not say."""

    name: bytes
    kind: bytes = REGULAR
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = {}  # noqa: RUF012  (never changed)
    atime: int | None = None


def parse(block: bytes | memoryview) -> Header:
    """The header in a block that is not all zeros. Raises BadHeader."""
    data = bytes(block)
    name, mode, uid, gid, size, mtime, checksum, kind, link, magic, _, _, major, minor, prefix = (
        _FIELDS.unpack(data)
    )
    _check(data, _number(checksum))
    name = _text(name)
    device = (0, 0)
    if magic[:5] == b"ustar":
        if magic[5:6] == b"\0" and prefix[0]:
            name = _text(prefix) + b"/" + name
        if kind in (CHAR, DEVICE):
            device = (_number(major), _number(minor))
    if kind == b"\0":
        kind = REGULAR
    if kind == SPARSE:
        raise BadHeader("sparse members are not supported")
    length = 0 if kind in _HEADER_ONLY else _number(size)
    if length < 0:
        raise BadHeader("negative size")
    return Header(
        name,
        kind,
        _number(mode) & 0o7777,
        _number(uid),
        _number(gid),
        length,
        _number(mtime) * _SECOND,
        _text(link),
        device,
    )


def _check(data: bytes, expected: int) -> None:
    """The sum of the bytes with the checksum's own taken as spaces; ancient tars summed signed bytes."""
    rest = data[:148] + data[156:]
    unsigned = sum(rest) + 8 * 32
    if unsigned != expected and sum(struct.unpack("504b", rest)) + 8 * 32 != expected:
        raise BadHeader("bad header checksum")


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    """Octal digits, or base-256 two's complement where the first bit is set (GNU, star)."""
    if field[0] & 0x80:
        if field[0] == 0xFF:
            return int.from_bytes(field, "big", signed=True)
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    try:
        return int(digits, 8) if digits.isdigit() else _bad_number(field)
    except ValueError:
        return _bad_number(field)


def _bad_number(field: bytes) -> int:
    raise BadHeader(f"bad number {field!r} in header")


def records(body: bytes) -> dict[bytes, bytes]:
    """The records of a pax body: `LENGTH KEY=VALUE\\n` each. Raises BadHeader."""
    found: dict[bytes, bytes] = {}
    position = 0
    while position < len(body) and body[position]:
        space = body.find(b" ", position, position + 12)
        digits = body[position:space] if space > 0 else b""
        if not digits.isdigit():
            raise BadHeader("bad pax record length")
        end = position + int(digits)
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if end > len(body) or end <= space + 1 or body[end - 1 : end] != b"\n" or not equals or not key:
            raise BadHeader("bad pax record")
        found[key] = value
        position = end
    return found


def amended(header: Header, pax: dict[bytes, bytes]) -> Header:
    """The header with what its pax records say. Raises BadHeader."""
    changes: dict[str, Any] = {}
    xattrs: dict[str, bytes] = {}
    for key, value in pax.items():
        if key.startswith(_XATTR):
            xattrs[key[len(_XATTR) :].decode("utf-8", "surrogateescape")] = value
        elif key.startswith(b"GNU.sparse."):
            raise BadHeader("sparse members are not supported")
        elif key in _READERS and value:
            field, read = _READERS[key]
            changes[field] = read(value)
    if header.kind in _HEADER_ONLY:
        changes.pop("size", None)
    return header._replace(**changes, xattrs=xattrs)


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise BadHeader(f"bad number {value[:32]!r} in pax record")
    return int(value)


def _nanoseconds(value: bytes) -> int:
    """`-1.5` is one and a half seconds before the epoch."""
    negative = value.startswith(b"-")
    whole, _, fraction = value.lstrip(b"-").partition(b".")
    if not (whole or fraction) or len(whole) > 20 or not (whole + fraction).isdigit():
        raise BadHeader(f"bad time {value[:32]!r} in pax record")
    total = int(whole or b"0") * _SECOND + int(fraction[:9].ljust(9, b"0"))
    return -total if negative else total


def _bytes(value: bytes) -> bytes:
    return value


_READERS = {
    b"path": ("name", _bytes),
    b"linkpath": ("link", _bytes),
    b"size": ("size", _decimal),
    b"uid": ("uid", _decimal),
    b"gid": ("gid", _decimal),
    b"mtime": ("mtime", _nanoseconds),
    b"atime": ("atime", _nanoseconds),
}


def encode(header: Header) -> bytes:
    """The member's blocks before its data: a pax header if one is needed, then ustar."""
    pax: dict[bytes, bytes] = {}
    prefix, name = _split(header.name)
    if prefix is None:
        pax[b"path"] = header.name
        prefix, name = b"", header.name[:100]
    if len(header.link) > 100:
        pax[b"linkpath"] = header.link
    uid, gid = (_fitting(pax, key, value, 7) for key, value in ((b"uid", header.uid), (b"gid", header.gid)))
    size = _fitting(pax, b"size", header.size, 11)
    seconds, fraction = divmod(header.mtime, _SECOND)
    if fraction or not 0 <= seconds < 8**11:
        pax[b"mtime"] = _time(header.mtime)
    for key in sorted(header.xattrs):
        pax[_XATTR + key.encode("utf-8", "surrogateescape")] = header.xattrs[key]
    plain = header._replace(name=name, uid=uid, gid=gid, size=size, mtime=min(max(seconds, 0), 8**11 - 1))
    return (_pax_member(pax) if pax else b"") + _ustar(plain, prefix)


def _split(name: bytes) -> tuple[bytes | None, bytes]:
    """ustar's prefix and name; no prefix (None) if it does not fit."""
    if len(name) <= 100:
        return b"", name
    slash = name.find(b"/", len(name) - 101, 156)
    if slash <= 0 or slash == len(name) - 1:
        return None, name
    return name[:slash], name[slash + 1 :]


def _fitting(pax: dict[bytes, bytes], key: bytes, value: int, digits: int) -> int:
    if value < 8**digits:
        return value
    pax[key] = b"%d" % value
    return 0


def _time(nanoseconds: int) -> bytes:
    whole, fraction = divmod(abs(nanoseconds), _SECOND)
    text = b"%d.%09d" % (whole, fraction)
    return (b"-" if nanoseconds < 0 else b"") + text.rstrip(b"0").rstrip(b".")


def _pax_member(pax: dict[bytes, bytes]) -> bytes:
    body = b"".join(_record(key, pax[key]) for key in sorted(pax))
    return _ustar(Header(b"PaxHeaders/0", PAX, size=len(body)), b"") + body + padding(len(body))


def _record(key: bytes, value: bytes) -> bytes:
    """A record's length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _ustar(header: Header, prefix: bytes) -> bytes:
    major, minor = header.device
    block = bytearray(
        _FIELDS.pack(
            header.name,
            b"%07o" % header.mode,
            b"%07o" % header.uid,
            b"%07o" % header.gid,
            b"%011o" % header.size,
            b"%011o" % header.mtime,
            b" " * 8,
            header.kind,
            header.link[:100],
            b"ustar\00000",
            b"",
            b"",
            b"%07o" % major,
            b"%07o" % minor,
            prefix,
        )
    )
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padding(size: int) -> bytes:
    """The zeros after `size` bytes of data."""
    return bytes(-size % BLOCK)
