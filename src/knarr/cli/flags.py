"""Flags in the manner of docker's command line (pflag): one table a verb makes parsing, help and completion.

`--name value`, `--name=value`, `-n value`, `-nvalue`, `-abc`; a bool takes a value only after `=`; `--` ends the flags.
With `interspersed` off the first word that is no flag ends them too, as `run` and `exec` need.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class UsageError(Exception):
    """The words cannot be understood: exit code 125 for `run` and its like, else 1."""


class Flag(NamedTuple):
    """`kind`: "bool", "string", "list", "int", "bytes" ("64m"), "float". The value's key is the name with "_" for "-"."""

    name: str
    short: str = ""
    kind: str = "bool"
    help: str = ""
    default: Any = None
    hidden: bool = False

    @property
    def key(self) -> str:
        """The name as an identifier."""
        return self.name.replace("-", "_")

    def initial(self) -> Any:
        """The value where the flag is not given."""
        if self.default is not None:
            return self.default
        return {"bool": False, "string": "", "list": [], "int": 0, "bytes": 0, "float": 0.0}[self.kind]


class Options:
    """The parsed flags as attributes, the positional words in `args`, the names of the flags that were given in `given`."""

    def __init__(self) -> None:
        self.args: list[str] = []
        self.given: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Verb(NamedTuple):
    """One command. `usage` is what stands behind its name; `least` and `most` bound its words (-1: any number)."""

    name: str
    summary: str
    usage: str = ""
    flags: Sequence[Flag] = ()
    least: int = 0
    most: int = -1
    interspersed: bool = True
    usage_code: int = 1


def parse(verb: Verb, words: Sequence[str]) -> Options:
    """Raises UsageError with docker's words."""
    options = Options()
    by_long = {flag.name: flag for flag in verb.flags}
    by_short = {flag.short: flag for flag in verb.flags if flag.short}
    for flag in verb.flags:
        value = flag.initial()
        setattr(options, flag.key, list(value) if flag.kind == "list" else value)
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            options.args += rest
            break
        if word.startswith("--") and len(word) > 2:
            _long(options, by_long, word, rest)
        elif word.startswith("-") and len(word) > 1:
            _short(options, by_short, word, rest)
        else:
            options.args.append(word)
            if not verb.interspersed:
                options.args += rest
                break
    _count(verb, options)
    return options


def _count(verb: Verb, options: Options) -> None:
    found = len(options.args)
    if getattr(options, "help", False):
        return
    if found < verb.least or (verb.most >= 0 and found > verb.most):
        if verb.least == verb.most:
            bound = "no arguments" if not verb.least else f"{verb.least} argument{'s' * (verb.least != 1)}"
            words = "accepts" if not verb.least else "requires"
        elif found < verb.least:
            words, bound = "requires at least", f"{verb.least} argument{'s' * (verb.least != 1)}"
        else:
            words, bound = "requires at most", f"{verb.most} argument{'s' * (verb.most != 1)}"
        raise UsageError(f"'knarr {verb.name}' {words} {bound}")


def _long(options: Options, table: dict[str, Flag], word: str, rest: list[str]) -> None:
    name, equals, value = word[2:].partition("=")
    flag = table.get(name)
    if flag is None:
        raise UsageError(f"unknown flag: --{name}")
    if not equals:
        if flag.kind == "bool":
            value = "true"
        elif rest:
            value = rest.pop(0)
        else:
            raise UsageError(f"flag needs an argument: --{name}")
    _set(options, flag, value, f"--{name}")


def _short(options: Options, table: dict[str, Flag], word: str, rest: list[str]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = table.get(letter)
        if flag is None:
            raise UsageError(f"unknown shorthand flag: '{letter}' in {word}")
        if flag.kind == "bool":
            if letters.startswith("="):
                _set(options, flag, letters[1:], f"-{letter}")
                return
            _set(options, flag, "true", f"-{letter}")
            continue
        if letters:
            value = letters.removeprefix("=")
        elif rest:
            value = rest.pop(0)
        else:
            raise UsageError(f"flag needs an argument: '{letter}' in {word}")
        _set(options, flag, value, f"-{letter}")
        return


def _set(options: Options, flag: Flag, text: str, shown: str) -> None:
    label = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
    try:
        value = _value(flag.kind, text)
    except ValueError as error:
        raise UsageError(f'invalid argument "{text}" for "{label}" flag: {error}') from None
    options.given.add(flag.key)
    if flag.kind == "list":
        getattr(options, flag.key).append(value)
    else:
        setattr(options, flag.key, value)


def _value(kind: str, text: str) -> Any:
    if kind == "bool":
        if text.lower() in ("true", "t", "1"):
            return True
        if text.lower() in ("false", "f", "0"):
            return False
        raise ValueError("parse error: invalid boolean value")
    if kind == "int":
        return int(text, 10)
    if kind == "float":
        return float(text)
    if kind == "bytes":
        return size(text)
    return text


def size(text: str) -> int:
    """ "64m" as bytes: units of 1024, as docker's --memory; -1 stays."""
    if text == "-1":
        return -1
    lower = text.strip().lower().removesuffix("ib").removesuffix("b")
    units = {"k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
    shift = units.get(lower[-1:], 0)
    digits = lower[:-1] if shift else lower
    try:
        number = float(digits)
    except ValueError:
        raise ValueError(f"invalid size: '{text}'") from None
    if number < 0:
        raise ValueError(f"invalid size: '{text}'")
    return int(number * (1 << shift))


def help_text(verb: Verb) -> str:
    """What --help prints."""
    lines = [f"Usage:  knarr {verb.name} {verb.usage}".rstrip(), "", verb.summary]
    shown = sorted((flag for flag in verb.flags if not flag.hidden), key=lambda flag: flag.name)
    if shown:
        rows = []
        for flag in shown:
            short = f"-{flag.short}, " if flag.short else "    "
            kind = "" if flag.kind == "bool" else f" {flag.kind}"
            rows.append((f"  {short}--{flag.name}{kind}", flag.help))
        width = max(len(left) for left, _ in rows)
        lines += ["", "Options:"] + [f"{left:<{width}}   {right}".rstrip() for left, right in rows]
    return "\n".join(lines) + "\n"
