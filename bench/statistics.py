"""What is made of samples: medians of alternating pairs, ratios, targets. Pure.

Absolute times drift on a shared machine; so the two sides are measured in turns, and the ratio of their medians counts.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """What knarr must reach: `bound` for knarr's figure, or with `relative` for knarr's figure divided by dockerd's."""

    text: str
    bound: float
    relative: bool = True
    at_least: bool = False

    def met(self, docker: float | None, knarr: float | None) -> bool | None:
        """Whether the figures reach it; None where one that is needed is missing."""
        if knarr is None or (self.relative and not docker):
            return None
        figure = knarr / docker if self.relative and docker else knarr
        return figure >= self.bound if self.at_least else figure <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `unit` is a unit of `report`; `more_is_better` says how the ratio reads."""

    what: str
    docker: float | None
    knarr: float | None
    unit: str
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """knarr's figure divided by dockerd's."""
        return self.knarr / self.docker if self.docker and self.knarr is not None else None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a target or figures."""
        return self.target.met(self.docker, self.knarr) if self.target else None


@dataclass(slots=True)
class Samples:
    """Figures by name, in the order in which the names came."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, figures: dict[str, float]) -> None:
        """One more sample of each figure."""
        for name, value in figures.items():
            self.values.setdefault(name, []).append(value)

    def merge(self, other: "Samples") -> None:
        """Takes another's samples in."""
        for name, values in other.values.items():
            self.values.setdefault(name, []).extend(values)

    def median(self, name: str) -> float | None:
        """The median of a figure, None if it was never taken."""
        return statistics.median(self.values[name]) if self.values.get(name) else None


def alternate(pairs: int, sides: Sequence[T], measure: Callable[[T], dict[str, float]]) -> list[Samples]:
    """`pairs` samples of each side, in turns; each turn begins with the side that ended the last one."""
    samples = [Samples() for _ in sides]
    order = list(range(len(sides)))
    for _ in range(pairs):
        for index in order:
            samples[index].add(measure(sides[index]))
        order.reverse()
    return samples


def rows(samples: Sequence[Samples], words: dict[str, tuple[str, Target | None]], unit: str) -> list[Row]:
    """A row for each figure of `words` (figure → what to call it, target) from dockerd's and knarr's samples."""
    docker, knarr = samples
    return [
        Row(what, docker.median(name), knarr.median(name), unit, target)
        for name, (what, target) in words.items()
    ]
