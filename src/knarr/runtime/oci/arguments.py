"""A command line becomes a `Call`, by the rules of runc's own parser. Pure, and without `typing`: every command waits for it.

`--flag value`, `--flag=value`, one dash or two. Flags may follow the arguments, except where what follows the first one
belongs to a program (`stops`). `--` ends flags.
"""

from knarr.runtime.oci.errors import Usage

SWITCH, TEXT, NUMBER, LIST = "switch", "text", "number", "list"
_FALSE = ("false", "0", "f", "F", "FALSE", "False")
_TRUE = ("true", "1", "t", "T", "TRUE", "True")


class Flag:
    """One flag: its long name, what it takes, what help says of it."""

    __slots__ = ("hidden", "kind", "name", "other", "usage")

    def __init__(self, name: str, kind: str, usage: str = "", other: str = "", hidden: bool = False):
        self.name, self.kind, self.usage, self.other, self.hidden = name, kind, usage, other, hidden


class Command:
    """A command's shape. `least` and `most` count its arguments; `stops`: flags end at the first one; `raw`: anything goes."""

    __slots__ = ("flags", "least", "most", "name", "raw", "stops", "usage")

    def __init__(
        self,
        name: str,
        usage: str,
        flags: "tuple[Flag, ...]" = (),
        least: int = 1,
        most: "int | None" = 1,
        stops: bool = False,
        raw: bool = False,
    ):
        self.name, self.usage, self.flags, self.raw = name, usage, flags, raw
        self.least, self.most, self.stops = least, most, stops


class Call:
    """What was asked: global `options`, the `command` ("" for none), its `flags` and `arguments`; `help` instead of doing it."""

    __slots__ = ("arguments", "command", "flags", "help", "options", "program")

    def __init__(self, program: str):
        self.program = program
        self.command = ""
        self.options: dict[str, object] = {}
        self.flags: dict[str, object] = {}
        self.arguments: list[str] = []
        self.help = False

    def on(self, name: str) -> bool:
        """A switch of the command."""
        return bool(self.flags.get(name))

    def text(self, name: str) -> str:
        """A flag's text; "" where it was not given."""
        return str(self.flags.get(name, ""))

    def number(self, name: str) -> int:
        """A flag's number; 0 where it was not given."""
        value = self.flags.get(name, 0)
        return value if isinstance(value, int) else 0

    def many(self, name: str) -> list[str]:
        """Every value of a flag that may be repeated."""
        value = self.flags.get(name, [])
        return value if isinstance(value, list) else []

    def option(self, name: str) -> str:
        """A global option's text."""
        return str(self.options.get(name, ""))

    @property
    def id(self) -> str:
        """The container's name. Raises Usage where it is empty."""
        if not self.arguments or not self.arguments[0]:
            raise Usage("container id cannot be empty")
        return self.arguments[0]


def parse(argv: "list[str]", options: "tuple[Flag, ...]", commands: "tuple[Command, ...]") -> Call:
    """`argv[0]` is the program. Raises Usage."""
    call = Call(argv[0].rpartition("/")[2] or "knarr-oci")
    rest = _scan(argv[1:], options, call.options, call, stops=True)
    if not rest:
        call.help = call.help or "version" not in call.options
        return call
    command = next((each for each in commands if each.name == rest[0]), None)
    if command is None:
        raise Usage(f"No help topic for '{rest[0]}'")
    call.command = command.name
    if command.raw:
        call.help = call.help or not {"-h", "--help"}.isdisjoint(rest)
        return call
    call.arguments = _scan(rest[1:], command.flags, call.flags, call, stops=command.stops)
    if not call.help:
        _count(call, command)
    return call


def _count(call: Call, command: Command) -> None:
    given = len(call.arguments)
    exactly = command.least == command.most
    if given < command.least or (exactly and given > command.least):
        words = "exactly" if exactly else "a minimum of"
        raise Usage(f'{call.program}: "{command.name}" requires {words} {command.least} argument(s)')
    if command.most is not None and given > command.most:
        raise Usage(f'{call.program}: "{command.name}" requires a maximum of {command.most} argument(s)')


def _scan(
    words: "list[str]", flags: "tuple[Flag, ...]", into: "dict[str, object]", call: Call, *, stops: bool
) -> list[str]:
    """Takes flags out; what is left are arguments."""
    known = {name: flag for flag in flags for name in (flag.name, flag.other) if name}
    left: list[str] = []
    waiting = list(reversed(words))
    while waiting:
        word = waiting.pop()
        if word == "--":
            return left + waiting[::-1]
        if not word.startswith("-") or word == "-":
            left.append(word)
            if stops:
                return left + waiting[::-1]
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name in ("h", "help") and name not in known:
            call.help = True
            continue
        if name not in known:
            raise Usage(f"flag provided but not defined: -{name}")
        flag = known[name]
        if not equals and flag.kind != SWITCH:
            if not waiting:
                raise Usage(f"flag needs an argument: {word}")
            value = waiting.pop()
        _take(flag, value, bool(equals), into)
    return left


def _take(flag: Flag, value: str, given: bool, into: "dict[str, object]") -> None:
    if flag.kind == SWITCH:
        if given and value not in _TRUE + _FALSE:
            raise Usage(f'invalid boolean value "{value}" for -{flag.name}: parse error')
        into[flag.name] = not given or value in _TRUE
    elif flag.kind == NUMBER:
        try:
            into[flag.name] = int(value, 0)
        except ValueError:
            raise Usage(f'invalid value "{value}" for flag -{flag.name}: parse error') from None
    elif flag.kind == LIST:
        values = into.setdefault(flag.name, [])
        if isinstance(values, list):
            values.append(value)
    else:
        into[flag.name] = value
