"""Tables as docker's lists have them, and `--format` for them: table, json, raw, a template, "table" and a template."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from knarr.cli.template import HeaderOf, Template

Columns = Sequence[tuple[str, str]]
_LEAST, _PADDING = 10, 3


class Row(dict[str, Any]):
    """One line's fields. What is callable is a method of the line, for templates only: {{.Label "x"}}."""

    def json(self) -> str:
        """As docker's formatter marshals it: keys in order, and what HTML minds escaped."""
        plain = {key: value for key, value in sorted(self.items()) if not callable(value)}
        text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False)
        for character in "<>&":
            text = text.replace(character, f"\\u{ord(character):04x}")
        return text


def labels(value: Mapping[str, str] | None) -> dict[str, Any]:
    """The two fields that lists have for labels."""
    pairs = value or {}

    def method(name: str) -> str:
        return pairs.get(name, "")

    return {"Labels": ",".join(f"{key}={each}" for key, each in sorted(pairs.items())), "Label": method}


def columns(rows: Sequence[Sequence[str]], least: int = _LEAST, padding: int = _PADDING) -> str:
    """Rows as Go's tabwriter aligns them: every cell but a row's last is filled up."""
    if not rows:
        return ""
    count = max(len(row) for row in rows)
    widths = [
        max([least, *(len(row[at]) + padding for row in rows if len(row) > at + 1)]) for at in range(count)
    ]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("".join([*cells, row[-1]]))
    return "\n".join(lines) + "\n"


def show(
    rows: Sequence[Mapping[str, Any]],
    default: Columns,
    form: str,
    *,
    quiet: str = "",
    headers: Mapping[str, str] | None = None,
) -> str:
    """`rows` as `form` says: "" or "table" the default columns (header, field), "json", "table TEMPLATE", or a template.

    `quiet` names the one field to print in place of a table; `headers` names the fields that are no default column.
    """
    if quiet and form in ("", "table"):
        return "".join(f"{row[quiet]}\n" for row in rows)
    if form == "json":
        return "".join(Row(row).json() + "\n" for row in rows)
    if form in ("", "table"):
        body = [[str(row[field]) for _, field in default] for row in rows]
        return columns([[header for header, _ in default], *body])
    if form.startswith("table"):
        return _table(rows, {**(headers or {}), **{field: header for header, field in default}}, form[5:])
    template = Template(_unescaped(form.strip(" ")))
    return "".join(template.render(Row(row)) + "\n" for row in rows)


def _table(rows: Sequence[Mapping[str, Any]], headers: Mapping[str, str], form: str) -> str:
    template = Template(_unescaped(form.strip(" ")))
    lines = [template.render(HeaderOf(headers)), *(template.render(Row(row)) for row in rows)]
    return columns([line.split("\t") for text in lines for line in text.split("\n")])


def _unescaped(form: str) -> str:
    """A format comes from a shell: \\t and \\n are written out."""
    return form.replace("\\t", "\t").replace("\\n", "\n")


def ellipsis(text: str, width: int) -> str:
    """Cut to `width` characters with docker's mark."""
    return text if len(text) <= width else text[: width - 1] + "…"


def short(identity: str) -> str:
    """An id as lists show it."""
    return identity.removeprefix("sha256:")[:12]
