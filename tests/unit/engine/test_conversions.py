"""A Dockerfile that was converted before gives what it gave, with this build's session, and is asked for nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from knarr.build.dockerfile import frontend
from knarr.build.dockerfile.checks import Remark
from knarr.build.dockerfile.frontend import Built, Definition, Options
from knarr.build.dockerfile.questions import Answer, IgnoreQuestion, ImageAnswer, ImageQuestion, Question
from knarr.build.graph import walk
from knarr.engine.building.conversions import Conversions

TEXT = b"FROM busybox AS one\nRUN make\nFROM busybox\nCOPY . /here\nCOPY --from=more x /x\nCOPY --from=one /y /y\nRUN true\n"
OPTIONS = Options(session="s1", contexts={"more": "local:more"})
CONFIG = b'{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}'


class World:
    """Answers, and counts conversions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.conversions = Conversions()
        self.asked: list[Question] = []
        self.config = CONFIG
        self.done = 0
        before = frontend.build

        def counted(*given: Any) -> Any:
            self.done += 1
            return before(*given)

        monkeypatch.setattr(frontend, "build", counted)
        self.plain = before

    def answer(self, question: Question) -> Answer:
        self.asked.append(question)
        if isinstance(question, ImageQuestion):
            return ImageAnswer(f"{question.reference}@sha256:{'0' * 64}", f"sha256:{'0' * 64}", self.config)
        return None

    def build(self, options: Options, text: bytes = TEXT, remarks: list[Remark] | None = None) -> Built:
        steps = self.conversions.build(Definition(text), options, [] if remarks is None else remarks)
        return frontend.drive(steps, self.answer)

    def fresh(self, options: Options, text: bytes = TEXT) -> Built:
        return frontend.drive(self.plain(Definition(text), options, []), self.answer)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def same(one: Built, other: Built) -> bool:
    (first,), (second,) = one.results, other.results
    assert first.output is not None
    assert second.output is not None
    told = [[(node, node.about, node.operation) for node in walk(each.output)] for each in (first, second)]
    return told[0] == told[1] and first._replace(output=None) == second._replace(output=None)


def test_it_is_what_a_fresh_one_gives(world: World) -> None:
    for session in ("s1", "s2", "s2"):
        options = replace(OPTIONS, session=session)
        built = world.build(options)
        assert {each.session for each in world.asked if isinstance(each, IgnoreQuestion)} == {session}
        assert same(built, world.fresh(options))
        world.asked.clear()
    assert world.done == 1


def test_other_answers_text_and_options_are_converted_anew(world: World) -> None:
    world.build(OPTIONS)
    world.config = CONFIG.replace(b'"config":{}', b'"config":{"Env":["A=1"]}')
    assert same(world.build(OPTIONS), world.fresh(OPTIONS))
    assert world.done == 2
    world.build(OPTIONS, TEXT + b"\n")
    world.build(replace(OPTIONS, target="one"))
    world.build(replace(OPTIONS, build_args={"A": "1"}))
    assert world.done == 5


def test_each_question_is_asked_once(world: World) -> None:
    world.build(OPTIONS)
    first = list(world.asked)
    world.asked.clear()
    world.config = CONFIG.replace(b"amd64", b"arm64")
    world.build(OPTIONS)
    assert world.asked == first


def test_what_was_remarked_is_remarked_again(world: World) -> None:
    for _ in range(2):
        remarks: list[Remark] = []
        world.build(OPTIONS, b"from busybox\nRUN a\nrun b\n", remarks)
        assert remarks
    assert world.done == 2


def test_sessions_of_their_own_are_left_alone(world: World) -> None:
    options = replace(OPTIONS, sessions={"more": "other"})
    for _ in range(2):
        assert same(world.build(options), world.fresh(options))
    assert world.done == 2
