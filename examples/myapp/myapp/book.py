"""What guests wrote."""

from html import escape


class Book:
    """The lines, oldest first."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """One more."""
        self._lines.append(line)

    def page(self) -> str:
        """As HTML."""
        items = "".join(f"<li>{escape(line)}</li>" for line in self._lines)
        return f"<!doctype html><title>myapp</title><h1>myapp, built and run by knarr</h1><ul>{items}</ul>\n"
