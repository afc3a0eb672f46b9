"""docs/cli.md says what the table of verbs says."""

from pathlib import Path

from knarr.cli.reference import markdown

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cli.md"


def test_the_page_is_true() -> None:
    assert PAGE.read_text() == markdown(), "run scripts/cli-docs"
