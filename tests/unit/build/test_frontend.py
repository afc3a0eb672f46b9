"""What the cases can't say: the questions and their answers, contexts that are handed in, the values of the graph."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from knarr.build import operations as ops
from knarr.build.dockerfile import contexts, directives, frontend, options, requests
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.questions import Answer, EpochQuestion, ImageQuestion, Question
from knarr.build.graph import About, Edge, Vertex, vertex, walk
from knarr.model.errors import NotFound, Unavailable, Unsupported
from knarr.model.platform import Platform
from tests.unit.build.support import Case, build, image


def questions_of(text: str, given: frontend.Options) -> list[list[Question]]:
    """The rounds of questions that a build asks."""
    rounds: list[list[Question]] = []
    steps = frontend.build(frontend.Definition(text.encode()), given)
    try:
        asked = next(steps)
        while True:
            rounds.append(list(asked))
            asked = steps.send(tuple(image(q) if isinstance(q, ImageQuestion) else None for q in asked))
    except StopIteration:
        return rounds


def test_independent_questions_come_together() -> None:
    text = "FROM a AS one\nFROM b AS two\nFROM c\nCOPY --from=one x y\nCOPY --from=two x y\nCOPY --from=d/e x y\n"
    (asked,) = questions_of(text, options.parse({"platform": "linux/amd64,linux/arm64"}))
    found = sorted((q.reference, str(q.platform)) for q in asked if isinstance(q, ImageQuestion))
    names = (
        "docker.io/d/e:latest",
        "docker.io/library/a:latest",
        "docker.io/library/b:latest",
        "docker.io/library/c:latest",
    )
    assert found == [(name, platform) for name in names for platform in ("linux/amd64", "linux/arm64")]


def test_only_needed_images_are_asked_for() -> None:
    text = "FROM a AS one\nFROM b AS two\nFROM one\n"
    (asked,) = questions_of(text, options.parse({}))
    assert [q.reference for q in asked if isinstance(q, ImageQuestion)] == ["docker.io/library/a:latest"]


def test_an_error_stands_at_its_line() -> None:
    def answer(question: Question) -> Answer:
        raise Unavailable("registry does not answer")

    steps = frontend.build(frontend.Definition(b"# c\nFROM alpine\n"), options.parse({}))
    with pytest.raises(DockerfileError) as caught:
        frontend.drive(steps, answer)
    assert str(caught.value) == "alpine: registry does not answer"
    assert caught.value.locations == [(2,)]
    assert isinstance(caught.value.__cause__, Unavailable)


def test_triggers_may_need_more_images() -> None:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"diff_ids": ["x"]},
        "config": {"OnBuild": ["COPY --from=b /x /y"]},
    }
    asked: list[str] = []

    def answer(question: Question) -> Answer:
        assert isinstance(question, ImageQuestion)
        asked.append(question.reference)
        return image(question, {"docker.io/library/a:latest": config})

    built = frontend.drive(frontend.build(frontend.Definition(b"FROM a\nRUN x\n"), options.parse({})), answer)
    assert asked == ["docker.io/library/a:latest", "docker.io/library/b:latest"]
    names = [node.about.name for node in walk(built.results[0].output)]
    assert names[2:] == ["[2/3] ONBUILD COPY --from=b /x /y", "[3/3] RUN x"]


def test_a_stage_that_a_trigger_needs_is_numbered_from_one() -> None:
    text = "FROM alpine AS base\nONBUILD COPY --from=tools /t /t\nFROM busybox AS tools\nRUN t\nFROM base\n"
    names = [node.about.name for node in walk(build(text).results[0].output)]
    assert [name.partition("]")[0] for name in names if "tools" in name.partition("]")[0]] == [
        "[tools 1/2",
        "[tools 2/2",
    ]


@pytest.mark.parametrize("answer", [1700000000, None])
def test_an_epoch_from_a_remote_context(answer: int | None) -> None:
    context = contexts.remote_context(options.parse({"context": "https://x.org/a.git#main"}))
    assert context is not None
    given = options.parse({"build-arg:SOURCE_DATE_EPOCH": "context"})
    asked: list[Question] = []

    def answers(question: Question) -> Answer:
        asked.append(question)
        return answer if isinstance(question, EpochQuestion) else image(question)  # type: ignore[arg-type]

    definition = frontend.Definition(b"FROM alpine\nWORKDIR /x\n", context=context.edge)
    built = frontend.drive(frontend.build(definition, given), answers)
    assert asked[0] == EpochQuestion(context.edge, "[internal] resolve main build context metadata")
    assert built.results[0].epoch == answer
    assert built.results[0].image["history"][-1].get("created") == (
        "2023-11-14T22:13:20Z" if answer else None
    )


def test_an_epoch_from_a_stage() -> None:
    text = "FROM scratch AS when\nARG V=1\nADD https://x.org/a.git#$V /\nFROM alpine\nRUN x\n"
    asked: list[Question] = []

    def answers(question: Question) -> Answer:
        asked.append(question)
        return 5 if isinstance(question, EpochQuestion) else image(question)  # type: ignore[arg-type]

    given = options.parse({"build-arg:SOURCE_DATE_EPOCH": "when"})
    built = frontend.drive(frontend.build(frontend.Definition(text.encode()), given), answers)
    question = asked[0]
    assert isinstance(question, EpochQuestion)
    assert isinstance(question.source.vertex.operation, ops.Source)
    assert question.source.vertex.operation.identifier == "git://x.org/a.git#1"
    assert built.results[0].epoch == 5


def test_the_result_of_another_build_as_a_base() -> None:
    other = build("FROM alpine\nRUN other\nENV A=b\n").results[0]
    config = json.dumps(other.image).encode()
    given = replace(
        options.parse({"context:base": "input:base"}), inputs={"base": options.Input(other.output, config)}
    )
    case = Case({"name": "", "dockerfile": "FROM base\nRUN echo $A\n"})
    result = frontend.drive(frontend.build(case.definition, given), case.answer).results[0]
    assert other.output is not None
    assert other.output.vertex in set(walk(result.output))
    assert result.image["config"]["Env"][-1] == "A=b"
    assert result.image["history"][0]["created_by"] == "RUN /bin/sh -c other # buildkit"


def test_a_context_that_is_handed_in() -> None:
    edge = Edge(vertex(ops.Source("https://x.org/context.tar"), about=About("given")))
    definition = frontend.Definition(b"FROM scratch\nCOPY a b\n", ignore=b"a\n", context=edge)
    built = frontend.drive(frontend.build(definition, options.parse({})), lambda question: None)
    assert [node.about.name for node in walk(built.results[0].output)] == ["given", "[1/1] COPY a b"]
    assert not built.warnings


@pytest.mark.parametrize(
    ("context", "identifier", "attributes"),
    [
        (
            "https://x.org/a.git#main:sub",
            "git://x.org/a.git#main:sub",
            {"git.fullurl": "https://x.org/a.git"},
        ),
        (
            "git@x.org:a/b.git",
            "git://x.org/a/b.git",
            {"git.fullurl": "git@x.org:a/b.git", "git.mountsshsock": "default"},
        ),
        ("github.com/a/b", "git://github.com/a/b", {"git.fullurl": "https://github.com/a/b"}),
        (
            "https://x.org/a.git?branch=dev&mtime=commit",
            "git://x.org/a.git#refs/heads/dev",
            {"git.mtime": "commit"},
        ),
        ("https://x.org/a.tar", "https://x.org/a.tar", {"http.filename": "context"}),
    ],
)
def test_remote_contexts(context: str, identifier: str, attributes: dict[str, str]) -> None:
    remote = contexts.remote_context(options.parse({"context": context}))
    assert remote is not None
    source = remote.edge.vertex.operation
    assert isinstance(source, ops.Source)
    assert source.identifier == identifier
    assert attributes.items() <= dict(source.attributes).items()


def test_local_contexts_are_not_remote() -> None:
    assert contexts.remote_context(options.parse({})) is None
    assert contexts.remote_context(options.parse({"context": "./x.git"})) is None


def test_an_archive_as_context() -> None:
    given = options.parse({"context": "https://x.org/a.tar", "contextsubdir": "sub"})
    remote = contexts.remote_context(given)
    assert remote is not None
    acts = [
        node.operation.actions[0].act
        for node in walk(contexts.unpacked(remote, given))
        if isinstance(node.operation, ops.File)
    ]
    assert [(act.src, act.unpack) for act in acts if isinstance(act, ops.Copy)] == [
        ("/context", True),
        ("/sub", False),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "# syntax=docker/dockerfile:1", "#syntax=docker/dockerfile", "# syntax = docker/dockerfile-upstream:master-labs",
        "# syntax=docker.io/docker/dockerfile:1.26@sha256:abc", "# syntax=mirror.example:5000/docker/dockerfile:1", "",
    ],
)  # fmt: skip
def test_our_frontends(line: str) -> None:
    directives.check_frontend(f"{line}\nFROM alpine\n")


@pytest.mark.parametrize(
    "line", ["# syntax=other/frontend:1", "// syntax=other/frontend:1", '{"syntax": "other/frontend:1"}']
)
def test_other_frontends_are_refused(line: str) -> None:
    steps = frontend.build(frontend.Definition(f"{line}\n".encode()), options.parse({}))
    with pytest.raises(DockerfileError, match="frontend other/frontend:1 is not supported"):
        frontend.drive(steps, lambda question: None)


def test_a_frontend_of_the_command_line() -> None:
    given = options.parse({"build-arg:BUILDKIT_SYNTAX": "other/frontend"})
    with pytest.raises(DockerfileError, match="other/frontend"):
        frontend.drive(frontend.build(frontend.Definition(b"FROM scratch\n"), given), lambda question: None)


def test_unknown_subrequests() -> None:
    with pytest.raises(Unsupported, match=r"unsupported request frontend\.nope"):
        frontend.drive(
            requests.subrequest(
                frontend.Definition(b"FROM a\n"), options.parse({"requestid": "frontend.nope"})
            ),
            lambda question: None,
        )


def test_another_frontend_is_asked_nothing() -> None:
    given = options.parse({"requestid": "frontend.lint"})
    steps = requests.subrequest(frontend.Definition(b"# syntax=other/frontend\nFROM a\n"), given)
    with pytest.raises(DockerfileError, match="other/frontend"):
        frontend.drive(steps, lambda question: None)


def test_the_list_of_subrequests() -> None:
    given = options.parse({"requestid": "frontend.subrequests.describe"})
    answer = frontend.drive(requests.subrequest(frontend.Definition(b""), given), lambda question: None)
    names = [entry["name"] for entry in json.loads(answer["result.json"])]
    assert names == ["frontend.outline", "frontend.targets", "frontend.subrequests.describe"]
    assert answer["result.txt"].startswith(b"NAME                 VERSION DESCRIPTION\n")


def test_equal_operations_are_one_vertex() -> None:
    text = "FROM alpine AS a\nRUN x\nFROM alpine AS b\nRUN x\nRUN y\nFROM scratch\nCOPY --from=a p q\nCOPY --from=b p r\n"
    nodes = list(walk(build(text).results[0].output))
    assert len(nodes) == len({node.digest for node in nodes}) == len({id(node) for node in nodes}) == 5
    assert [node.about.lines for node in nodes[:2]] == [(1, 3), (2, 4)]


def test_vertices_are_equal_by_digest() -> None:
    one, other = (vertex(ops.Source("local://a"), about=About(name)) for name in ("x", "y"))
    assert one == other
    assert hash(one) == hash(other)
    assert one != vertex(ops.Source("local://b"))
    assert one != "x"


def test_walking_is_no_recursion() -> None:
    node: Vertex = vertex(ops.Source("local://a"))
    for index in range(5000):
        node = vertex(ops.Diff(0, 0), (Edge(node, index % 2),))
    assert sum(1 for _ in walk(Edge(node), None, Edge(node))) == 5001


@pytest.mark.parametrize(
    ("attributes", "read"),
    [
        ({"target": "x"}, lambda o: o.target == "x"),
        ({"build-arg:A": "b", "label:c": "d"}, lambda o: (o.build_args, o.labels) == ({"A": "b"}, {"c": "d"})),
        ({"platform": "linux/arm64/v8,arm"}, lambda o: o.platforms == (Platform("linux", "arm64"), Platform("linux", "arm", "v7"))),
        ({"no-cache": ""}, lambda o: o.skips_cache("any") and o.skips_cache("")),
        ({"no-cache": "a,b"}, lambda o: o.skips_cache("B") and not o.skips_cache("c")),
        ({}, lambda o: not o.skips_cache("") and o.resolve_mode == "default"),
        ({"ulimit": "nofile=1:-1"}, lambda o: o.ulimits == (ops.Ulimit("nofile", 1, -1),)),
        ({"memory": "5", "memswap": "-1"}, lambda o: (o.resources.memory, o.resources.memory_swap) == (5, -1)),
        ({"build-arg:BUILDKIT_SANDBOX_HOSTNAME": "h", "hostname": "i"}, lambda o: o.hostname == "h"),
    ],
    ids=str,
)  # fmt: skip
def test_options(attributes: dict[str, str], read: Callable[[frontend.Options], bool]) -> None:
    assert read(options.parse(attributes))


def test_a_missing_image_keeps_its_kind_as_cause() -> None:
    case = Case({"name": "", "dockerfile": "FROM gone\n", "images": {"docker.io/library/gone:latest": None}})
    with pytest.raises(DockerfileError) as caught:
        frontend.drive(frontend.build(case.definition, case.options()), case.answer)
    assert isinstance(caught.value.__cause__, NotFound)
