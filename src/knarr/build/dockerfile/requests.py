"""What clients ask of a Dockerfile instead of building it: `--check`, `--call outline`, `--call targets`, and which of these there are.

The answer is metadata: `result.json` as BuildKit writes it, `result.txt` for people, `version`, and for checks `result.statuscode`.
"""

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from knarr.build.dockerfile import parser, reading
from knarr.build.dockerfile.checks import Linter, Remark
from knarr.build.dockerfile.convert import Conversion, Definition, linter
from knarr.build.dockerfile.directives import check_frontend
from knarr.build.dockerfile.errors import DockerfileError, Lines, excerpt
from knarr.build.dockerfile.options import Options
from knarr.build.dockerfile.questions import Steps
from knarr.build.dockerfile.units import Unit
from knarr.model.errors import Unsupported

Metadata = dict[str, bytes]
Remarks = list[Remark] | None
_HTML = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_VERSION = "1.0.0"
_OUTLINE = "List all parameters current build target supports"
_TARGETS = "List all targets current build supports"
_DESCRIBE = "List available subrequest types"


def subrequest(definition: Definition, options: Options, remarks: Remarks = None) -> Steps[Metadata]:
    """The answer to `options.request_id`. Raises Unsupported for one that is unknown, DockerfileError for a bad file.
    `remarks` gets what checks find while something else is asked."""
    check_frontend(parser.decode(definition.text), options.syntax)
    handler = _HANDLERS.get(options.request_id)
    if handler is None:
        raise Unsupported(f"unsupported request {options.request_id}")
    return (yield from handler(definition, options, remarks))


def _metadata(document: object, text: str) -> Metadata:
    dumped = json.dumps(document, indent=2, ensure_ascii=False).translate(_HTML)
    return {"result.json": _bytes(dumped), "result.txt": _bytes(text), "version": _VERSION.encode()}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _location(lines: Lines) -> dict[str, Any]:
    return _ranges([(line, line) for line in lines])


def _ranges(ranges: Iterable[tuple[int, int]]) -> dict[str, Any]:
    found = [
        {"start": {"line": start} if start else {}, "end": {"line": end} if end else {}}
        for start, end in ranges
    ]
    return {"ranges": found} if found else {}


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value}


def _columns(rows: Sequence[tuple[str, ...]], padding: int) -> str:
    """Rows as Go's tabwriter lays them out: all columns but the last are padded to the widest."""
    widths = [max(map(len, column)) + padding for column in zip(*rows, strict=True)][:-1]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[-1] + "\n"
        for row in rows
    )


def _lint(definition: Definition, options: Options, _: Remarks) -> Steps[Metadata]:
    """The checks. Without a target all stages are looked at."""
    lint = Linter()
    error: dict[str, object] = {}
    try:
        lint = linter(definition, options)
        yield from Conversion(definition, options, None, lint, every_stage=not options.target).target()
    except DockerfileError as failure:
        error = {"buildError": {"message": failure.message, "location": _merged(failure.locations)}}
    data = base64.b64encode(definition.text).decode()
    document = {
        "warnings": [_warning(warning) for warning in lint.warnings] or None,
        "sources": [{"filename": definition.filename, **_given(data=data), "language": "Dockerfile"}],
        **error,
    }
    text = parser.decode(definition.text)
    ordered = sorted(lint.warnings, key=lambda warning: (bool(warning.lines), warning.lines[:1]))
    told = "".join(_told(warning, definition.filename, text) for warning in ordered)
    return {**_metadata(document, told), "result.statuscode": b"1" if lint.warnings or error else b"0"}


def _merged(locations: list[Lines]) -> dict[str, Any]:
    ranges: list[tuple[int, int]] = []
    for line in sorted(line for lines in locations for line in lines):
        if not ranges or line > ranges[-1][1]:
            ranges.append((line, line))
    return _ranges(ranges)


def _warning(warning: Remark) -> dict[str, object]:
    fields = _given(description=warning.description, url=warning.url, detail=warning.message)
    return {"ruleName": warning.rule, **fields, "location": _location(warning.lines)}


def _told(warning: Remark, filename: str, text: str) -> str:
    where = f" - {warning.url}" if warning.url else ""
    return f"\nWARNING: {warning.rule}{where}\n{warning.message}\n{excerpt(filename, text, warning.lines)}"


