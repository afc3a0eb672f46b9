"""For pytest: `knarr_engine`, `knarr_host` and `knarr_container`. It costs nothing where no test asks for one of them.

The engine is the one that KNARR_HOST or DOCKER_HOST names; where none is named, one of this process (each worker of xdist has
its own), which leaves nothing behind. The fixtures are synchronous and serve any test; an asynchronous one may
`Engine.connect(knarr_host)` on its own loop.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Protocol, Unpack

import pytest

if TYPE_CHECKING:
    from knarr.library.options import Command, Options
    from knarr.sync import Container, Engine

_LINES = 200


class Factory(Protocol):
    """What the fixture `knarr_container` is."""

    def __call__(
        self,
        image: str,
        command: "Command" = None,
        *,
        wait_port: int | str | None = None,
        wait_log: str = "",
        timeout: float = 60,
        **options: "Unpack[Options]",
    ) -> "Container":
        """Runs a container, waits until it is ready (healthy, where it has a health check; its published port takes connections;
        its log has a text), and removes it with its anonymous volumes after the test. A failed test shows its log."""
        ...


_HELD: pytest.StashKey["list[Container]"] = pytest.StashKey()


@pytest.fixture(scope="session")
def knarr_host() -> Iterator[str]:
    """The engine's address, as DOCKER_HOST has it."""
    named = os.environ.get("KNARR_HOST") or os.environ.get("DOCKER_HOST")
    if named:
        yield named
    elif os.geteuid() != 0:
        from knarr.api.client.dial import DEFAULT_HOST

        yield DEFAULT_HOST
    else:
        from knarr.sync import Engine

        place = tempfile.mkdtemp(prefix="knarr-pytest-")
        engine = Engine.embedded(listen=f"{place}/knarr.sock")
        try:
            # Two that start at a time must not take the same free subnet.
            with _turn():
                engine.open()
            try:
                yield f"unix://{place}/knarr.sock"
            finally:
                engine.close()
        finally:
            shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """Held by the directory itself, so that no lock file is left."""
    fd = os.open(tempfile.gettempdir(), os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@pytest.fixture(scope="session")
def knarr_engine(knarr_host: str) -> Iterator["Engine"]:
    """The engine, as knarr.sync has it."""
    from knarr.sync import Engine

    with Engine.connect(knarr_host) as engine:
        yield engine


@pytest.fixture
def knarr_container(knarr_engine: "Engine", request: pytest.FixtureRequest) -> Iterator[Factory]:
    """Makes containers for one test."""
    held = request.node.stash.setdefault(_HELD, [])

    def make(
        image: str,
        command: "Command" = None,
        *,
        wait_port: int | str | None = None,
        wait_log: str = "",
        timeout: float = 60,
        **options: "Unpack[Options]",
    ) -> "Container":
        if wait_port is not None and "ports" not in options:
            options["ports"] = {wait_port: None}
        container = knarr_engine.containers.create(image, command, **options)
        held.append(container)
        container.start()
        health = container.details.state.health
        if health is not None and health.status not in ("", "none"):
            container.wait_healthy(timeout)
        if wait_log:
            container.wait_log(wait_log, timeout)
        if wait_port is not None:
            container.wait_port(wait_port, timeout)
        return container

    yield make
    while held:
        with held.pop():
            pass


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The logs of a failed test's containers."""
    report = yield
    if report.failed:
        for container in item.stash.get(_HELD, ()):
            report.sections.append((f"Log of container {container.name}", _log(container)))
    return report


def _log(container: Any) -> str:
    try:
        return "\n".join(line.text for line in container.logs(tail=_LINES))
    except Exception as error:  # the report of the test's own failure matters more
        return f"(no log: {error})"
