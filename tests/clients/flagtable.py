"""Tables of flags and who checks them: rows of `docker run`, the flags of a verb's --help, the tests that rows name."""

import ast
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.support.daemons import Daemon

HERE = Path(__file__).parent
_FLAG = re.compile(r"^  (?:-(?P<short>\w), |    )--(?P<name>[a-z0-9-]+)(?: (?P<kind>\S+))?(?:   .*)?$")


class Case(NamedTuple):
    """A container with `words` that runs `script`: patterns of its output, `--format` texts of its inspect.

    `covers` names the flags that this row checks; `stderr` and `code` are of the docker CLI.
    """

    covers: str
    words: str
    script: str = "true"
    output: tuple[str, ...] = ()
    inspect: tuple[tuple[str, str], ...] = ()
    stderr: str = ""
    code: int = 0

    @property
    def id(self) -> str:
        """For pytest."""
        return self.covers.replace(" ", "+") + ("-refused" if self.code else "")


def check(daemon: Daemon, case: Case, **values: str) -> None:
    """Runs a row; `values` replace {names} in its words."""

    def filled(text: str) -> str:
        for key, value in values.items():
            text = text.replace("{" + key + "}", value)
        return text

    words = shlex.split(filled(case.words))
    done = daemon.docker(
        "run", "--name", "case", *words, "busybox", "sh", "-c", filled(case.script), check=False
    )
    assert done.returncode == case.code, done.stdout + done.stderr
    for pattern in case.output:
        assert re.search(filled(pattern), done.stdout, re.MULTILINE), (filled(pattern), done.stdout)
    assert re.search(case.stderr, done.stderr), done.stderr
    for template, wanted in case.inspect:
        found = daemon.docker("inspect", "-f", template, "case").stdout.strip()
        assert found == wanted, template


def flags(daemon: Daemon, *verb: str) -> dict[str, tuple[str, str]]:
    """What `docker VERB --help` offers: name → (letter, kind). Without a daemon nothing is hidden."""
    text = daemon.docker("-H", "unix:///nowhere.sock", *verb, "--help").stdout
    found = {}
    for line in text.splitlines():
        if match := _FLAG.match(line):
            found[match["name"]] = (match["short"] or "", match["kind"] or "")
    return found


def known_tests() -> set[str]:
    """Every test of this room as "test_file.py::test_name"."""
    found = set()
    for path in HERE.glob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add(f"{path.name}::{node.name}")
    return found


def missing(
    offered: Iterable[str], cases: Iterable[Case], elsewhere: Mapping[str, str]
) -> tuple[set[str], set[str]]:
    """(flags that no row and no test checks, named tests that do not exist)."""
    covered = {flag for case in cases for flag in case.covers.split()} | set(elsewhere)
    known = known_tests()
    return set(offered) - covered, {test for test in elsewhere.values() if test not in known}
