"""Words with quotes, escapes and variables, expanded as BuildKit's shell lexer does (frontend/dockerfile/shell).

Not a shell: `$name`, `${name}` and `${name` + one of `:- - :+ + :? ? # ## % %% / //` + `}`, single and double quotes and the
escape character. A variable's value is never looked at again. Splitting into words happens after expansion.
"""

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import SPACE_SET, SPACES, quote
from knarr.build.dockerfile.shellpatterns import replace, trim_prefix, trim_suffix

_DEEPEST = 100
_SPECIAL_PARAMETERS = frozenset("@*#?-$!0")
_NO_RUNE = "\ufffd"
_TABLE = {ord(space): " " for space in SPACES}


class Expansion(NamedTuple):
    """A word, the same split at spaces (where that was asked for), and the variables found and missing."""

    text: str
    words: list[str]
    found: set[str]
    missing: set[str]


class Lexer(NamedTuple):
    """How to read: what escapes, and which marks stay in the text."""

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    ignore_quotes: bool = False
    keep_unset: bool = False

    def expand(self, word: str, env: Mapping[str, str]) -> Expansion:
        """Raises DockerfileError for a syntax error or for `${name:?message}`."""
        if _is_plain(word, self.escape):
            return Expansion(word, [], set(), set())
        return _Reader(self, word, env, None).whole()

    def words(self, word: str, env: Mapping[str, str]) -> list[str]:
        """The expanded text, split at spaces that were not quoted."""
        if _is_plain(word, self.escape):
            return _split(word)
        return _Reader(self, word, env, []).whole().words

    def text(self, word: str, env: Mapping[str, str]) -> str:
        """Only the expanded text."""
        return self.expand(word, env).text


def _is_plain(word: str, escape: str) -> bool:
    return escape not in word and "$" not in word and '"' not in word and "'" not in word and "<" not in word


def _split(word: str) -> list[str]:
    return [part for part in word.translate(_TABLE).split(" ") if part]


class _NoWords:
    """Where nobody asks for words."""

    def add(self, text: str) -> None:
        pass

    def raw(self, text: str) -> None:
        pass

    def end(self) -> list[str]:
        return []


class _Words(_NoWords):
    """Words as they grow. Readers nested in one another share the buffer: a nested one empties it."""

    def __init__(self, buffer: list[str]) -> None:
        self.buffer = buffer
        buffer.clear()
        self.words: list[str] = []
        self.inside = False

    def add(self, text: str) -> None:
        for character in text:
            if character not in SPACE_SET:
                self.raw(character)
            elif self.inside and self.buffer:
                self.words.append("".join(self.buffer))
                self.buffer.clear()
                self.inside = False

    def raw(self, text: str) -> None:
        if text:
            self.buffer.append(text)
        self.inside = True

    def end(self) -> list[str]:
        if self.buffer:
            self.words.append("".join(self.buffer))
            self.buffer.clear()
        return self.words


@functools.lru_cache(maxsize=16)
def _plain(ends: str) -> re.Pattern[str]:
    return re.compile(f"[^$<'\"{re.escape(ends)}]+")


