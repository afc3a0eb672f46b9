"""Flags are read as docker reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.cli.flags import Flag, UsageError, Verb, help_text, parse, size

VERB = Verb(
    "try",
    "Try things",
    "[OPTIONS] WORD [WORD...]",
    (
        Flag("all", "a", "bool", "Everything"),
        Flag("name", "n", "string", "A name"),
        Flag("env", "e", "list", "Variables"),
        Flag("memory", "m", "bytes", "Memory"),
        Flag("count", "", "int", "How many", 3),
        Flag("proxy", "", "bool", "Pass on", True),
    ),
    least=1,
)
STOPPING = VERB._replace(interspersed=False)


def test_every_form() -> None:
    options = parse(
        VERB, ["-a", "--name=x", "-e", "A=1", "-eB=2", "one", "--count", "7", "-m64m", "two", "--", "-z"]
    )
    assert options.all
    assert options.name == "x"
    assert options.env == ["A=1", "B=2"]
    assert options.count == 7
    assert options.memory == 64 << 20
    assert options.args == ["one", "two", "-z"]
    assert options.given == {"all", "name", "env", "count", "memory"}


def test_short_flags_join() -> None:
    options = parse(VERB, ["-anx", "w"])
    assert (options.all, options.name) == (True, "x")


def test_defaults_and_false() -> None:
    options = parse(VERB, ["--proxy=false", "w"])
    assert not options.proxy
    assert options.count == 3
    assert parse(VERB, ["w"]).env == []


def test_flags_end_at_the_first_word() -> None:
    options = parse(STOPPING, ["-a", "image", "ls", "-a", "--unknown"])
    assert options.args == ["image", "ls", "-a", "--unknown"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-z"], "unknown shorthand flag: 'z' in -z"),
        (["--name"], "flag needs an argument: --name"),
        (["--count", "x", "w"], 'invalid argument "x" for "--count" flag'),
        (["--all=maybe", "w"], 'invalid argument "maybe" for "-a, --all" flag'),
        (["-m", "12q", "w"], "invalid suffix"),
        ([], "'knarr try' requires at least 1 argument"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        parse(VERB, words)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("10", 10), ("1k", 1024), ("1.5g", 3 << 29), ("2GiB", 2 << 30), ("-1", -1), ("5b", 5)],
)
def test_sizes(text: str, value: int) -> None:
    assert size(text) == value


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_words_are_parsed_or_refused(words: list[str]) -> None:
    try:
        parse(VERB, words)
    except UsageError:
        pass


def test_help_names_every_flag() -> None:
    text = help_text(VERB)
    assert "Usage:  knarr try [OPTIONS] WORD [WORD...]" in text
    assert "  -m, --memory bytes   Memory" in text
