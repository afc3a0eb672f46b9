"""Tags of logs: `{{.Field}}` of Go's text/template with its functions, quoted words and pipes. Pure.

Branches and loops are refused by name: nobody tags by them.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from knarr.model.errors import Invalid

_ACTION = re.compile(r"\{\{(-?)(.*?)(-?)\}\}", re.DOTALL)
_WORD = re.compile(r'\s*("(?:[^"\\]|\\.)*"|`[^`]*`|\||[^\s|]+)')


def render(text: str, fields: Mapping[str, Any]) -> str:
    """Raises Invalid."""
    out, position = [], 0
    for found in _ACTION.finditer(text):
        before = text[position : found.start()]
        out.append(before.rstrip() if found[1] else before)
        out.append(_shown(_pipe(found[2], fields)))
        position = found.end()
        if found[3]:
            position += len(text[position:]) - len(text[position:].lstrip())
    rest = text[position:]
    if "{{" in rest:
        raise Invalid("template: log-tag:1: unclosed action")
    return "".join([*out, rest])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{value[key]}' for key in sorted(value))}]"
    return f"[{' '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _pipe(text: str, fields: Mapping[str, Any]) -> Any:
    words = _WORD.findall(text.strip())
    if not words:
        raise Invalid("template: log-tag:1: missing value for command")
    commands: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            commands.append([])
        else:
            commands[-1].append(word)
    value: Any = None
    for number, command in enumerate(commands):
        value = _command(command, fields, [value] if number else [])
    return value


def _command(words: list[str], fields: Mapping[str, Any], before: list[Any]) -> Any:
    if not words:
        raise Invalid("template: log-tag:1: missing value for command")
    name = words[0]
    if name in _FUNCTIONS:
        try:
            return _FUNCTIONS[name](*[_operand(word, fields) for word in words[1:]], *before)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise Invalid(f"template: log-tag:1: error calling {name}: {error}") from None
    if name[0] not in '.$"`-' and not name.isdigit():
        raise Invalid(f'template: log-tag:1: function "{name}" not defined')
    if len(words) > 1 or before:
        raise Invalid(f"template: log-tag:1: can't give argument to non-function {name}")
    return _operand(name, fields)


def _operand(word: str, fields: Mapping[str, Any]) -> Any:
    if word[0] == '"':
        return json.loads(word)
    if word[0] == "`":
        return word[1:-1]
    if word.lstrip("-").isdigit():
        return int(word)
    found: Any = fields
    for name in word.lstrip("$").split(".")[1:]:
        if name:
            if not isinstance(found, Mapping) or (found is fields and name not in found):
                raise Invalid(f"template: log-tag:1: can't evaluate field {name} in type *logger.Info")
            found = found.get(name, "<no value>")
    return found


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True),
    "split": lambda text, by: text.split(by) if by else list(text),
    "join": lambda words, by: by.join(words),
    "title": lambda text: re.sub(r"(^|\s)(\w)", lambda found: found[1] + found[2].upper(), text),
    "lower": str.lower,
    "upper": str.upper,
    "pad": _pad,
    "truncate": lambda text, length: text[:length],
    "index": lambda value, key: value.get(key, "") if isinstance(value, dict) else value[key],
    "len": len,
    "print": lambda *words: "".join(map(str, words)),
    "printf": lambda form, *words: re.sub("%[vsd]", "{}", form).format(*words),
}
