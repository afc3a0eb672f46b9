"""What a frontend asks of the world, as values, and how its questions are put: a generator yields some, and is sent the answers.

Questions that come together don't depend on each other. An answer may be an error: it is raised where it belongs.
"""

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.graph import Edge
from knarr.model.errors import KnarrError
from knarr.model.platform import Platform


class ImageQuestion(NamedTuple):
    """The configuration of an image for a platform. `store` names the client's OCI layout that has it."""

    reference: str
    platform: Platform
    mode: str
    log_name: str
    store: str = ""


class ImageAnswer(NamedTuple):
    """What the reference became, the digest of its manifest (or index), and the configuration's JSON."""

    reference: str
    digest: str
    config: bytes


class IgnoreQuestion(NamedTuple):
    """The `.dockerignore` of a named context on the client: bytes or None."""

    local: str
    session: str
    log_name: str


class EpochQuestion(NamedTuple):
    """When a remote source was made: seconds, or None when that can't be told."""

    source: Edge
    log_name: str


Question = ImageQuestion | IgnoreQuestion | EpochQuestion
Answer = ImageAnswer | bytes | int | None | KnarrError
Questions = tuple[Question, ...]
Answers = tuple[Answer, ...]
T = TypeVar("T")
Steps = Generator[Questions, Answers, T]


def ask(question: Question) -> Steps[Answer]:
    """One question; its error is raised."""
    (answer,) = yield (question,)
    if isinstance(answer, KnarrError):
        raise DockerfileError(str(answer)) from answer
    return answer


def together(parts: list[Steps[T]]) -> Steps[list[T]]:
    """Runs generators side by side, so that their questions come together. The first error of the first part wins."""
    results: dict[int, T] = {}
    waiting: dict[int, Questions] = {}
    for index, part in enumerate(parts):
        _advance(part, None, index, results, waiting)
    while waiting:
        asked = [(index, question) for index, questions in waiting.items() for question in questions]
        answers = yield tuple(question for _, question in asked)
        by_part: dict[int, list[Answer]] = {index: [] for index in waiting}
        for (index, _), answer in zip(asked, answers, strict=True):
            by_part[index].append(answer)
        waiting = {}
        for index, own in by_part.items():
            _advance(parts[index], tuple(own), index, results, waiting)
    return [results[index] for index in range(len(parts))]


def _advance(
    part: Steps[T], answers: Answers | None, index: int, results: dict[int, T], waiting: dict[int, Questions]
) -> None:
    try:
        waiting[index] = next(part) if answers is None else part.send(answers)
    except StopIteration as stop:
        results[index] = stop.value


def drive(steps: Steps[T], answer: Callable[[Question], Answer]) -> T:
    """Runs a generator with a function that answers each question."""
    try:
        questions = next(steps)
        while True:
            questions = steps.send(tuple(_answered(answer, question) for question in questions))
    except StopIteration as stop:
        result: T = stop.value
        return result


def _answered(answer: Callable[[Question], Answer], question: Question) -> Answer:
    try:
        return answer(question)
    except KnarrError as error:
        return error