class _Reader:
    def __init__(self, lexer: Lexer, word: str, env: Mapping[str, str], buffer: list[str] | None) -> None:
        self.lexer, self.source, self.env = lexer, word, env
        self.text = word.removeprefix("\ufeff")
        self.position, self.depth = 0, 0
        self.raw_escapes = lexer.raw_escapes
        self.buffer = buffer
        self.found: set[str] = set()
        self.missing: set[str] = set()
        self.marks = {"$", "<"} if lexer.ignore_quotes else {"$", "<", "'", '"'}

    def whole(self) -> Expansion:
        try:
            text, words = self.until("", self.raw_escapes)
        except DockerfileError as error:
            error.missing = self.missing
            raise error.wrapped(f"failed to process {quote(self.source)}") from None
        return Expansion(text, words, self.found, self.missing)

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def next(self) -> str:
        character = self.text[self.position : self.position + 1]
        self.position += len(character)
        return character

    def until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """Reads to the character `stop`, or to the end when it is ""."""
        outer, self.raw_escapes = self.raw_escapes, raw_escapes
        self.depth += 1
        try:
            if self.depth > _DEEPEST:
                raise DockerfileError("substitutions are nested too deeply")
            return self._until(stop)
        finally:
            self.depth -= 1
            self.raw_escapes = outer

    def _until(self, stop: str) -> tuple[str, list[str]]:
        result: list[str] = []
        words = _NoWords() if self.buffer is None else _Words(self.buffer)
        plain = _plain(self.lexer.escape + stop)
        while character := self.peek():
            if character == stop:
                self.position += 1
                return "".join(result), words.end()
            if character in self.marks:
                text = self._marked(character)
                words.add(text) if character == "$" else words.raw(text)
                result.append(text)
            elif character == self.lexer.escape:
                self._escaped(words, result)
            else:
                run = plain.match(self.text, self.position)
                text = run[0] if run else character
                self.position += len(text)
                words.add(text)
                result.append(text)
        if stop:
            raise DockerfileError(f"unexpected end of statement while looking for matching {stop}")
        return "".join(result), words.end()

    def _marked(self, character: str) -> str:
        if character == "$":
            return self._dollar()
        if character == "<":
            return self._heredoc()
        return self._single() if character == "'" else self._double()

    def _escaped(self, words: _NoWords, result: list[str]) -> None:
        escape = self.next()
        if self.raw_escapes:
            words.raw(escape)
            result.append(escape)
        if character := self.next():
            words.raw(character)
            result.append(character)

    def _single(self) -> str:
        end = self.text.find("'", self.position + 1)
        if end < 0:
            self.position = len(self.text)
            raise DockerfileError("unexpected end of statement while looking for matching single-quote")
        start, self.position = self.position, end + 1
        return self.text[start : end + 1] if self.lexer.raw_quotes else self.text[start + 1 : end]

    def _double(self) -> str:
        mark = self.next() if self.lexer.raw_quotes else self.next()[:0]
        result = [mark]
        escape = self.lexer.escape
        while character := self.peek():
            if character == '"':
                self.position += 1
                result.append(mark)
                return "".join(result)
            if character == "$":
                result.append(self._dollar())
                continue
            self.position += 1
            if character == escape:
                if self.raw_escapes:
                    result.append(character)
                following = self.peek()
                if not following:
                    continue
                if following in ('"', "$", escape):
                    character = self.next()
            result.append(character)
        raise DockerfileError("unexpected end of statement while looking for matching double-quote")

    def _heredoc(self) -> str:
        self.position += 1
        if self.peek() != "<":
            return "<"
        start = self.position - 1
        self.position += 1
        while (character := self.peek()) and character in "\t\r ":
            self.position += 1
        return self.text[start : self.position]

    def _dollar(self) -> str:
        self.position += 1
        if self.peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._lookup(name)
            if value is None:
                return f"${name}" if self.lexer.keep_unset else ""
            return value
        self.position += 1
        if not self.peek():
            raise DockerfileError("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise DockerfileError("syntax error: bad substitution")
        return self._braced(self._name())

    def _braced(self, name: str) -> str:
        operator = self.next()
        if operator == "}":
            value = self._lookup(name)
            return value if value is not None else f"${{{name}}}" if self.lexer.keep_unset else ""
        if operator == "/":
            return self._replacement(name)
        mark = operator
        if empty_is_unset := operator == ":":
            operator = self.next()
            mark += operator or _NO_RUNE
        elif not operator or operator not in "+-?#%":
            raise DockerfileError(f"unsupported modifier ({operator or _NO_RUNE}) in substitution")
        cuts = operator in ("#", "%")
        if empty_is_unset and cuts:
            raise DockerfileError(f"unsupported modifier ({mark}) in substitution")
        word = self._operand("}", "}", raw=cuts)
        value = self._lookup(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}{mark}{word}}}"
        return self._modified(name, operator, mark, word, value, empty_is_unset)

    def _modified(
        self, name: str, operator: str, mark: str, word: str, value: str | None, empty_is_unset: bool
    ) -> str:
        absent = value is None or (empty_is_unset and not value)
        if operator == "-":
            return word if absent else value or ""
        if operator == "+":
            return "" if absent else word
        if operator == "?":
            if absent:
                state = "unset" if value is None else "empty"
                raise DockerfileError(f"{name}: {word or f'is not allowed to be {state}'}")
            return value or ""
        if operator in ("#", "%"):
            greedy = word.startswith(operator)
            cut = trim_suffix if operator == "%" else trim_prefix
            return cut(word[greedy:], value or "", greedy)
        raise DockerfileError(f"unsupported modifier ({mark}) in substitution")

    def _replacement(self, name: str) -> str:
        every = self.peek() == "/"
        self.position += every
        pattern = self._operand("/", "/' in ${}", raw=True)
        substitute = self._operand("}", "}", raw=True)
        value = self._lookup(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}/{pattern}/{substitute}}}"
        return replace(pattern, substitute, value or "", every)

    def _operand(self, stop: str, missing: str, *, raw: bool) -> str:
        try:
            return self.until(stop, raw)[0]
        except DockerfileError:
            if self.peek():
                raise
            end = missing if missing.endswith("}") and missing != "}" else f"{missing}'"
            raise DockerfileError(f"syntax error: missing '{end}") from None

    def _name(self) -> str:
        text, start = self.text, self.position
        first = self.peek()
        if first.isdecimal():
            while self.peek().isdecimal():
                self.position += 1
        elif first and first in _SPECIAL_PARAMETERS:
            self.position += 1
        else:
            while (character := self.peek()) and (
                character.isalpha() or character.isdecimal() or character == "_"
            ):
                self.position += 1
        return text[start : self.position]

    def _lookup(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.missing if value is None else self.found).add(name)
        return value
