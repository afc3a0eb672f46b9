"""Flags of instructions: `--name=value`, and comma-separated fields in a value."""

import re
from collections.abc import Mapping, Sequence

from knarr.build.dockerfile.errors import DockerfileError
from knarr.model.errors import Invalid

_NUMBER = re.compile(r"\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z", re.ASCII)
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


class Flags:
    """The flags of one instruction, read by what each may be: "bool", "text" or "list"."""

    def __init__(self, given: Sequence[str], kinds: Mapping[str, str]) -> None:
        self.kinds = kinds
        self.values: dict[str, list[str]] = {}
        for flag in given:
            self._read(flag)

    def _read(self, flag: str) -> None:
        if not flag.startswith("--"):
            raise DockerfileError(f"arg should start with -- : {flag}")
        dashed, equals, value = flag.partition("=")
        name = dashed[2:]
        kind = self.kinds.get(name)
        if kind is None:
            raise DockerfileError(f"unknown flag: {dashed}").suggesting(name, self.kinds)
        if name in self.values and kind != "list":
            raise DockerfileError(f"duplicate flag specified: {dashed}")
        if (kind != "bool" and not equals) or (kind == "bool" and equals and not value):
            raise DockerfileError(f"missing a value on flag: {dashed}")
        if kind == "bool":
            if value.lower() not in ("true", "false", ""):
                raise DockerfileError(f"expecting boolean value for flag {dashed}, not: {value}")
            value = value.lower() or "true"
        self.values.setdefault(name, []).append(value)

    def text(self, name: str, default: str = "") -> str:
        """A flag's value."""
        return self.values[name][0] if name in self.values else default

    def chosen(self, name: str) -> bool | None:
        """A flag that is on, off, or not given."""
        return self.values[name][0] == "true" if name in self.values else None

    def on(self, name: str) -> bool:
        """Whether a flag is on."""
        return bool(self.chosen(name))

    def all(self, name: str) -> tuple[str, ...]:
        """The values of a flag that may be repeated."""
        return tuple(self.values.get(name, ()))


def fields(line: str) -> list[str]:
    """The fields of one line of comma-separated values. Raises Invalid in the words of Go's encoding/csv."""
    line = line.removesuffix("\r\n") if line.endswith("\r\n") else line.removesuffix("\n")
    if not line:
        raise Invalid("EOF")
    if '"' not in line:
        return line.split(",")
    found: list[str] = []
    position = 0
    while True:
        value, position = (_quoted if line.startswith('"', position) else _bare)(line, position)
        found.append(value)
        if position >= len(line):
            return found
        position += 1
        if position == len(line):
            return [*found, ""]


def _bare(line: str, position: int) -> tuple[str, int]:
    end = line.find(",", position)
    end = len(line) if end < 0 else end
    if (mark := line.find('"', position, end)) >= 0:
        raise _malformed(line, mark, 'bare " in non-quoted-field')
    return line[position:end], end


def _quoted(line: str, position: int) -> tuple[str, int]:
    value: list[str] = []
    position += 1
    while (mark := line.find('"', position)) >= 0:
        value.append(line[position:mark])
        position = mark + 1
        if line.startswith('"', position):
            value.append('"')
            position += 1
        elif position == len(line) or line[position] == ",":
            return "".join(value), position
        else:
            raise _malformed(line, mark, 'extraneous or missing " in quoted-field')
    raise _malformed(line, position, 'extraneous or missing " in quoted-field')


def _malformed(line: str, position: int, why: str) -> Invalid:
    column = len(line[:position].encode("utf-8", "surrogateescape")) + 1
    return Invalid(f"parse error on line 1, column {column}: {why}")


def parse_size(text: str) -> int | None:
    """Bytes of a text such as `64m` or `1.5 GiB`; None where it is none."""
    cut = max(text.rfind(character) for character in "0123456789. ")
    if cut < 0:
        return None
    number, suffix = text[: cut + (text[cut] != " ")], text[cut + 1 :].lower()
    if not _NUMBER.match(number) or len(number) > 64:
        return None
    unit = _UNITS.get(suffix[:1], 1 if suffix in ("", "b") else 0)
    if not unit or suffix[1:] not in ("", "b", "ib"):
        return None
    size = float(number) * unit
    return int(size) if size < 1 << 63 else None
