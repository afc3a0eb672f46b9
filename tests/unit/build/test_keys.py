"""Keys of the build cache: contents count, times and neighbours do not."""

from dataclasses import replace
from stat import S_IFREG

from msgspec.structs import replace as changed

from knarr.build import keys
from knarr.build.context.entries import Entry
from knarr.build.graph import About, Edge, vertex
from knarr.build.operations import Action, Copy, File, Source

FILE = Entry(path="a", mode=S_IFREG | 0o644, size=1, mtime=5, digest="aa")
COPY = File((Action(Copy("/a", "/b"), -1, 0, 0),))
CONTEXT = vertex(Source("local://context"))


def test_a_touched_file_is_the_same_file() -> None:
    assert keys.index({"a": FILE}) == keys.index({"a": changed(FILE, mtime=9)})


def test_what_a_file_is_counts() -> None:
    same = keys.index({"a": FILE})
    for other in (
        changed(FILE, digest="bb"),
        changed(FILE, mode=S_IFREG | 0o755),
        changed(FILE, uid=1),
        changed(FILE, xattrs={"user.x": b"1"}),
        changed(FILE, link="elsewhere"),
    ):
        assert keys.index({"a": other}) != same
    assert keys.index({"b": FILE}) != same


def test_the_order_of_entries_does_not_count() -> None:
    other = changed(FILE, path="b")
    assert keys.index({"a": FILE, "b": other}) == keys.index({"b": other, "a": FILE})


def test_a_key_names_the_operation_and_its_inputs() -> None:
    node = vertex(COPY, (Edge(CONTEXT),))
    key = keys.key(node, ["x"], None)
    assert key == keys.key(replace(node, about=About(name="another name")), ["x"], None)
    assert key != keys.key(node, ["y"], None)
    assert key != keys.key(node, ["x"], 0)
    assert key != keys.key(vertex(File((Action(Copy("/a", "/c"), -1, 0, 0),)), (Edge(CONTEXT),)), ["x"], None)


def test_what_the_inputs_are_made_by_does_not_count() -> None:
    other = vertex(Source("local://other"))
    assert keys.key(vertex(COPY, (Edge(CONTEXT),)), ["x"], None) == keys.key(
        vertex(COPY, (Edge(other),)), ["x"], None
    )


def test_the_name_of_a_context_that_comes_again_is_kept_for_the_object() -> None:
    names = keys.Names()
    indexes = [{str(number): Entry(path=str(number), mode=0o100644)} for number in range(9)]
    for number, each in enumerate(indexes):
        assert names.find(each) is None
        names.keep(each, str(number))
    assert [names.find(each) for each in indexes] == [None, *map(str, range(1, 9))]
    assert names.find(dict(indexes[8])) is None
    large = {str(number): Entry(path=str(number), mode=0o100644) for number in range(2001)}
    names.keep(large, "large")
    assert names.find(large) is None
