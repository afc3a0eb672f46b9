"""Text to syntax tree, as BuildKit's parser does it (frontend/dockerfile/parser).

Lines are joined at a trailing escape character; comments and blank lines between joined lines are dropped; heredocs take the
lines up to their terminator. Bytes that are not UTF-8 are kept as surrogates.
"""

import re
from collections.abc import Iterator

from knarr.build.dockerfile.directives import Directives
from knarr.build.dockerfile.errors import DockerfileError, line_range, located
from knarr.build.dockerfile.golike import SPACES
from knarr.build.dockerfile.lineforms import FORMS, NO_FORM, split_command
from knarr.build.dockerfile.nodes import EmptyContinuation, Heredoc, Node, Tree
from knarr.build.dockerfile.shell import Lexer

LONGEST_LINE = 64 * 1024
_DEEPEST = 50
_HEREDOC = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)\Z")
_TABS = re.compile(r"^\t+", re.MULTILINE)
_HEREDOC_USERS = frozenset(("add", "copy", "run"))
_WORD = Lexer(keep_unset=True)
_RAW_WORD = Lexer(raw_quotes=True, keep_unset=True)
_RAW = Lexer(raw_quotes=True, raw_escapes=True, keep_unset=True)


def decode(data: bytes) -> str:
    """The text of a Dockerfile."""
    return data.decode("utf-8", "surrogateescape")


def parse(text: str) -> Tree:
    """The syntax tree. Raises DockerfileError with the lines."""
    return _Parser(text).tree()


def parse_heredoc(word: str) -> Heredoc | None:
    """`<<name`, `<<-name`, `3<<"name"`; None when the word is no heredoc."""
    found = _HEREDOC.match(word)
    if found is None or not found[3]:
        return None
    words = _WORD.words(found[3], {})
    if len(words) != 1:
        return None
    raw = _RAW_WORD.words(found[3], {})
    if len(raw) != 1:
        raise DockerfileError(f"internal lexing of heredoc produced inconsistent results: {found[3]}")
    quotes = [word.count("'") + word.count('"') for word in (words[0], raw[0])]
    return Heredoc(words[0], quotes[0] == quotes[1], bool(found[2]), int(found[1][:9] or 0))


def try_heredoc(word: str) -> Heredoc | None:
    """The same; None also for one that is malformed."""
    try:
        return parse_heredoc(word) if "<<" in word else None
    except DockerfileError:
        return None


def chomp(content: str) -> str:
    """Without the tabs that begin lines."""
    return _TABS.sub("", content)


def _heredocs(line: str) -> list[Heredoc]:
    try:
        words = _RAW.words(line, {})
    except DockerfileError:
        return []
    return [heredoc for word in words if (heredoc := parse_heredoc(word)) is not None]


def _is_comment(line: str) -> bool:
    return line.lstrip(SPACES).startswith("#")


class _Parser:
    def __init__(self, text: str) -> None:
        self.lines = self._split(text.removeprefix("\ufeff"))
        self.line = 0
        self.escape = "\\"
        self.directives = Directives()
        self.comments: list[str] = []
        self.nodes: list[Node] = []
        self.empty: list[EmptyContinuation] = []
        self.too_long = False

    def _split(self, text: str) -> Iterator[str]:
        """Lines with their ends; stops at one that is too long."""
        for line in re.findall(r"[^\n]*\n|[^\n]+", text):
            room = LONGEST_LINE if line.endswith("\n") else LONGEST_LINE - 1
            if len(line) * 4 > room and len(line.encode("utf-8", "surrogateescape")) > room:
                self.too_long = True
                return
            yield line

    def tree(self) -> Tree:
        for line in self.lines:
            self._instruction(line)
        if not self.nodes:
            raise DockerfileError("file with no instructions", (self.line,))
        if self.too_long:
            raise DockerfileError(
                f"dockerfile line greater than max allowed size of {LONGEST_LINE - 1}", (self.line,)
            )
        return Tree(self.nodes, self.escape, self.empty)

    def _instruction(self, line: str) -> None:
        if _is_comment(line):
            self._comment(line)
        text = self._read(line.lstrip(SPACES), first=True)
        text, ended = self._continued(text)
        if ended and not text:
            return
        start = self.line
        joined = self._joined(text, ended)
        with located(line_range(start, self.line)):
            node = self._node(joined, self.comments)
            self.comments = []
        if "<<" in joined and _takes_heredocs(node):
            self._read_heredocs(node, joined, start)
        node.start, node.end = start, self.line
        self.nodes.append(node)

    def _comment(self, line: str) -> None:
        comment = line[1:].strip(SPACES)
        if comment:
            self.comments.append(comment)
        else:
            self.comments = []

    def _read(self, line: str, *, first: bool) -> str:
        """Counts a line, tries it as a directive, and drops comments."""
        text = line.rstrip("\r\n")
        try:
            found = self.directives.read(text)
            if found is not None and found.name == "escape" and found.value not in ("\\", "`"):
                raise DockerfileError(f"invalid escape token '{found.value}' does not match ` or \\")
        except DockerfileError as error:
            raise error.at((self.line,)) from None
        self.line += 1
        if found is not None:
            if found.name == "escape":
                self.escape = found.value
            if first:
                self.comments = self.comments[:-1]
        return "" if _is_comment(text) else text

    def _continued(self, line: str) -> tuple[str, bool]:
        """The line without the escape that continues it, and whether it ends the instruction."""
        bare = line.rstrip(" \t")
        if not bare.endswith(self.escape) or bare.endswith(self.escape * 2):
            return line, True
        return bare[:-1], False

    def _joined(self, text: str, ended: bool) -> str:
        parts, blank = [text], False
        while not ended and (line := next(self.lines, None)) is not None:
            text = self._read(line, first=False)
            if _is_comment(line):
                continue
            if not text.strip(SPACES):
                blank = True
                continue
            text, ended = self._continued(text)
            parts.append(text)
        if blank:
            self.empty.append(EmptyContinuation(self.line))
        return "".join(parts)

    def _node(self, line: str, comments: list[str], depth: int = 0) -> Node:
        name, flags, rest = split_command(line, self.escape)
        if name.lower() == "onbuild":
            if depth > _DEEPEST:
                raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
            arguments: list[str | Node] = [self._node(rest, [], depth + 1)] if rest else []
            return Node(name, line, flags, arguments, comments=comments)
        form = FORMS.get(name.lower(), NO_FORM)(rest, self.escape)
        return Node(name, line, flags, list(form.arguments), form.json, comments=comments)

    def _read_heredocs(self, node: Node, line: str, start: int) -> None:
        with located(line_range(start, self.line)):
            heredocs = _heredocs(line)
        for heredoc in heredocs:
            content: list[str] = []
            for line in self.lines:
                self.line += 1
                bare = line.rstrip("\r\n")
                if (bare.lstrip("\t") if heredoc.chomp else bare) == heredoc.name:
                    break
                content.append(line)
            else:
                raise DockerfileError("unterminated heredoc", line_range(start, self.line))
            node.heredocs.append(heredoc._replace(content="".join(content)))


def _takes_heredocs(node: Node) -> bool:
    if node.value.lower() == "onbuild" and node.arguments and isinstance(node.arguments[0], Node):
        node = node.arguments[0]
    return node.value.lower() in _HEREDOC_USERS and not node.json
