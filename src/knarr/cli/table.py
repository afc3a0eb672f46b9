"""Tables as docker's lists have them, and `--format` for them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from knarr.cli.template import Template


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows with three blanks between the widest cells."""
    if not rows:
        return ""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("   ".join([*cells, row[-1]]).rstrip() if not row[-1] else "   ".join([*cells, row[-1]]))
    return "\n".join(lines) + "\n"


def show(
    rows: Sequence[Mapping[str, Any]], default: Sequence[tuple[str, str]], form: str, *, quiet: str = ""
) -> str:
    """`rows` as `form` says: "" or "table" the default columns (header, field), "json", "table TEMPLATE", or a template.

    `quiet` names the one field to print, when no form is given.
    """
    if quiet and not form:
        return "".join(f"{row[quiet]}\n" for row in rows)
    if form == "json":
        return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    if form in ("", "table"):
        body = [[str(row[field]) for _, field in default] for row in rows]
        return columns([[header for header, _ in default], *body])
    if form.startswith("table "):
        return _table(rows, default, _unescaped(form[6:]))
    template = Template(_unescaped(form))
    return "".join(template.render(row) + "\n" for row in rows)


def _table(rows: Sequence[Mapping[str, Any]], default: Sequence[tuple[str, str]], form: str) -> str:
    template = Template(form)
    known = {field: header for header, field in default}
    fields = rows[0] if rows else known
    header = template.render({field: known.get(field, field.upper()) for field in {**known, **fields}})
    lines = [header, *(template.render(row) for row in rows)]
    return columns([line.split("\t") for line in lines])


def _unescaped(form: str) -> str:
    """A format comes from a shell: \\t and \\n are written out."""
    return form.replace("\\t", "\t").replace("\\n", "\n")
