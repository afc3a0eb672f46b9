"""The forms that one instruction's line can have: words, name=value pairs, a JSON array or plain text, flags before them.

Each instruction has one form (`FORMS`); an unknown name has none and is refused later, when instructions are read.
"""

import json
from collections.abc import Callable
from typing import NamedTuple

from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import SPACE_SET, SPACES, WIDE_SPACE, quote, trim


class Form(NamedTuple):
    """The arguments of a line, and whether they were a JSON array."""

    arguments: list[str]
    json: bool = False


def split_command(line: str, escape: str) -> tuple[str, list[str], str]:
    """The name, the flags and the rest of a line."""
    name, *rest = WIDE_SPACE.split(trim(line), maxsplit=1)
    if not rest:
        return name, [], ""
    if not rest[0].lstrip(SPACES).startswith("--"):
        return name, [], trim(rest[0])
    flags, rest_of_line = _flags(rest[0], escape)
    return name, flags, trim(rest_of_line)


def _flags(line: str, escape: str) -> tuple[list[str], str]:
    """Words that begin with `--`, without their quotes; `--` alone ends them."""
    # BuildKit reads flags byte by byte, each byte as a character of its own.
    text = line if line.isascii() else line.encode("utf-8", "surrogateescape").decode("latin-1")
    flags: list[str] = []
    position, size = 0, len(text)
    while position < size:
        if text[position] in SPACE_SET:
            position += 1
            continue
        if not text.startswith("--", position):
            return flags, _utf8(text[position:], line)
        word, position, quoted = _flag(text, position, escape)
        if word == "--":
            return flags, _utf8(text[position:], line)
        if word or quoted:
            flags.append(word)
    return flags, ""


def _utf8(text: str, line: str) -> str:
    return text if line.isascii() else text.encode("latin-1").decode("utf-8", "surrogateescape")


def _flag(text: str, position: int, escape: str) -> tuple[str, int, bool]:
    word: list[str] = []
    mark, quoted, size = "", False, len(text)
    while position < size:
        character = text[position]
        if not mark and character in SPACE_SET:
            break
        position += 1
        if not mark and character in "'\"":
            mark, quoted = character, True
        elif mark and character == mark:
            mark = ""
        elif character == escape:
            if position < size:
                word.append(text[position])
            else:
                mark = ""
            position += 1
        else:
            word.append(character)
    return "".join(word), min(position, size), quoted


def split_words(rest: str, escape: str) -> list[str]:
    """Words separated by spaces outside quotes. Quotes and escapes stay in the words."""
    if escape not in rest and '"' not in rest and "'" not in rest:
        return _spaced(rest)
    words: list[str] = []
    word: list[str] = []
    mark, started, position, size = "", False, 0, len(rest)
    while position < size:
        character = rest[position]
        position += 1
        if not mark and character in SPACE_SET:
            if started or word:
                words.append("".join(word))
            word.clear()
            started = False
            continue
        if character == mark:
            mark = ""
        elif not mark and character in "'\"":
            mark, started = character, True
        elif character == escape and mark != "'":
            if position == size:
                break  # an escape at the end escapes nothing
            word.append(character)
            character = rest[position]
            position += 1
        word.append(character)
    if started or word:
        words.append("".join(word))
    return words


def _spaced(text: str) -> list[str]:
    return [word for word in "".join(" " if c in SPACE_SET else c for c in text).split(" ") if word]


def _pairs(name: str) -> Callable[[str, str], Form]:
    def form(rest: str, escape: str) -> Form:
        """`name=value …`, or the old `name value`; each as name, value and separator."""
        words = split_words(rest, escape)
        if not words:
            return Form([])
        if "=" not in words[0]:
            parts = WIDE_SPACE.split(rest, maxsplit=1)
            if len(parts) < 2:
                raise DockerfileError(f"{name} must have two arguments")
            return Form([*parts, ""])
        arguments: list[str] = []
        for word in words:
            key, equals, value = word.partition("=")
            if not equals:
                raise DockerfileError(
                    f"Syntax error - can't find = in {quote(word)}. Must be of the form: name=value"
                )
            arguments += (key, value, equals)
        return Form(arguments)

    return form


def _words(rest: str, escape: str) -> Form:
    return Form(split_words(rest, escape))


def _spaced_list(rest: str, escape: str) -> Form:
    return Form(WIDE_SPACE.split(rest) if rest else [])


def _one(rest: str, escape: str) -> Form:
    return Form([rest] if rest else [])


def _nothing(rest: str, escape: str) -> Form:
    return Form([""])


def _refused(constant: str) -> object:
    raise ValueError(constant)


def _json(rest: str) -> Form | None:
    """A JSON array of strings; None when the text is something else."""
    text = rest.lstrip(SPACES)
    if not text.startswith("["):
        return None
    try:
        values = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, str) for value in values):
        raise DockerfileError("when using JSON array syntax, arrays must be comprised of strings only")
    return Form([_whole(value) for value in values], json=True)


def _whole(text: str) -> str:
    """Without halves of surrogate pairs and bytes that are not UTF-8, as Go decodes JSON."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if not _encodes(text) else text


def _encodes(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _maybe_json(rest: str, escape: str) -> Form:
    if not rest:
        return Form([])
    return _json(rest) or Form([rest])


def _maybe_json_list(rest: str, escape: str) -> Form:
    return _json(rest) or _spaced_list(rest, escape)


def _health(rest: str, escape: str) -> Form:
    """The kind, and its command."""
    kind = next((rest[:index] for index, character in enumerate(rest) if character in SPACE_SET), rest)
    if not kind:
        return Form([])
    command = _maybe_json(rest[len(kind) :].lstrip(SPACES), escape)
    return Form([kind, *command.arguments], command.json)


FORMS: dict[str, Callable[[str, str], Form]] = {
    "add": _maybe_json_list,
    "arg": _words,
    "cmd": _maybe_json,
    "copy": _maybe_json_list,
    "entrypoint": _maybe_json,
    "env": _pairs("ENV"),
    "expose": _spaced_list,
    "from": _spaced_list,
    "healthcheck": _health,
    "label": _pairs("LABEL"),
    "maintainer": _one,
    "run": _maybe_json,
    "shell": _maybe_json,
    "stopsignal": _one,
    "user": _one,
    "volume": _maybe_json_list,
    "workdir": _one,
}
NO_FORM = _nothing
