"""Leases and collection: nothing that is held or reached is deleted, whatever happens meanwhile."""

import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from knarr.content.collect import Kind, collect, mark
from knarr.content.leases import DAY, Leases, Resource


def blob(name: str) -> Resource:
    return Resource("blob", name)


def nothing(resource: Resource) -> Iterable[Resource]:
    return ()


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(tmp_path / "leases")


class Store:
    """Names with sizes."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def kind(self) -> Kind:
        return Kind(lambda: sorted(self.names), self.delete)

    def delete(self, name: str) -> int:
        self.names.discard(name)
        return len(name)


def test_mark_follows_references_through_circles() -> None:
    edges = {blob("a"): [blob("b")], blob("b"): [blob("a"), blob("c")]}
    assert mark([blob("a")], lambda resource: edges.get(resource, [])) == {blob("a"), blob("b"), blob("c")}


def test_what_nobody_reaches_or_holds_is_deleted(leases: Leases) -> None:
    store = Store("root", "held", "waste")
    with leases.create() as lease:
        lease.add(blob("held"))
        collected = collect(leases, lambda: [blob("root")], nothing, {"blob": store.kind()})
        assert collected.removed == (blob("waste"),)
        assert collected.freed == 5
    assert store.names == {"root", "held"}
    collect(leases, lambda: [blob("root")], nothing, {"blob": store.kind()})
    assert store.names == {"root"}


def test_a_lease_that_ends_while_the_roots_are_read_still_holds(leases: Leases) -> None:
    store = Store("moved")
    lease = leases.create()
    lease.add(blob("moved"))

    def roots() -> list[Resource]:
        lease.release()
        return []

    collect(leases, roots, nothing, {"blob": store.kind()})
    assert store.names == {"moved"}


def test_a_lease_taken_during_the_sweep_holds_even_after_its_release(leases: Leases) -> None:
    store = Store("a", "b")

    def walk() -> Iterable[str]:
        with leases.create() as lease:
            lease.add(blob("b"))
        return ["a", "b"]

    collect(leases, list, nothing, {"blob": Kind(walk, store.delete)})
    assert store.names == {"b"}


def test_leases_outlive_their_process_until_they_expire(leases: Leases, tmp_path: Path) -> None:
    lease = leases.create()
    lease.add(blob("x"), blob("y"))
    lease.add(blob("x"))
    again = Leases(tmp_path / "leases")
    assert again.held() == {blob("x"), blob("y")}
    again.expire(time.time())
    assert again.held() == {blob("x"), blob("y")}
    leases.expire(time.time() + 2 * DAY)
    assert leases.held() == {blob("x"), blob("y")}
    again.expire(time.time() + 2 * DAY)
    assert again.held() == frozenset()
    assert list((tmp_path / "leases").iterdir()) == []


def test_a_brief_lease_ends_with_its_process(leases: Leases, tmp_path: Path) -> None:
    lease = leases.create(brief=True)
    lease.add(blob("x"))
    leases.expire()
    assert leases.held() == {blob("x")}
    again = Leases(tmp_path / "leases")
    again.expire()
    assert again.held() == frozenset()
    assert list((tmp_path / "leases").iterdir()) == []
