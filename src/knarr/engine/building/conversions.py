"""Dockerfiles that were converted before: the same text with the same options and the same answers gives the same graph.

Only the client's session differs from build to build: the graph is kept with a name in its place, and gets that of the build. A
file of which something was remarked is converted anew, and so is one that works on other builds' results.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from knarr.build.dockerfile import frontend
from knarr.build.dockerfile.checks import Remark
from knarr.build.dockerfile.frontend import Built, Definition, Options, Result
from knarr.build.dockerfile.questions import Answers, IgnoreQuestion, Questions, Steps
from knarr.build.graph import Edge, Vertex, vertex, walk
from knarr.build.operations import Source

_MOST = 64
_LONGEST = 64 << 10
_SESSION = "@"

Key = tuple[Definition, str]
Talk = list[tuple[Questions, Answers]]


class _Known(NamedTuple):
    """A conversion: what it asked and was told, and what it gave."""

    talk: Talk
    built: Built


class Conversions:
    """Those of one engine."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, _Known] = OrderedDict()

    def build(self, definition: Definition, options: Options, remarks: list[Remark]) -> Steps[Built]:
        """See frontend.build. Raises DockerfileError."""
        key = _key(definition, options)
        if key is None:
            return (yield from frontend.build(definition, options, remarks))
        talk: Talk = []
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            if (yield from _repeated(known, talk, options.session)):
                return _given(known.built, options.session)
        plain = replace(options, session=_SESSION, sessions={})
        built = yield from _recorded(frontend.build(definition, plain, remarks), talk, options.session)
        if not remarks:
            self._known[key] = _Known(talk, built)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return _given(built, options.session)


def _key(definition: Definition, options: Options) -> Key | None:
    """None for what is not kept."""
    alone = set(options.sessions.values()) <= {options.session} and bool(options.session)
    if not alone or options.inputs or definition.context is not None or len(definition.text) > _LONGEST:
        return None
    return definition, repr(replace(options, session="", sessions={}))


def _repeated(known: _Known, talk: Talk, session: str) -> Steps[bool]:
    """Asks what was asked before; whether the answers are the same. They are added to `talk`."""
    for questions, before in known.talk:
        answers = yield _of(session, questions)
        talk.append((questions, answers))
        if answers != before:
            return False
    return True


def _recorded(steps: Steps[Built], talk: Talk, session: str) -> Steps[Built]:
    """Runs a conversion; what was asked already is not asked again, and all of it is in `talk`."""
    told = iter(tuple(talk))
    try:
        questions = next(steps)
        while True:
            asked, answers = next(told, (None, ()))
            if asked != questions:
                told = iter(())
                answers = yield _of(session, questions)
                talk.append((questions, answers))
            questions = steps.send(answers)
    except StopIteration as stop:
        built: Built = stop.value
        return built


def _of(session: str, questions: Questions) -> Questions:
    """As the build asks them."""
    return tuple(
        [each._replace(session=session) if isinstance(each, IgnoreQuestion) else each for each in questions]
    )


def _given(built: Built, session: str) -> Built:
    """For a client's session."""
    made: dict[str, Vertex] = {}
    results = tuple([_of_session(each, session, made) for each in built.results])
    return built._replace(results=results)


def _of_session(result: Result, session: str, made: dict[str, Vertex]) -> Result:
    scans = tuple([(name, _edge(edge, session, made)) for name, edge in result.scans])
    return result._replace(output=_edge(result.output, session, made), scans=scans)


def _edge(edge: Edge | None, session: str, made: dict[str, Vertex]) -> Edge | None:
    if edge is None:
        return None
    for node in walk(edge):
        if node.digest not in made:
            made[node.digest] = _vertex(node, session, made)
    return Edge(made[edge.digest], edge.output)


def _vertex(node: Vertex, session: str, made: dict[str, Vertex]) -> Vertex:
    operation = node.operation
    if isinstance(operation, Source):
        operation = _source(operation, session)
    elif all(made[each.digest] is each.vertex for each in node.inputs):
        return node
    if operation is node.operation and not node.inputs:
        return node
    inputs = tuple([Edge(made[each.digest], each.output) for each in node.inputs])
    return vertex(operation, inputs, node.platform, node.about)


def _source(source: Source, session: str) -> Source:
    names: Sequence[str] = ("local.session", "oci.session")
    if not any(key in names and value == _SESSION for key, value in source.attributes):
        return source
    attributes = [(key, session if key in names else value) for key, value in source.attributes]
    return replace(source, attributes=tuple(attributes))
