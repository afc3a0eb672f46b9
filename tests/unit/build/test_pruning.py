"""What a prune of the build cache takes, and what it leaves."""

import pytest

from knarr.build.pruning import Pruning, Record, chosen, matching, policy
from knarr.model.errors import Invalid

BASE = Record(id="base", used=5, size=10)
MIDDLE = Record(id="middle", used=5, size=20, parents=("base",))
TOP = Record(id="top", used=9, size=30, parents=("middle",), description='RUN echo "a"')
OLD = Record(id="old", used=1, size=40, kind="source.local", mutable=True)
SHARED = Record(id="shared", used=2, size=50, shared=True)
BUSY = Record(id="busy", used=0, size=60, in_use=True)
ALL = [BASE, MIDDLE, TOP, OLD, SHARED, BUSY]


def ids(wish: Pruning, *, free: int = 0) -> list[str]:
    """What goes, of all."""
    return [each.id for each in chosen(ALL, wish, now=100, free=free)]


def test_what_stands_on_others_goes_before_them() -> None:
    """The oldest first, and what images share or a build uses stays."""
    assert ids(Pruning()) == ["old", "top", "middle", "base"]


def test_all_means_what_images_share_too() -> None:
    """But never what is in use."""
    assert ids(Pruning(all=True)) == ["old", "shared", "top", "middle", "base"]


def test_amounts_end_it() -> None:
    """As much is kept as may be: 160 bytes are counted, what is shared not."""
    assert ids(Pruning(max_used=120)) == ["old"]
    assert ids(Pruning(reserved=110)) == ["old", "top"]
    assert ids(Pruning(max_used=1, reserved=120)) == ["old"]
    assert ids(Pruning(max_used=160)) == []


def test_free_space_is_made_and_no_more() -> None:
    """Nothing goes where there is enough."""
    assert ids(Pruning(min_free=130), free=100) == ["old"]
    assert ids(Pruning(min_free=100), free=100) == []


def test_an_old_parent_of_a_young_child_is_as_young() -> None:
    """Use counts for everything below."""
    assert ids(Pruning(unused=92)) == ["old"]
    assert ids(Pruning(unused=91)) == ["old", "top", "middle", "base"]


def test_a_parent_stays_while_a_child_does() -> None:
    """A filter that spares the child spares what it stands on."""
    assert ids(Pruning(filters=("id==base",))) == []
    assert ids(Pruning(filters=("id==top",))) == ["top"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("type==source.local", ["old"]),
        ("type!=source.local,private,!inuse", ["base", "middle", "top"]),
        ("inuse", ["busy"]),
        ("inuse==true", ["busy"]),
        ('shared=="true"', ["shared"]),
        ("mutable", ["old"]),
        ("id~=^(top|old)$", ["top", "old"]),
        ("parents==base", ["middle"]),
        ("description~=echo", ["top"]),
        ("colour==red", []),
    ],
)
def test_filters(text: str, wanted: list[str]) -> None:
    """As BuildKit's clients send them."""
    assert [each.id for each in matching(ALL, [text])] == wanted


def test_filters_are_alternatives() -> None:
    """And what is inside one must all match."""
    assert [each.id for each in matching(ALL, ["id==top", "id==old,shared"])] == ["top"]


@pytest.mark.parametrize("text", ["==", "id~=(", "a b"])
def test_a_filter_that_cannot_be_read(text: str) -> None:
    """Is refused."""
    with pytest.raises(Invalid):
        matching(ALL, [text])


def test_a_policy_of_amounts() -> None:
    rules = policy(1000, reserved=10**10, min_free=7)
    assert {(rule.reserved, rule.max_used, rule.min_free) for rule in rules[1:]} == {(10**10, 0, 7)}
    assert rules[0].max_used == 1_380_000_000


def test_the_policy_keeps_a_tenth_of_the_disk() -> None:
    """With every rule."""
    assert {rule.max_used for rule in policy(1000)[1:]} == {100}