def _outline(definition: Definition, options: Options, remarks: Remarks) -> Steps[Metadata]:
    """What the target takes from outside: arguments, secrets, ssh agents."""
    lint = linter(definition, options, remarks=remarks)
    unit = yield from Conversion(definition, options, None, lint).target()
    arguments, secrets, agents = _collected(unit)
    document = _given(
        name=unit.stage.name,
        description=unit.stage.description,
        args=arguments,
        secrets=secrets,
        ssh=agents,
        sources=[base64.b64encode(definition.text).decode()],
    )
    text = ""
    if unit.stage.name or unit.stage.description:
        rows = [("TARGET:", unit.stage.name or "(default)")]
        rows += [("DESCRIPTION:", unit.stage.description)] if unit.stage.description else []
        text = _columns(rows, 1) + "\n"
    if arguments:
        cells = [(a["name"], a.get("value", ""), a.get("description", "")) for a in arguments]
        text += _columns([("BUILD ARG", "VALUE", "DESCRIPTION"), *cells], 3) + "\n"
    for title, needed in (("SECRET", secrets), ("SSH", agents)):
        if needed:
            marks = [(one["name"], "true" if one.get("required") else "") for one in needed]
            text += _columns([(title, "REQUIRED"), *marks], 3) + "\n"
    return _metadata(document, text)


def _collected(target: Unit) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    arguments: dict[str, dict[str, Any]] = {}
    secrets: dict[str, dict[str, Any]] = {}
    agents: dict[str, dict[str, Any]] = {}
    for unit in _depth_first(target):
        for name in _used(unit):
            if name in unit.outline.arguments and name not in arguments:
                declared = unit.outline.arguments[name]
                given = _given(description=declared.variable.description, value=declared.value)
                arguments[name] = {"name": name, **given, "location": _location(declared.lines)}
        for needed, found in ((unit.outline.secrets, secrets), (unit.outline.agents, agents)):
            for name, one in needed.items():
                entry = {"name": name, **_given(required=one.required), "location": _location(one.lines)}
                found.setdefault(name, entry)
    ordered = [sorted(found.values(), key=_line) for found in (arguments, secrets, agents)]
    return ordered[0], ordered[1], ordered[2]


def _line(entry: dict[str, Any]) -> int:
    ranges = entry["location"].get("ranges")
    line: int = ranges[0]["start"].get("line", 0) if ranges else 0
    return line


def _depth_first(target: Unit) -> Iterable[Unit]:
    seen: set[Unit] = set()
    stack = [target]
    while stack:
        unit = stack.pop()
        if unit not in seen:
            seen.add(unit)
            yield unit
            stack += reversed(list(unit.needed()))


def _used(unit: Unit) -> dict[str, None]:
    """The arguments that a stage uses, and those of which their values are made."""
    found: dict[str, None] = {}
    waiting = list(unit.outline.used)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            if name in unit.outline.arguments:
                waiting += sorted(unit.outline.arguments[name].needs)
    return found


def _targets(definition: Definition, options: Options, _: Remarks) -> Steps[Metadata]:
    """The stages."""
    yield from ()
    stages = reading.read(parser.parse(parser.decode(definition.text)), Linter(silent=True))[0]
    last = len(stages) - 1
    entries = [
        {
            **_given(name=stage.name, default=index == last, description=stage.description, base=stage.base),
            **_given(platform=stage.platform, location=_location(stage.said.lines)),
        }
        for index, stage in enumerate(stages)
    ]
    document = {"targets": entries or None, "sources": [base64.b64encode(definition.text).decode()]}
    rows = [("TARGET", "DESCRIPTION")]
    for index, stage in enumerate(stages):
        default = "(default)" if index == last else ""
        rows.append((f"{stage.name} {default}".strip(" "), stage.description))
    return _metadata(document, _columns(rows, 1))


def _describe(definition: Definition, options: Options, _: Remarks) -> Steps[Metadata]:
    """Which requests there are. The checks are not listed, as in BuildKit."""
    yield from ()
    target = [{"name": "target", "description": "Target build stage"}]
    requests: tuple[tuple[str, str, list[dict[str, str]] | None], ...] = (
        ("frontend.outline", _OUTLINE, target),
        ("frontend.targets", _TARGETS, []),
        ("frontend.subrequests.describe", _DESCRIBE, None),
    )
    metadata = [{"name": name, "description": ""} for name in ("result.json", "result.txt")]
    document = [
        {
            "name": name, "version": _VERSION, "type": "rpc", "description": description, "opts": opts, "inputs": None,
            "metadata": metadata, "refs": None,
        }
        for name, description, opts in requests
    ]  # fmt: skip
    rows = [("NAME", "VERSION", "DESCRIPTION")]
    rows += [(name.removeprefix("frontend."), _VERSION, description) for name, description, _ in requests]
    return _metadata(document, _columns(rows, 1))


_HANDLERS: dict[str, Callable[[Definition, Options, Remarks], Steps[Metadata]]] = {
    "frontend.lint": _lint,
    "frontend.outline": _outline,
    "frontend.targets": _targets,
    "frontend.subrequests.describe": _describe,
}
