"""Who gets a user namespace, of which ids: modes, /etc/subuid, ranges that are nobody else's."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.engine import userns
from knarr.engine.userns import SIZE, Ids, SubId
from knarr.model.container import ContainerSpec
from knarr.model.errors import Conflict, Invalid

SUBIDS = "ann:100000:65536\n# a comment\nbob:165536:65536\nbroken:1\n1000:300000:1000\nann:400000:10\n"


def test_lines_of_subuid() -> None:
    assert list(userns.parse_subids(SUBIDS)) == [
        SubId("ann", 100_000, 65_536),
        SubId("bob", 165_536, 65_536),
        SubId("1000", 300_000, 1000),
        SubId("ann", 400_000, 10),
    ]


def test_the_ranges_of_a_user_follow_each_other() -> None:
    assert userns.ranges(SUBIDS, {"ann", "7"}, "subuid") == ((0, 100_000, 65_536), (65_536, 400_000, 10))
    assert userns.ranges(SUBIDS, {"carl", "1000"}, "subuid") == ((0, 300_000, 1000),)
    with pytest.raises(
        Invalid, match='no subgid ranges found for user "eve": add a line such as "eve:100000'
    ):
        userns.ranges(SUBIDS, {"eve", "33"}, "subgid")


@pytest.mark.parametrize(
    ("mode", "remapped", "mapped", "own"),
    [
        ("", False, False, False),
        ("", True, True, False),
        ("host", True, False, False),
        ("private", False, True, True),
        ("private", True, True, False),
        ("auto", False, True, True),
        ("auto", True, True, True),
    ],
)
def test_modes(mode: str, remapped: bool, mapped: bool, own: bool) -> None:
    assert userns.is_mapped(mode, remapped) is mapped
    assert userns.has_own_range(mode, remapped) is own


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (
            {"privileged": True},
            "privileged mode is incompatible with user namespaces.  You must run the container",
        ),
        (
            {"network_mode": "host"},
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        ({"pid_mode": "host"}, "cannot share the host PID namespace when user namespaces are enabled"),
    ],
)
def test_what_a_user_namespace_excludes(field: dict[str, object], words: str) -> None:
    for mode, remapped in (("", True), ("private", False), ("auto", True)):
        with pytest.raises(Invalid, match=words):
            userns.check(ContainerSpec(image="x", userns_mode=mode, **field), remapped)  # type: ignore[arg-type]
    userns.check(ContainerSpec(image="x", userns_mode="host", **field), True)  # type: ignore[arg-type]
    userns.check(ContainerSpec(image="x", **field), False)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="invalid user namespace mode: keep-id"):
        userns.check(ContainerSpec(image="x", userns_mode="keep-id"), False)


def test_the_docker_cli_asks_by_a_security_option() -> None:
    asked = ContainerSpec(image="x", security_options=("no-new-privileges", "userns=auto"))
    assert userns.mode_of(asked) == "auto"
    assert userns.mode_of(replace(asked, userns_mode="host")) == "host"
    with pytest.raises(Invalid, match="invalid user namespace mode: none"):
        userns.check(replace(asked, security_options=("userns=none",)), False)


def test_own_ranges_are_of_knarr_or_of_nobody() -> None:
    mine = "knarr:1000000:131072\nknarr:9000000:65536\n"
    assert userns.areas(SUBIDS + mine, mine) == ((1_000_000, 131_072), (9_000_000, 65_536))
    assert userns.areas(mine, "knarr:1065536:70000\n") == ((1_065_536, 65_536),)
    assert userns.areas(mine, SUBIDS) == ()
    first, end = 0x80000, 0x70000000
    assert userns.areas(SUBIDS, "") == ((first, end - first),)
    taken = f"eve:{first + 10}:100\n"
    assert (
        userns.areas(taken, "")
        == userns.areas("", taken)
        == (
            (first, 10),
            (first + 110, end - first - 110),
        )
    )
    assert userns.areas(f"eve:0:{end}\n", "") == ()


@given(
    st.lists(st.tuples(st.integers(0, 1 << 31), st.integers(1, 1 << 31)), max_size=8),
    st.lists(st.uuids(), min_size=1, max_size=30, unique=True),
)
def test_ranges_never_meet(others: list[tuple[int, int]], containers: list[object]) -> None:
    text = "".join(f"u{number}:{first}:{count}\n" for number, (first, count) in enumerate(others))
    areas = userns.areas(text, "")
    taken: set[int] = set()
    for container in containers:
        try:
            first = userns.choose(str(container), areas, taken)
        except Conflict:
            assert len(taken) == sum(count // SIZE for _, count in areas)
            return
        assert all(abs(first - other) >= SIZE for other in taken)
        assert all(first + SIZE <= other or other + count <= first for other, count in others)
        taken.add(first)


def test_a_full_area_is_a_conflict() -> None:
    areas = ((1000, 2 * SIZE + 5),)
    taken = {userns.choose("a", areas, set())}
    taken.add(userns.choose("a", areas, taken))
    assert taken == {1000, 1000 + SIZE}
    with pytest.raises(Conflict, match="no range of 65536 ids is free"):
        userns.choose("a", areas, taken)
    with pytest.raises(Conflict):
        userns.choose("a", (), set())


def test_an_own_range_is_the_same_for_users_and_groups() -> None:
    assert userns.own_ids(700_000) == Ids(((0, 700_000, 65_536),), ((0, 700_000, 65_536),))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("no-such-user", 'Error during uid lookup for "no-such-user": no matching entries in passwd file'),
        ("4294967290", "Uid 4294967290 has no entry in /etc/passwd"),
        ("a:b:c", 'Invalid user/group specification in --userns-remap: "a:b:c"'),
        (":b", 'Invalid user/group specification in --userns-remap: ":b"'),
    ],
)
def test_settings_that_cannot_be(setting: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        userns.read_remap(setting)


def test_settings_that_turn_nothing_on() -> None:
    assert userns.read_remap("") is None
    assert userns.read_remap("root") is None
    assert userns.read_remap("0:0") is None
