"""The examples of docs/library.md are run as they stand; python without a word behind it is asynchronous."""

import ast
import re
from collections.abc import Iterator
from inspect import CO_COROUTINE
from pathlib import Path

import pytest

from tests.support.daemons import REPOSITORY, Daemon

pytestmark = pytest.mark.timeout(300)
PAGE = (REPOSITORY / "docs" / "library.md").read_text()
EXAMPLES = re.findall(r"^```python ?(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
NAMES = [f"{number}{kind and '-'}{kind}" for number, (kind, _) in enumerate(EXAMPLES)]


@pytest.fixture
def directory(
    daemon: Daemon, stack: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Where examples run: busybox.tar is there, and the environment names the daemon."""
    monkeypatch.delenv("KNARR_HOST", raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{daemon.socket}")
    daemon.docker("save", "--output", "busybox.tar", "busybox")
    yield pytester.path
    assert daemon.docker("ps", "-aq").stdout == ""


@pytest.mark.parametrize(("kind", "text"), EXAMPLES, ids=NAMES)
async def test_example(kind: str, text: str, directory: Path, pytester: pytest.Pytester) -> None:
    if kind == "pytest":
        pytester.makepyfile(text)
        pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(
            passed=text.count("def test_")
        )
        return
    code = compile(text, f"docs/library.md ({kind})", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert bool(code.co_flags & CO_COROUTINE) is (kind != "sync")
    running = eval(code, {})
    if running is not None:
        await running


def test_there_are_examples() -> None:
    assert {kind for kind, _ in EXAMPLES} == {"", "embedded", "sync", "pytest"}
    assert len(EXAMPLES) >= 8
