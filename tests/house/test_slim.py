"""What the zygote loads, and that its stand-ins are no different from what they stand for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from knarr.engine.zygote import STUB
from knarr.runtime import slim

SOURCE = Path(slim.__file__).parents[2]
HEAVY = (
    "re",
    "enum",
    "selectors",
    "contextlib",
    "dataclasses",
    "asyncio",
    "logging",
    "sqlite3",
    "subprocess",
)
MODULES = 165
VALUES: list[object] = [
    {"a": [1, -2.5, 1e300, None, True, False], 'é\n"\\': {"": []}},
    "😀 \x00 \udc80",
    [],
    12345678901234567890,
]


def loaded(extra: str) -> list[str]:
    """The modules of a process that is started as the zygote is."""
    start = STUB.rpartition(";")[0].replace("from knarr.zygote import main", "import knarr.zygote")
    program = f"{start}; {extra}; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", program, str(SOURCE)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_the_zygote_loads_little() -> None:
    modules = loaded("pass")
    assert not set(HEAVY) & set(modules)
    assert len(modules) <= MODULES


def test_a_name_that_a_stand_in_lacks_comes_from_the_real_module() -> None:
    modules = loaded(
        "import typing, signal; assert typing.Union[int, str]; assert signal.Signals(9).name == 'SIGKILL'"
    )
    assert {"re", "enum"} <= set(modules)


@pytest.mark.parametrize(
    ("hidden", "name"),
    [
        ("_json.make_scanner", "json"),
        ("_json.make_encoder", "json"),
        ("_collections._tuplegetter", "typing"),
        ("_functools._lru_cache_wrapper", "functools"),
        ("_signal.pidfd_send_signal", "signal"),
        ("_collections.deque", "collections"),
    ],
)
def test_where_something_private_is_missing_the_real_module_is_used(hidden: str, name: str) -> None:
    module, _, attribute = hidden.partition(".")
    program = f"""import sys; sys.path.insert(0, sys.argv[1]); import {module}; kept = {hidden}; del {hidden}
import knarr.runtime.slim; {hidden} = kept; found = sys.modules.get({name!r})
assert not isinstance(found, knarr.runtime.slim.StandIn), {attribute!r}
import knarr.zygote, {name}; assert {name}.__file__"""
    command = [sys.executable, "-I", "-S", "-c", program, str(SOURCE)]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("value", VALUES)
def test_json(value: object) -> None:
    assert slim.dumps(value) == json.dumps(value)
    assert slim.loads(json.dumps(value)) == value
    assert slim.dumps(value, indent=2) == json.dumps(value, indent=2)
    compact = {"separators": (",", ":"), "ensure_ascii": False}
    assert slim.dumps(value, **compact) == json.dumps(value, **compact)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "{", "[1,]", '{"a" 1}', "1 2", '"\n"', "nul"])
def test_what_is_not_json(text: str) -> None:
    with pytest.raises(ValueError):
        slim.loads(text)


def test_named_tuples() -> None:
    class Pair(slim.NamedTuple):
        """Two."""

        new: int
        second: str = "b"

        def both(self) -> tuple[object, ...]:
            return (self.second, self.new)

    make: Any = Pair
    pair = make(1)
    assert pair == (1, "b")
    assert (pair.new, pair.second, pair.both()) == (1, "b", ("b", 1))
    assert pair._asdict() == {"new": 1, "second": "b"}
    assert pair._replace(second="c") == make(1, second="c")
    assert repr(pair) == "Pair(new=1, second='b')"
    assert make.__doc__ == "Two."
    for wrong in ((), (1, "b", 3)):
        with pytest.raises(TypeError):
            make(*wrong)
    with pytest.raises(TypeError):
        make(1, third=3)


def test_sockets() -> None:
    one, other = slim.socketpair()
    with one, other:
        one.sendall(b"x")
        assert other.recv(2) == b"x"
    assert one.fileno() == -1
