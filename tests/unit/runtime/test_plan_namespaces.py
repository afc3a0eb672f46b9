"""Namespaces out of OCI's `linux`: mappings and offsets are taken or refused before the kernel sees them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.errors import Invalid
from knarr.runtime.plan import Step
from knarr.runtime.plan_namespaces import (
    Namespaces,
    id_map,
    is_same,
    namespaces,
    outside,
    parse_map,
    spelled,
)
from knarr.runtime.plan_userns import part

WHOLE = 1 << 32


def linux(*kinds: str, **more: Any) -> dict[str, Any]:
    return {"namespaces": [{"type": kind} for kind in ("mount", *kinds)], **more}


def lines(*triples: tuple[int, int, int]) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": other, "size": count} for inside, other, count in triples]


@st.composite
def mappings(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Ranges that overlap on neither side, in any order."""
    counts = draw(st.lists(st.integers(1, 100_000), min_size=1, max_size=12))
    made, inside, other = [], 0, 0
    for count in counts:
        inside += draw(st.integers(0, 1000))
        other += draw(st.integers(0, 1000))
        made.append((inside, other, count))
        inside, other = inside + count, other + count
    return draw(st.permutations(made))


@given(mappings())
def test_a_mapping_is_what_the_kernel_will_give_back(made: list[tuple[int, int, int]]) -> None:
    read = id_map(lines(*made))
    text = "".join("{:>10} {:>10} {:>10}\n".format(*line) for line in made)
    assert read == tuple(made) == parse_map(text)
    assert is_same(read, parse_map(text))


@given(mappings(), st.data())
def test_every_id_inside_has_one_outside(made: list[tuple[int, int, int]], data: st.DataObject) -> None:
    inside, other, count = data.draw(st.sampled_from(made))
    step = data.draw(st.integers(0, count - 1))
    assert outside(tuple(made), inside + step) == other + step
    beyond = max(first + size for first, _, size in made)
    assert outside(tuple(made), beyond) is None


@given(mappings(), st.data())
def test_how_a_mapping_is_cut_makes_no_difference(
    made: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    cut = []
    for inside, other, count in made:
        at = data.draw(st.integers(0, count - 1))
        cut += (
            [(inside, other, at), (inside + at, other + at, count - at)] if at else [(inside, other, count)]
        )
    assert is_same(tuple(cut), tuple(made))
    shifted = [(inside, other + 1, count) for inside, other, count in made]
    assert not is_same(tuple(cut), tuple(shifted))


@given(mappings(), st.data())
def test_ranges_that_overlap_are_refused(made: list[tuple[int, int, int]], data: st.DataObject) -> None:
    inside, other, count = data.draw(st.sampled_from(made))
    twice = data.draw(
        st.sampled_from([(inside + count - 1, WHOLE - 1, 1), (WHOLE - 1, other + count - 1, 1)])
    )
    with pytest.raises(Invalid, match="IDs overlap"):
        id_map(lines(*made, twice))


@pytest.mark.parametrize(
    "wrong",
    [(0, 0, 0), (-1, 0, 1), (0, -1, 1), (0, WHOLE, 1), (WHOLE, 0, 1), (0, 0, -5), (0, 1, WHOLE - 1 + 1)],
)
def test_lines_that_are_no_range(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(Invalid, match="invalid id mapping"):
        id_map(lines(wrong))


def test_a_range_ends_with_the_ids() -> None:
    with pytest.raises(Invalid, match="host IDs overlap: 0 4294967295 2"):
        id_map(lines((0, WHOLE - 1, 2)))
    assert id_map(lines((0, 1, WHOLE - 1))) == ((0, 1, WHOLE - 1),)
    with pytest.raises(Invalid, match="341 ranges"):
        id_map(lines(*((number, number, 1) for number in range(341))))


def test_a_user_namespace_comes_with_a_mapping_or_a_path() -> None:
    mapped = namespaces(linux("user", uidMappings=lines((0, 100_000, 65_536)), gidMappings=lines((0, 5, 1))))
    assert mapped == Namespaces(("mount", "user"), (), ((0, 100_000, 65_536),), ((0, 5, 1),))
    assert mapped.own_user
    assert mapped.apart
    joined = namespaces({"namespaces": [{"type": "mount"}, {"type": "user", "path": "/proc/1/ns/user"}]})
    assert joined.own_user
    assert not namespaces(linux("pid")).apart


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (linux("user"), "user namespaces enabled, but no namespace path to join nor mappings to apply"),
        (linux(uidMappings=lines((0, 1, 1))), "user namespace mappings specified, but user namespace isn't"),
        (
            linux(timeOffsets={"monotonic": {"secs": 1}}),
            "time namespace offsets specified, but time namespace",
        ),
        (linux("time", timeOffsets={"realtime": {"secs": 1}}), "invalid time offset: 'realtime'"),
        (linux("time", timeOffsets={"boottime": {"nanosecs": 10**9}}), "invalid time offset of boottime"),
        (
            {
                "namespaces": [{"type": "mount"}, {"type": "time", "path": "/x"}],
                "timeOffsets": {"boottime": {"secs": 1}},
            },
            "both namespace path and time offsets specified -- you may only provide one",
        ),
    ],
)
def test_what_is_refused(document: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        namespaces(document)


def test_offsets() -> None:
    space = namespaces(linux("time", timeOffsets={"monotonic": {"secs": -7, "nanosecs": 3}, "boottime": {}}))
    assert space.offsets == (("monotonic", -7, 3), ("boottime", 0, 0))
    assert space.apart
    assert not space.own_user


def test_what_needs_the_host_comes_ahead() -> None:
    acts = (
        "procfs",
        "oom-score",
        "take",
        "join",
        "net-device",
        "isolate",
        "root",
        "pivot",
        "rlimit",
        "identity",
    )
    steps = [Step(act, "", ("RLIMIT_CORE", 4, 1, 2) if act == "rlimit" else ()) for act in acts]
    ahead, rest = part(steps, Namespaces(("mount", "user"), (), ((0, 1, 1),)))
    assert [step.act for step in ahead] == [
        "open-cgroup",
        "procfs",
        "oom-score",
        "take",
        "make-root",
        "raise-limit",
    ]
    assert ahead[-1].arguments == (4, 2)
    assert [step.act for step in rest] == ["isolate", "root", "pivot", "rlimit", "identity"]
    ahead, rest = part(steps, Namespaces(("mount", "time")))
    assert ahead == ()
    assert len(rest) == len(steps) - 1


def test_a_mapping_is_spelled_as_the_kernel_takes_it() -> None:
    assert spelled(((0, 100_000, 65_536), (65_536, 5, 1))) == "0 100000 65536, 65536 5 1"
