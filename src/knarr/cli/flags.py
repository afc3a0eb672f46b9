"""Flags in the manner of docker's command line (pflag): one table a verb makes parsing, help, completion and docs/cli.md.

`--name value`, `--name=value`, `-n value`, `-nvalue`, `-abc`; a bool takes a value only after `=`; `--` ends the flags.
With `interspersed` off the first word that is no flag ends them too, as `run` and `exec` need.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from knarr.model.durations import parse_duration
from knarr.model.errors import Invalid

LISTS = frozenset(
    (
        "list",
        "map",
        "filter",
        "mount",
        "network",
        "ulimit",
        "gpu-request",
        "strings",
        "stringArray",
        "stringToString",
    )
)
INTEGERS = frozenset(("int", "uint", "uint16"))


class UsageError(Exception):
    """The words cannot be understood: told with the verb's usage."""


class WrongCount(UsageError):
    """Too few or too many words. `verb` of "Run 'knarr x --help'" differs, as docker's does."""

    def __init__(self, message: str, hint: str):
        super().__init__(message)
        self.hint = hint


class Flag(NamedTuple):
    """`kind` is docker's word for what the flag takes ("bool" for nothing). The value's key is the name with "_" for "-"."""

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
        if self.kind in LISTS:
            return []
        return {"bool": False, "string": "", "decimal": 0.0}.get(self.kind, 0)


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
        setattr(options, flag.key, list(value) if flag.kind in LISTS else value)
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
    if getattr(options, "help", False) or (verb.least <= found and (verb.most < 0 or found <= verb.most)):
        return
    hint = "Run"
    if verb.most == 0:
        words, bound = "accepts", "no arguments"
    elif verb.least == verb.most:
        words, bound = "requires", _arguments(verb.least)
    elif verb.most < 0:
        words, bound, hint = "requires at least", _arguments(verb.least), "See"
    elif verb.least == 0:
        words, bound = "requires at most", _arguments(verb.most)
    else:
        words, bound = "requires at least", f"{verb.least} and at most {_arguments(verb.most)}"
    raise WrongCount(f"'knarr {verb.name}' {words} {bound}", hint)


def _arguments(count: int) -> str:
    return f"{count} argument{'s' * (count != 1)}"


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
    _set(options, flag, value)


def _short(options: Options, table: dict[str, Flag], word: str, rest: list[str]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = table.get(letter)
        if flag is None:
            raise UsageError(f"unknown shorthand flag: '{letter}' in -{letter}{letters}")
        if flag.kind == "bool":
            if letters.startswith("="):
                _set(options, flag, letters[1:])
                return
            _set(options, flag, "true")
            continue
        if letters:
            value = letters.removeprefix("=")
        elif rest:
            value = rest.pop(0)
        else:
            raise UsageError(f"flag needs an argument: '{letter}' in -{letter}")
        _set(options, flag, value)
        return


def _set(options: Options, flag: Flag, text: str) -> None:
    try:
        value = _value(flag.kind, text)
    except (ValueError, Invalid) as error:
        raise bad(flag, text, str(error)) from None
    options.given.add(flag.key)
    if flag.kind in LISTS:
        getattr(options, flag.key).extend(value if isinstance(value, list) else [value])
    else:
        setattr(options, flag.key, value)


def bad(flag: Flag, text: str, why: str) -> UsageError:
    """What pflag says of a value that a flag cannot take."""
    label = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
    return UsageError(f'invalid argument "{text}" for "{label}" flag: {why}')


def _value(kind: str, text: str) -> Any:
    if kind == "bool":
        if text in ("true", "t", "1", "TRUE", "True", "T"):
            return True
        if text in ("false", "f", "0", "FALSE", "False", "F"):
            return False
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    if kind in INTEGERS:
        return _integer(kind, text)
    if kind == "decimal":
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"failed to parse {text} as a rational number") from None
    if kind == "bytes":
        return size(text)
    if kind == "duration":
        return parse_duration(text)
    if kind == "filter" and text and "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")
    if kind in ("strings", "stringToString"):
        return text.split(",") if text else []
    return text


def _integer(kind: str, text: str) -> int:
    try:
        number = int(text, 0) if text.lstrip("+-").isalnum() else int("")
    except ValueError:
        parser = "ParseUint" if kind.startswith("u") else "ParseInt"
        raise ValueError(f'strconv.{parser}: parsing "{text}": invalid syntax') from None
    return number


def size(text: str) -> int:
    """ "64m" as bytes: units of 1024, as docker's --memory; -1 stays."""
    if text == "-1":
        return -1
    lower = text.strip().lower()
    digits = lower.rstrip("abcdefghijklmnopqrstuvwxyz ")
    suffix = lower[len(digits) :].strip()
    shift = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}.get(
        suffix[:1] if suffix[1:] in ("", "b", "ib") else "?"
    )
    if shift is None:
        raise ValueError(f"invalid suffix: '{suffix}'")
    try:
        number = float(digits)
    except ValueError:
        raise ValueError(f"invalid size: '{text}'") from None
    if number < 0:
        raise ValueError(f"invalid size: '{text}'")
    return int(number * (1 << shift))


def help_text(verb: Verb, aliases: Sequence[str] = ()) -> str:
    """What --help prints."""
    lines = [f"Usage:  {usage(verb)}", "", verb.summary]
    if aliases:
        lines += ["", "Aliases:", "  " + ", ".join(f"knarr {alias}" for alias in aliases)]
    shown = sorted((flag for flag in verb.flags if not flag.hidden), key=lambda flag: flag.name)
    if shown:
        rows = []
        for flag in shown:
            short = f"-{flag.short}, " if flag.short else "    "
            kind = "" if flag.kind == "bool" else f" {flag.kind}"
            rows.append((f"  {short}--{flag.name}{kind}", flag.help + _default(flag)))
        width = max(len(left) for left, _ in rows)
        lines += ["", "Options:"] + [f"{left:<{width}}   {right}".rstrip() for left, right in rows]
    return "\n".join(lines) + "\n"


def usage(verb: Verb) -> str:
    """How the verb is called."""
    return f"knarr {verb.name} {verb.usage}".rstrip()


def _default(flag: Flag) -> str:
    if not flag.default or flag.default is False:
        return ""
    if flag.default is True:
        return " (default true)"
    return f' (default "{flag.default}")' if isinstance(flag.default, str) else f" (default {flag.default})"
