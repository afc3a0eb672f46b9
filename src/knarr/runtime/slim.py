"""Stand-ins for modules of the standard library that cost a small process more than what it uses of them.

Import this before anything else in a process that is forked or started for each container: `typing` with what it imports
is a third of such a process, and no type is ever looked at there. A stand-in has what the runtime uses, straight from the C
modules below; for any other name it loads the real module. Where an interpreter lacks what a stand-in is made of, or it does
not behave, the real module is used at once. Code outside of this file knows nothing of it.
"""

# The C modules have no stubs or half of them, and what is used here is private by its name only: hence the silenced checks.
import _collections  # type: ignore[import-not-found]
import _collections_abc
import _functools  # type: ignore[import-not-found]
import _json
import _signal  # type: ignore[import-not-found]
import _socket
import sys
from _collections_abc import Callable

_HIDDEN = ("typing", "json", "signal", "socket", "collections", "functools")


class StandIn(type(sys)):  # type: ignore[misc]
    """A module whose missing names come from the real one."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(str(self.__name__)), name)


def _real(name: str) -> object:
    """The real module takes its place again."""
    import importlib

    for hidden in _HIDDEN:
        if isinstance(sys.modules.get(hidden), StandIn):
            del sys.modules[hidden]
    sys.modules.pop("collections.abc", None)
    return importlib.import_module(name)


class _Named(type):
    """`class X(NamedTuple)`: a tuple with names, defaults and methods; annotations are its fields."""

    def __new__(mcs, name: str, bases: tuple[type, ...], space: dict[str, object]) -> type:
        if not bases:
            return super().__new__(mcs, name, bases, space)
        fields: tuple[str, ...] = tuple(space.get("__annotations__", ()))  # type: ignore[arg-type]
        defaults = tuple(space.pop(field) for field in fields if field in space)
        words = ", ".join(fields)
        make = eval(f"lambda _cls, {words}: _new(_cls, ({words},))", {"_new": tuple.__new__})
        make.__defaults__ = defaults
        places = {
            field: _collections._tuplegetter(number, "")  # noqa: SLF001
            for number, field in enumerate(fields)
        }
        return type(name, (_Tuple,), {**space, "__slots__": (), "__new__": make, "_fields": fields, **places})


class _Tuple(tuple[object, ...]):
    __slots__ = ()
    _fields: tuple[str, ...] = ()

    @classmethod
    def _make(cls, values: "_collections_abc.Iterable[object]") -> "_Tuple":
        return cls(*values)  # type: ignore[arg-type]

    def _asdict(self) -> dict[str, object]:
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **changes: object) -> "_Tuple":
        return type(self)(**{**self._asdict(), **changes})

    def __repr__(self) -> str:
        pairs = ", ".join(f"{field}={value!r}" for field, value in self._asdict().items())
        return f"{type(self).__name__}({pairs})"


class Any:
    """Anything."""


class NamedTuple(metaclass=_Named):
    """See `_Named`."""


def TypeVar(name: str, *_: object, **__: object) -> type:  # noqa: N802  (typing's name)
    """Any type."""
    return Any


def _same(value: object) -> object:
    return value


class Socket(_socket.socket):
    """socket.socket without what `makefile` needs."""

    __slots__ = ()

    def __enter__(self) -> "Socket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def accept(self) -> tuple["Socket", object]:
        """A connection and its address."""
        fd, address = self._accept()  # type: ignore[attr-defined]
        return Socket(fileno=fd), address


def socketpair(
    family: int = _socket.AF_UNIX, kind: int = _socket.SOCK_STREAM, protocol: int = 0
) -> tuple[Socket, Socket]:
    """socketpair(2)"""
    one, other = _socket.socketpair(family, kind, protocol)
    return Socket(fileno=one.detach()), Socket(fileno=other.detach())


class _Context:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012  (the scanner's own)

    @staticmethod
    def parse_constant(name: str) -> float:
        return float(name.replace("Infinity", "inf"))


_make_scanner: "Callable[[object], Callable[[str, int], tuple[object, int]]] | None"
_make_scanner = getattr(_json, "make_scanner", None)
_scan = _make_scanner(_Context) if _make_scanner is not None else None


def loads(text: str | bytes) -> object:
    """One JSON value. Raises ValueError."""
    if not isinstance(text, str):
        text = text.decode("utf-8", "surrogatepass")
    assert _scan is not None
    text = text.strip(" \t\n\r")
    try:
        value, end = _scan(text, 0)
    except StopIteration as error:
        raise ValueError(f"not JSON at character {error.value}") from None
    if end != len(text):
        raise ValueError(f"extra data after a JSON value at character {end}")
    return value


def load(file: "_collections_abc.Iterable[bytes]") -> object:
    """One JSON value of a file."""
    return loads(file.read())  # type: ignore[attr-defined]


def _refuse(value: object) -> object:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def dumps(
    value: object,
    *,
    ensure_ascii: bool = True,
    separators: tuple[str, str] = (", ", ": "),
    indent: int | str | None = None,
) -> str:
    """A value as JSON; for people with the real module."""
    if indent is not None:
        return str(_real("json").dumps(value, ensure_ascii=ensure_ascii, indent=indent))  # type: ignore[attr-defined]
    words = _json.encode_basestring_ascii if ensure_ascii else _json.encode_basestring
    if isinstance(value, str):
        return words(value)
    encode = _json.make_encoder({}, _refuse, words, None, separators[1], separators[0], False, False, True)
    return "".join(encode(value, 0))


def cache(function: "Callable[[object], object]") -> "Callable[[object], object]":
    """functools.cache"""
    kept: Callable[[object], object] = _functools._lru_cache_wrapper(function, None, False, tuple)  # noqa: SLF001
    return kept


def _public(module: object) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if not name.startswith("__")}


def _typing() -> dict[str, object]:
    class Probe(NamedTuple):
        number: int
        word: str = "b"

    make: type = Probe
    assert make(1) == (1, "b")
    assert make(1).number == 1
    names: dict[str, object] = {"Any": Any, "NamedTuple": NamedTuple, "TypeVar": TypeVar, "final": _same}
    return {**names, "NoReturn": Any, "Never": Any, "Self": Any, "TYPE_CHECKING": False}


def _text() -> dict[str, object]:
    value = {"a": [1.5, None, True, "é\n"]}
    assert loads(dumps(value)) == loads(dumps(value, ensure_ascii=False)) == value
    return {"loads": loads, "load": load, "dumps": dumps, "JSONDecodeError": ValueError}


def _sockets() -> dict[str, object]:
    assert hasattr(Socket, "_accept")
    return {**_public(_socket), "socket": Socket, "socketpair": socketpair}


def _signals() -> dict[str, object]:
    assert _signal.pidfd_send_signal
    return _public(_signal)


def _functions() -> dict[str, object]:
    assert cache(_same)(1) == 1
    return {"cache": cache, "partial": _functools.partial, "reduce": _functools.reduce}


def _containers() -> dict[str, object]:
    return {"deque": _collections.deque, "abc": _collections_abc}


def _stand_in(name: str, names: "Callable[[], dict[str, object]]") -> None:
    if name in sys.modules:
        return
    try:
        found = names()
    except (AssertionError, AttributeError, TypeError, ValueError):
        return
    module = StandIn(name)
    module.__dict__.update(found)
    sys.modules[name] = module


sys.modules.setdefault("collections.abc", _collections_abc)
for _name, _names in (
    ("typing", _typing),
    ("json", _text),
    ("socket", _sockets),
    ("signal", _signals),
    ("functools", _functions),
    ("collections", _containers),
):
    _stand_in(_name, _names)
