"""Why a step ran: one difference each, and which earlier step is the nearest."""

from stat import S_IFDIR, S_IFLNK, S_IFREG

import msgspec
import pytest

from knarr.build.context.entries import Entry
from knarr.build.explain import Earlier, Listed, Parts, bounded, explain, nearest, parts, why
from knarr.build.graph import About, Edge, vertex
from knarr.build.operations import Action, Copy, Exec, File, Mount, Owner, Source, Who

FILE = Listed("app.py", S_IFREG, 0o644, "0:0", "aa", "")
BASE = ("base image python@sha256:1", "sha256:1")
OLD = Parts(
    instruction="COPY . /app",
    place="2/3",
    inputs=(BASE,),
    env=("A=1", "B=x"),
    facts=(("user", "root"),),
    files=(FILE, FILE._replace(path="lib/x.py")),
    epoch="1",
)


def changed(**fields: object) -> Parts:
    return msgspec.structs.replace(OLD, **fields)


def with_file(**fields: object) -> Parts:
    return changed(files=(FILE._replace(**fields), *OLD.files[1:]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("new", "text"),
    [
        (changed(instruction="COPY x /app"), "the instruction is `COPY x /app`, was `COPY . /app`"),
        (
            changed(inputs=(("base image python@sha256:2", "sha256:2"),)),
            "the base image python@sha256:2, was python@sha256:1",
        ),
        (changed(inputs=(("[1/3] RUN a", "sha256:2"),)), "it is built on other contents of `[1/3] RUN a`"),
        (changed(env=("A=2", "B=x")), 'ARG or ENV A is "2", was "1"'),
        (changed(env=("A=1", "B=x", "C=")), 'ARG or ENV C is new, ""'),
        (changed(env=("A=1",)), 'ARG or ENV B is no longer set, was "x"'),
        (changed(facts=(("user", "me"),)), 'user is "me", was "root"'),
        (changed(facts=(("user", "root"), ("network", "none"))), 'network is "none", was ""'),
        (with_file(content="bb"), "app.py has other contents"),
        (with_file(mode=0o755), "app.py has the mode 0755, had 0644"),
        (with_file(owner="1:1"), "app.py belongs to 1:1, belonged to 0:0"),
        (with_file(more="x"), "app.py has other extended attributes"),
        (with_file(kind=S_IFLNK, content="to"), "app.py is a symbolic link, was a file"),
        (changed(files=OLD.files[1:]), "app.py is gone"),
        (changed(files=(*OLD.files, FILE._replace(path="b"))), "b was added"),
        (changed(files=()), "app.py is gone (and 1 more)"),
        (
            changed(
                files=(*OLD.files, Listed("d", S_IFDIR, 0o755, "0:0", "", ""), FILE._replace(path="d/new"))
            ),
            "d/new was added",
        ),
        (changed(epoch="2"), 'SOURCE_DATE_EPOCH is "2", was "1"'),
        (OLD, "its key is made otherwise than by an earlier version"),
    ],
)
def test_the_first_part_that_differs(new: Parts, text: str) -> None:
    assert explain(OLD, new) == text


def test_why_it_was_not_there_at_all() -> None:
    assert why(OLD, Earlier(known=True, others=[OLD]), ignored=True) == "the cache was not asked (--no-cache)"
    assert why(OLD, Earlier(known=True, others=[OLD])) == "built before, and pruned from the cache since"
    assert why(OLD, Earlier(known=False)) == "never built"
    assert why(with_file(mode=0o600), Earlier(known=False, others=[OLD])).startswith(
        "app.py has the mode 0600"
    )


def test_the_nearest_has_the_same_words_and_the_most_files() -> None:
    other_words = changed(instruction="COPY y /app")
    other_project = changed(files=(FILE._replace(path="main.go"),), env=())
    new = with_file(content="new")
    assert nearest(new, [other_words, other_project, OLD]) is OLD
    assert nearest(new, [other_words]) is other_words
    elsewhere = changed(instruction="COPY z /", place="3/3")
    assert nearest(new, [elsewhere]) is None
    again = with_file(content="older")
    assert nearest(new, [again, OLD]) is again


def test_many_files_are_kept_as_directories() -> None:
    many = [FILE._replace(path=f"src/{n}/{m}") for n in range(10) for m in range(10)]
    few = bounded([FILE, *many], most=20)
    assert sorted(each.path for each in few) == sorted(["app.py", *(f"src/{n}" for n in range(10))])
    more = [each if each.path != "src/3/4" else each._replace(content="bb") for each in many]
    text = explain(changed(files=few), changed(files=bounded([FILE, *more], most=20)))
    assert text == "something in src/3 has changed"
    assert len(bounded([FILE._replace(path=str(n)) for n in range(50)], most=20)) == 1


def test_the_parts_of_vertices() -> None:
    base = vertex(Source("docker-image://busybox@sha256:1"), about=About(name="[1/3] FROM busybox"))
    step = vertex(
        Exec(("sh", "-c", "x $A"), ("A=1",), "/w", (Mount("/", input=0, output=0),), user="me"),
        (Edge(base),),
        about=About(name="[build 2/3] RUN x 1", command="RUN x $A"),
    )
    made = parts(step, ["sha256:b"], (), None)
    assert (made.instruction, made.place, made.env) == ("RUN x $A", "build 2/3", ("A=1",))
    assert made.inputs == (("base image busybox@sha256:1", "sha256:b"),)
    assert dict(made.facts)["user"] == "me"
    act = Copy("/a", "/b", owner=Owner(Who("me"), Who(id=7)), mode=0o600)
    copied = vertex(
        File((Action(act, 0, 1, 0),)),
        (Edge(step), Edge(vertex(Source("local://context")))),
        about=About(name="[3/3] COPY a b"),
    )
    made = parts(copied, ["sha256:c"], [("a", Entry(path="a", mode=S_IFREG | 0o644, digest="f" * 64))], 7)
    assert (made.instruction, made.epoch) == ("COPY a b", "7")
    assert dict(made.facts)["owner of copy 1"] == "me:7"
    assert dict(made.facts)["mode of copy 1"] == "0600"
    assert made.files == (Listed("a", S_IFREG, 0o644, "0:0", "f" * 16, ""),)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Parts) == made
