"""Fluentd's forward protocol, message mode: [tag, time, record, option] in MessagePack, and the answer to a chunk's id."""

from collections.abc import Mapping

_SECOND = 1_000_000_000


def _text(text: "str | bytes") -> bytes:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    length = len(data)
    if length < 32:
        return bytes((0xA0 | length,)) + data
    if length < 1 << 8:
        return b"\xd9" + length.to_bytes(1, "big") + data
    if length < 1 << 16:
        return b"\xda" + length.to_bytes(2, "big") + data
    return b"\xdb" + length.to_bytes(4, "big") + data


def _table(value: "Mapping[str, str | bytes]") -> bytes:
    count = len(value)
    head = bytes((0x80 | count,)) if count < 16 else b"\xde" + count.to_bytes(2, "big")
    return head + b"".join(_text(key) + _text(each) for key, each in value.items())


def message(
    tag: str, at: int, record: "Mapping[str, str | bytes]", *, precise: bool, chunk: str = ""
) -> bytes:
    """`at` in nanoseconds; `precise` keeps them (EventTime, extension type 0)."""
    second, rest = divmod(at, _SECOND)
    moment = b"\xd7\x00" + second.to_bytes(4, "big") + rest.to_bytes(4, "big")
    if not precise:
        moment = b"\xce" + second.to_bytes(4, "big")
    return b"\x94" + _text(tag) + moment + _table(record) + _table({"chunk": chunk} if chunk else {})


def answered(data: bytes, chunk: str) -> bool | None:
    """Whether an answer {"ack": chunk} is that of this chunk; None while it is not whole."""
    whole = b"\x81" + _text("ack") + _text(chunk)
    if data.startswith(whole):
        return True
    return None if whole.startswith(data) else False
