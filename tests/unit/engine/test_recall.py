"""What is remembered of the build cache is never more than its rows have."""

from knarr.build.bench import Hit
from knarr.build.tree import Tree
from knarr.engine.building.recall import Recall

HIT = Hit(Tree(), "")


def test_what_was_learned_is_found_until_rows_are_deleted() -> None:
    recall = Recall()
    recall.learn("key", HIT, recall.cleared)
    assert recall.find("key") is HIT
    recall.clear()
    assert recall.find("key") is None


def test_what_was_read_before_rows_were_deleted_is_not_learned_after() -> None:
    recall = Recall()
    before = recall.cleared
    recall.clear()
    recall.learn("key", HIT, before)
    assert recall.find("key") is None


def test_the_one_that_was_not_asked_for_longest_makes_room() -> None:
    recall = Recall()
    for number in range(2000):
        recall.learn(str(number), HIT, recall.cleared)
    assert recall.find("0") is HIT
    recall.learn("one more", HIT, recall.cleared)
    assert recall.find("0") is HIT
    assert recall.find("1") is None
