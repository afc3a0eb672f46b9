"""Properties of the parser and the lexer: nothing but their own error, in time that grows with the text."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.build.dockerfile import frontend, parser
from knarr.build.dockerfile.errors import DockerfileError, nearest
from knarr.build.dockerfile.golike import clean, quote
from knarr.build.dockerfile.parser import LONGEST_LINE, parse
from knarr.build.dockerfile.shell import Lexer
from knarr.build.dockerfile.shellpatterns import replace, trim_prefix, trim_suffix
from tests.unit.build.support import Case, build

PIECES = [
    "FROM ", "alpine", " AS b", "RUN ", "COPY ", "ADD ", "ENV ", "ARG ", "LABEL ", "ONBUILD ", "HEALTHCHECK ", "EXPOSE ",
    "SHELL ", "VOLUME ", "CMD ", "WORKDIR ", "USER ", "--from=b ", "--mount=type=cache,target=/c ", "--link ", "<<EOF",
    "EOF", "\n", "\n", "\n", "\\\n", "# escape=`\n", "# c\n", '["a", "b"]', "[", '"', "'", "\\", "$", "${A", ":-", "}",
    "A=1", "a", " ", "\t", "/", "*", "ü", "\udc80", "\r\n", "80/tcp", "https://x/y.git#a:b",
]  # fmt: skip
DOCKERFILES = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
WORDS = st.text(alphabet="ab$V{}:-+?#%/*\\\"' <`\t1_é\n", max_size=30)
LONG = 20_000


@settings(max_examples=300, deadline=None)
@given(DOCKERFILES)
def test_anything_is_built_or_refused(text: str) -> None:
    case = Case({"name": "", "dockerfile": "FROM alpine\n"})
    definition = frontend.Definition(("FROM alpine\n" + text).encode("utf-8", "surrogateescape"))
    try:
        frontend.drive(frontend.build(definition, case.options()), case.answer)
    except DockerfileError as error:
        error.excerpts("Dockerfile", text)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(DockerfileError):
        parse(parser.decode(data)).dump()


@given(WORDS, st.sampled_from(["\\", "`"]), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_any_word_is_expanded_or_refused(word: str, escape: str, a: bool, b: bool, c: bool, d: bool) -> None:
    lexer = Lexer(escape, a, b, c, d)
    env = {"V": "a b", "a": ""}
    with suppress(DockerfileError):
        assert lexer.text(word, env) == lexer.expand(word, env).text
        lexer.words(word, env)


@given(st.text(max_size=50))
def test_single_quotes_keep_everything(text: str) -> None:
    text = text.replace("'", "").replace("\ufeff", "")
    assert Lexer().text(f"'{text}'", {}) == text


@given(st.lists(st.text(alphabet="abc=/.$\\\"' ü", max_size=8), min_size=1, max_size=5))
def test_a_json_array_comes_through(words: list[str]) -> None:
    node = parse(f"FROM a\nRUN {json.dumps(words, ensure_ascii=False)}\n").nodes[1]
    assert (node.arguments, node.json) == (words, True)


@given(DOCKERFILES)
def test_every_line_belongs_to_at_most_one_instruction(text: str) -> None:
    try:
        tree = parse(text)
    except DockerfileError:
        return
    seen = [line for node in tree.nodes for line in node.lines]
    assert seen == sorted(set(seen))
    assert max(seen) <= text.count("\n") + 1


@given(st.text(alphabet="ab/.", max_size=20))
def test_clean_paths_stay(path: str) -> None:
    assert clean(clean(path)) == clean(path)


@given(st.text(alphabet="ab*?", max_size=8), st.text(alphabet="ab\n", max_size=12))
def test_prefixes_and_suffixes_mirror_each_other(pattern: str, value: str) -> None:
    for greedy in (False, True):
        mirrored = trim_prefix(pattern[::-1], value[::-1], greedy)[::-1]
        assert trim_suffix(pattern, value, greedy) == mirrored
        assert value.endswith(trim_prefix(pattern, value, greedy))


@given(st.text(alphabet="ab", min_size=1, max_size=3), st.text(alphabet="ab", max_size=20))
def test_replacing_text_is_replacing_text(pattern: str, value: str) -> None:
    assert replace(pattern, "-", value, True) == value.replace(pattern, "-")
    assert replace(pattern, "-", value, False) == value.replace(pattern, "-", 1)


@pytest.mark.parametrize(
    "word",
    [
        "$" * LONG,
        "\\" * LONG,
        "${A:-" * LONG,
        "${A:-" * 90 + "x" + "}" * 90,
        "'" * LONG,
        '"$A' * LONG,
        "<" * LONG,
        "${V//" + "*a" * 100 + "/x}",
        "${V##" + "*a?" * 50 + "}",
    ],
    ids=lambda word: word[:8],
)
def test_nasty_words_end_soon(word: str) -> None:
    with suppress(DockerfileError):
        Lexer().words(word, {"V": "a" * 2000})


@pytest.mark.parametrize(
    "text",
    [
        "\\\n" * LONG,
        "RUN " + "\\\n" * LONG,
        "RUN a\n" * LONG,
        "RUN " + "<<A " * 1000 + "\n" + "A\n" * 1000,
        "RUN " + "[" * 60_000,
        "RUN " + "--a" * LONG,
        "ENV " + "A=1 " * 10_000,
        "ONBUILD " * 5000,
        "#" * 60_000,
        "# c\n" * 50_000 + "RUN a",
    ],
    ids=lambda text: text[:12],
)
def test_nasty_files_end_soon(text: str) -> None:
    with suppress(DockerfileError):
        parse(text)


def test_many_stages_are_no_deep_recursion() -> None:
    text = "FROM alpine AS s0\nRUN x\n" + "".join(
        f"FROM s{index} AS s{index + 1}\nCOPY --from=s{index} a b\n" for index in range(1500)
    )
    assert build(text).results[0].output is not None


def test_long_lines_are_refused() -> None:
    room = LONGEST_LINE - len("RUN \n")
    assert parse(f"FROM a\nRUN {'x' * room}\n").nodes[1].arguments == ["x" * room]
    with pytest.raises(DockerfileError, match="line greater than max allowed size of 65535"):
        parse(f"FROM a\nRUN {'x' * (room + 1)}\n")


@pytest.mark.parametrize(
    ("word", "options", "wanted"),
    [
        ("copi", ["COPY", "CMD"], "copy"),
        ("COPI", ["copy"], "COPY"),
        ("copy", ["COPY"], ""),
        ("xxxx", ["COPY"], ""),
        ("RU", ["ARG", "RUN"], "RUN"),
    ],
)
def test_suggestions(word: str, options: list[str], wanted: str) -> None:
    assert nearest(word, options, case=False) == wanted


def test_quotes_are_gos() -> None:
    assert quote('a"\\\n\x01é\u200b\U0001f680\udcff') == '"a\\"\\\\\\n\\x01é\\u200b🚀\\xff"'
