"""`--format`: the part of Go's text/template that people write, on JSON values.

{{.Field.Sub}}, {{json .X}}, {{range …}}{{else}}{{end}}, {{if}}, {{with}}, {{index .Map "key"}}, {{len .}}, {{upper}}, {{lower}},
{{join .List ","}}, {{split}}, {{title}}, {{println}}, {{printf}}, pipes, comparisons, variables of range. Anything else is a TemplateError.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_OF_BEFORE = "\0"  # marks a path that belongs to the parenthesis before it
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
Node = tuple[Any, ...]


class TemplateError(Exception):
    """What Go's text/template would say; `parsing` tells a template that cannot be read from one that does not fit."""

    def __init__(self, message: str, *, parsing: bool = True):
        super().__init__(message)
        self.parsing = parsing


class HeaderOf(dict[str, Any]):
    """The titles of a table's columns in place of a line: what shapes values leaves titles as they are."""


class Template:
    """A parsed template; `render` may be called many times."""

    def __init__(self, text: str):
        self._text = text
        tokens = list(_split(text))
        self._nodes, rest = _parse(tokens, 0, ())
        if rest < len(tokens):
            raise TemplateError(f"unexpected {{{{{tokens[rest][1]}}}}}")

    def render(self, value: Any) -> str:
        """The text for one value. Raises TemplateError for a field that is not there."""
        return "".join(_run(self._nodes, value, {"$": value}))


