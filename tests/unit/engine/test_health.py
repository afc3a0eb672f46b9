"""How the health of a container is judged."""

from knarr.engine.health import delay, effective, first, judged, unwatched
from knarr.model.container import ContainerSpec, Health, Healthcheck, Probe

S = 1_000_000_000


def _check(**values: int) -> Healthcheck:
    found = effective(Healthcheck(test=("CMD", "true"), **values))
    assert found is not None
    return found


def _probe(code: int, start: int = 0) -> Probe:
    return Probe(start=start, end=start + 1, exit_code=code)


def test_defaults_are_dockers() -> None:
    check = _check()
    assert (check.interval, check.timeout, check.start_period) == (30 * S, 30 * S, 0)
    assert (check.start_interval, check.retries) == (5 * S, 3)


def test_no_check() -> None:
    assert effective(None) is None
    assert effective(Healthcheck()) is None
    assert effective(Healthcheck(test=("NONE",))) is None
    assert first(ContainerSpec(image="x")) is None
    assert first(ContainerSpec(image="x", healthcheck=Healthcheck(test=("CMD", "true")))) == Health()


def test_a_success_heals_at_once() -> None:
    sick = Health(status="unhealthy", failing_streak=9)
    well = judged(_check(), sick, _probe(0), 0)
    assert (well.status, well.failing_streak) == ("healthy", 0)


def test_failures_count_up_to_the_retries() -> None:
    check, health = _check(retries=2), Health(status="healthy")
    health = judged(check, health, _probe(1), 0)
    assert (health.status, health.failing_streak) == ("healthy", 1)
    health = judged(check, health, _probe(-1), 0)
    assert (health.status, health.failing_streak) == ("unhealthy", 2)


def test_failures_in_the_start_period_do_not_count() -> None:
    check, health = _check(retries=1, start_period=10 * S), Health()
    health = judged(check, health, _probe(1, start=9 * S), 0)
    assert (health.status, health.failing_streak) == ("starting", 0)
    health = judged(check, health, _probe(1, start=10 * S), 0)
    assert health.status == "unhealthy"


def test_the_start_period_ends_with_the_first_success() -> None:
    check = _check(retries=1, start_period=10 * S)
    health = judged(check, Health(), _probe(0, start=S), 0)
    assert judged(check, health, _probe(1, start=2 * S), 0).status == "unhealthy"


def test_the_last_five_are_kept() -> None:
    health = Health()
    for number in range(7):
        health = judged(_check(), health, _probe(0, start=number), 0)
    assert [probe.start for probe in health.log] == [2, 3, 4, 5, 6]


def test_probes_are_quicker_while_it_starts() -> None:
    check = _check(interval=20 * S, start_interval=2 * S, start_period=10 * S)
    assert delay(check, Health(), 5 * S) == 2 * S
    assert delay(check, Health(status="healthy"), 5 * S) == 20 * S
    assert delay(check, Health(), 11 * S) == 20 * S


def test_what_is_not_watched_is_unhealthy() -> None:
    assert unwatched(None) is None
    assert unwatched(Health(status="healthy")) == Health(status="unhealthy")
