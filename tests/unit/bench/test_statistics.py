"""Medians, ratios, targets, turns and the table."""

import pytest
from bench import report
from bench.statistics import Row, Samples, Target, alternate, rows


@pytest.mark.parametrize(
    ("target", "docker", "knarr", "met"),
    [
        (Target("≤ 1/10", 1 / 10), 1.0, 0.1, True),
        (Target("≤ 1/10", 1 / 10), 1.0, 0.11, False),
        (Target("≥ 5 times", 5, at_least=True), 20, 100, True),
        (Target("≥ 5 times", 5, at_least=True), 20, 99, False),
        (Target("≤ 2 MB", 2e6, relative=False), None, 1.9e6, True),
        (Target("≤ 2 MB", 2e6, relative=False), 1.0, 2.1e6, False),
        (Target("≤ 1/10", 1 / 10), None, 0.1, None),
        (Target("≤ 1/10", 1 / 10), 1.0, None, None),
    ],
)
def test_a_target_is_met_or_missed(
    target: Target, docker: float | None, knarr: float | None, met: bool | None
) -> None:
    assert target.met(docker, knarr) is met


def test_sides_take_turns_and_neither_is_always_first() -> None:
    seen = []

    def measure(side: str) -> dict[str, float]:
        seen.append(side)
        return {"n": len(seen)}

    docker, knarr = alternate(4, ["d", "k"], measure)
    assert "".join(seen) == "dkkddkkd"
    assert docker.values == {"n": [1, 4, 5, 8]}
    assert knarr.values == {"n": [2, 3, 6, 7]}


def test_the_median_does_not_mind_an_outlier() -> None:
    samples = Samples()
    for value in (1.0, 2.0, 900.0):
        samples.add({"all": value})
    assert samples.median("all") == 2.0
    assert samples.median("other") is None


def test_rows_have_both_medians_and_their_ratio() -> None:
    docker, knarr = Samples({"all": [2.0, 4.0]}), Samples({"all": [0.3]})
    (row,) = rows([docker, knarr], {"all": ("run", Target("≤ 1/10", 1 / 10))}, "seconds")
    assert (row.docker, row.knarr, row.met) == (3.0, 0.3, True)
    assert row.ratio == pytest.approx(0.1)


def test_the_table_is_aligned_and_says_what_was_missed() -> None:
    lines = report.table(
        [
            Row("run", 0.2, 0.01, "seconds", Target("≤ 1/10", 1 / 10)),
            Row("rate", 20, 60, "/s", Target("≥ 5 times", 5, at_least=True)),
            Row("memory", None, 1e6, "bytes"),
        ]
    ).splitlines()
    assert [line.split() for line in lines] == [
        ["what", "dockerd", "knarr", "ratio", "target"],
        ["run", "200.0", "ms", "10.0", "ms", "1/20.0", "≤", "1/10", "met"],
        ["rate", "20.0", "/s", "60.0", "/s", "3.00", "≥", "5", "times", "MISSED"],
        ["memory", "-", "1.0", "MB", "-"],
    ]
    assert len({line.index("target") if "target" in line else line.find("≤") for line in lines[:2]}) == 1


def test_json_has_the_verdicts() -> None:
    (value,) = report.plain([Row("run", 0.2, 0.01, "seconds", Target("≤ 1/10", 1 / 10))])
    assert (value["what"], value["ratio"], value["met"]) == ("run", pytest.approx(0.05), True)


def test_samples_of_two_times_are_one() -> None:
    samples = Samples({"all": [1.0]})
    samples.merge(Samples({"all": [3.0], "start": [2.0]}))
    assert samples.values == {"all": [1.0, 3.0], "start": [2.0]}