def _split(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while (start := text.find("{{", position)) >= 0:
        end = text.find("}}", start)
        if end < 0:
            raise TemplateError("template: :1: unclosed action")
        before, action = text[position:start], text[start + 2 : end]
        if action.startswith("- "):
            before, action = before.rstrip(), action[2:]
        trim = action.endswith(" -")
        if before:
            yield "text", before
        yield "action", action.removesuffix(" -").strip() if trim else action.strip()
        position = end + 2
        if trim:
            position += len(text[position:]) - len(text[position:].lstrip())
    if position < len(text):
        yield "text", text[position:]


def _parse(tokens: Sequence[tuple[str, str]], at: int, until: Sequence[str]) -> tuple[list[Node], int]:
    nodes: list[Node] = []
    while at < len(tokens):
        kind, text = tokens[at]
        word = text.split(" ", 1)[0] if kind == "action" else ""
        if word in until:
            return nodes, at
        at += 1
        if kind == "text":
            nodes.append(("text", text))
        elif word in ("range", "if", "with"):
            node, at = _block(tokens, at, word, text[len(word) :])
            nodes.append(node)
        elif word in ("end", "else"):
            raise TemplateError(f"unexpected {{{{{word}}}}}")
        elif not text.startswith("/*"):
            nodes.append(("print", _words(text)))
    if until:
        raise TemplateError("template: :1: unexpected EOF")
    return nodes, at


def _block(tokens: Sequence[tuple[str, str]], at: int, word: str, condition: str) -> tuple[Node, int]:
    body, at = _parse(tokens, at, ("else", "end"))
    other: list[Node] = []
    if tokens[at][1].startswith("else"):
        following = tokens[at][1][4:].strip()
        if following.startswith("if"):
            node, at = _block(tokens, at + 1, "if", following[2:])
            return (word, _words(condition), body, [node]), at
        other, at = _parse(tokens, at + 1, ("end",))
    return (word, _words(condition), body, other), at + 1


def _words(text: str) -> list[str]:
    """The tokens of an action: words, "strings", |, (, ), :=, ','."""
    out, position = [], 0
    while position < len(text):
        character = text[position]
        if character.isspace():
            position += 1
        elif character in '"`':
            end = position + 1
            while end < len(text) and text[end] != character:
                end += 2 if text[end] == "\\" and character == '"' else 1
            if end >= len(text):
                raise TemplateError("unterminated quoted string")
            out.append(text[position : end + 1])
            position = end + 1
        elif character in "|(),":
            out.append(character)
            position += 1
            if character == ")" and text.startswith(".", position):
                end = position
                while end < len(text) and not text[end].isspace() and text[end] not in "|(),":
                    end += 1
                out.append(_OF_BEFORE + text[position:end])
                position = end
        elif text.startswith(":=", position):
            out.append(":=")
            position += 2
        else:
            end = position
            while end < len(text) and not text[end].isspace() and text[end] not in '|(),"`':
                end += 1
            out.append(text[position:end])
            position = end
    return out


def _run(nodes: Sequence[Node], dot: Any, names: dict[str, Any]) -> Iterator[str]:
    for node in nodes:
        if node[0] == "text":
            yield node[1]
        elif node[0] == "print":
            words = node[1]
            if ":=" in words[:2]:
                names[words[0]] = _evaluate(words[2:], dot, names)
            else:
                yield show(_evaluate(words, dot, names))
        elif node[0] == "range":
            yield from _range(node, dot, names)
        else:
            value = _evaluate(node[1], dot, names)
            chosen = node[2] if value else node[3]
            yield from _run(chosen, value if node[0] == "with" and value else dot, names)


def _range(node: Node, dot: Any, names: dict[str, Any]) -> Iterator[str]:
    words = node[1]
    variables: list[str] = []
    if ":=" in words:
        cut = words.index(":=")
        variables, words = [word for word in words[:cut] if word != ","], words[cut + 1 :]
    values = _evaluate(words, dot, names)
    pairs = sorted(values.items()) if isinstance(values, dict) else list(enumerate(values or []))
    if not pairs:
        yield from _run(node[3], dot, names)
    for key, value in pairs:
        scope = dict(names)
        if len(variables) == 2:
            scope[variables[0]], scope[variables[1]] = key, value
        elif variables:
            scope[variables[0]] = value
        yield from _run(node[2], value, scope)


def _evaluate(words: Sequence[str], dot: Any, names: dict[str, Any]) -> Any:
    """A pipeline: each command's value is the last argument of the next."""
    value: Any = _NOTHING
    command: list[str] = []
    depth = 0
    for word in [*words, "|"]:
        depth += (word == "(") - (word == ")")
        if word == "|" and depth == 0:
            value = _command(command, dot, names, value)
            command = []
        else:
            command.append(word)
    return value


_NOTHING = object()


def _command(words: Sequence[str], dot: Any, names: dict[str, Any], piped: Any) -> Any:
    operands: list[Any] = []
    name = ""
    at = 0
    while at < len(words):
        word = words[at]
        if word == "(":
            end, depth = at + 1, 1
            while depth and end < len(words):
                depth += (words[end] == "(") - (words[end] == ")")
                end += 1
            operands.append(_evaluate(words[at + 1 : end - 1], dot, names))
            at = end
            continue
        if word.startswith(_OF_BEFORE) and operands:
            operands.append(_operand(word[1:], operands.pop(), names))
        elif at == 0 and word in _FUNCTIONS:
            name = word
        else:
            operands.append(_operand(word, dot, names))
        at += 1
    if operands and callable(operands[0]):
        method, *operands = operands
        return method(*operands)
    if piped is not _NOTHING:
        operands.append(piped)
    if name and isinstance(dot, HeaderOf) and name not in _PLAIN:
        return operands[-1 if name in ("pad", "truncate", "println") and piped is not _NOTHING else 0]
    if name:
        try:
            return _FUNCTIONS[name](*operands)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise TemplateError(f"error calling {name}: {error}", parsing=False) from None
    if len(operands) != 1:
        raise TemplateError(f"cannot evaluate {' '.join(words)!r}")
    return operands[0]


def _operand(word: str, dot: Any, names: dict[str, Any]) -> Any:
    if word[0] == '"':
        out, rest = "", word[1:-1]
        while rest:
            if rest[0] == "\\" and len(rest) > 1:
                out, rest = out + _ESCAPES.get(rest[1], rest[1]), rest[2:]
            else:
                out, rest = out + rest[0], rest[1:]
        return out
    if word[0] == "`":
        return word[1:-1]
    if word in ("true", "false"):
        return word == "true"
    if word == "nil":
        return None
    if word.lstrip("-").isdigit():
        return int(word)
    head, _, path = word.partition(".")
    if head and head not in names:
        raise TemplateError(f'template: :1: function "{head}" not defined')
    value = names[head] if head else dot
    for part in filter(None, path.split(".")):
        value = _field(value, part, word)
    return value


def _field(value: Any, part: str, word: str) -> Any:
    if isinstance(value, HeaderOf):
        return value.get(part, _title)
    if isinstance(value, dict):
        if part in value:
            return value[part]
        if part.lower() in {key.lower() for key in value}:
            return next(each for key, each in value.items() if key.lower() == part.lower())
        raise TemplateError(
            f'template: :1:2: executing "" at <{word}>: map has no entry for key "{part}"', parsing=False
        )
    if value is None:
        return None
    raise TemplateError(
        f'template: :1:2: executing "" at <{word}>: can\'t evaluate field {part}', parsing=False
    )


def _title(*names: str) -> str:
    """A label's column is called after its last word."""
    return " ".join(names).rpartition(".")[2].replace("-", " ").replace("_", " ") if names else "<no value>"


def show(value: Any) -> str:
    """A value as Go prints it."""
    if value is None:
        return "<no value>"
    if callable(value):
        return str(value())
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{show(each)}" for key, each in sorted(value.items())) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(show(each) for each in value) + "]"
    return str(value)


def _printf(form: str, *values: Any) -> str:
    return form.replace("%v", "%s").replace("%q", "%r") % tuple(
        show(v) if not isinstance(v, (int, float)) else v for v in values
    )


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else value[key]
    return value


def _json(value: Any) -> str:
    if hasattr(value, "json"):
        return str(value.json())
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


_PLAIN = frozenset(
    ("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "index", "len", "print", "printf")
)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": _json,
    "len": len,
    "index": _index,
    "upper": lambda text: show(text).upper(),
    "lower": lambda text: show(text).lower(),
    "title": lambda text: show(text).title(),
    "join": lambda values, by=" ": by.join(show(value) for value in values or []),
    "split": lambda text, by: show(text).split(by),
    "println": lambda *values: " ".join(map(show, values)) + "\n",
    "print": lambda *values: "".join(map(show, values)),
    "printf": _printf,
    "truncate": lambda text, size: show(text)[:size],
    "pad": lambda text, left, right: text and " " * left + show(text) + " " * right,
    "eq": lambda first, *others: first in others,
    "ne": lambda first, second: first != second,
    "lt": lambda first, second: first < second,
    "le": lambda first, second: first <= second,
    "gt": lambda first, second: first > second,
    "ge": lambda first, second: first >= second,
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "or": lambda *values: next((value for value in values if value), values[-1]),
    "not": lambda value: not value,
}
