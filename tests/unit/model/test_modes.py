"""Symbolic modes; the expected ones are chmod(1)'s with umask 0."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.model.modes import changed

CLAUSE = st.from_regex(r"[ugoa]{0,3}([+\-=][rwxXst]{0,3}|[+\-=][ugo]){1,2}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "mode", "directory", "expected"),
    [
        ("u+x", 0o644, False, 0o744),
        ("u+x,go-r", 0o644, False, 0o700),
        ("a=rX", 0o640, False, 0o444),
        ("a=rX", 0o750, False, 0o555),
        ("a=rX", 0o700, True, 0o555),
        ("+t", 0o777, True, 0o1777),
        ("g=u", 0o640, False, 0o660),
        ("u+s", 0o755, False, 0o4755),
        ("go=", 0o777, False, 0o700),
    ],
)
def test_known_ones(text: str, mode: int, directory: bool, expected: int) -> None:
    assert changed(text, mode, directory=directory) == expected


@pytest.mark.parametrize("text", ["", "u", "x+r", "u+q", "u!r", "u+r,"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(ValueError, match="invalid mode"):
        changed(text, 0o644, directory=False)


@settings(max_examples=25, deadline=None)
@given(st.lists(CLAUSE, min_size=1, max_size=3).map(",".join), st.integers(0, 0o777))
def test_as_chmod_does(tmp_path_factory: pytest.TempPathFactory, text: str, mode: int) -> None:
    path: Path = tmp_path_factory.mktemp("modes") / "file"
    path.touch()
    path.chmod(mode)
    ran = subprocess.run(["sh", "-c", 'umask 0; exec chmod -- "$0" "$1"', text, path], check=False)
    if ran.returncode == 0:
        assert oct(changed(text, mode, directory=False)) == oct(path.stat().st_mode & 0o7777)
