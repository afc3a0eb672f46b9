"""A build's steps as a person sees them: plain lines as they happen, or a picture of this moment. Pure.

Steps are numbered as they come. A plain line begins with its step's number; the picture has a row a step, the last lines of
those that run, and leaves out the oldest of too many.
"""

from collections.abc import Iterator, Sequence

from knarr.build.errors import BuildFailed, Place
from knarr.build.told import Output, Status, Update, Vertex, Warned
from knarr.cli.units import human_size

LAST_LINES = 6
_SECOND = 10**9
_KEPT = 200
_CANCELED = "context canceled"
_AROUND = 4


class Row:
    """One step. `lines` are the last that it wrote; `rest` has no end yet."""

    def __init__(self, vertex: Vertex):
        self.number = 0
        self.vertex = vertex
        self.statuses: dict[str, Status] = {}
        self.lines: list[tuple[int, str]] = []
        self.rest = ""
        self.said = self.over = False

    @property
    def done(self) -> bool:
        return bool(self.vertex.completed)


class Board:
    """All steps of a build."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.warnings: list[Warned] = []
        self._started = 0

    def feed(self, updates: Sequence[Update]) -> Iterator[str]:
        """Takes news in; the plain lines for them, step by step. What a step did is told before its end, though both come at once."""
        by_step: dict[str, list[Update]] = {}
        for update in updates:
            if isinstance(update, Warned):
                self.warnings.append(update)
            elif not isinstance(update, Vertex):
                by_step.setdefault(update.vertex, []).append(update)
            elif update.name:
                by_step.setdefault(update.digest, []).append(update)
        for digest, news in by_step.items():
            vertices = [each for each in news if isinstance(each, Vertex)]
            for vertex in vertices:
                yield from self._begun(vertex)
            if digest in self.rows:
                yield from self._done(self.rows[digest], news)
            for vertex in vertices:
                yield from self._ended(vertex)

    def _done(self, row: Row, news: Sequence[Update]) -> Iterator[str]:
        for update in news:
            if isinstance(update, Status):
                yield from self._status(row, update)
            elif isinstance(update, Output):
                yield from self._output(row, update)

    def _begun(self, vertex: Vertex) -> Iterator[str]:
        row = self.rows.get(vertex.digest)
        if row is None:
            row = self.rows[vertex.digest] = Row(vertex)
        if vertex.started and not row.said:
            self._started += 1
            row.number, row.said = self._started, True
            row.vertex = vertex if not vertex.completed else vertex._replace(completed=0)
            yield f"#{row.number} {vertex.name}"

    def _ended(self, vertex: Vertex) -> Iterator[str]:
        row = self.rows[vertex.digest]
        row.vertex = vertex
        if vertex.completed and not row.over:
            row.over = True
            if row.rest:
                yield from self._line(row, row.rest, vertex.completed)
                row.rest = ""
            yield from (f"#{row.number} {_outcome(vertex)}", "")

    def _status(self, row: Row, status: Status) -> Iterator[str]:
        before = row.statuses.get(status.id)
        row.statuses[status.id] = status
        if status.completed and not (before and before.completed):
            yield f"#{row.number} {_told(status)} done"

    def _output(self, row: Row, output: Output) -> Iterator[str]:
        text = row.rest + output.data.decode(errors="replace")
        *whole, row.rest = text.split("\n")
        for line in whole:
            yield from self._line(row, line, output.moment)

    def _line(self, row: Row, line: str, moment: int) -> Iterator[str]:
        # What a program draws over itself counts as it was at last.
        line = line.rstrip("\r").rpartition("\r")[2]
        row.lines.append((moment, line))
        del row.lines[:-_KEPT]
        yield f"#{row.number} {_seconds(moment - row.vertex.started, 3)} {line}"

    def picture(self, now: int, begun: int, width: int, height: int, *, over: bool = False) -> list[str]:
        """The rows of a terminal of that size."""
        rows = sorted((row for row in self.rows.values() if row.said), key=lambda row: row.number)
        finished = sum(row.done for row in rows)
        state = " FINISHED" if over else ""
        head = f"[+] Building {_seconds(now - begun)}s ({finished}/{len(rows)}){state}"
        groups = [_group(row, now, width) for row in rows]
        room = max(height - 2, LAST_LINES + 2)
        if not over:
            left = [group for row, group in zip(rows, groups, strict=True) if row.done]
            while sum(map(len, groups)) > room and left:
                groups.remove(left.pop(0))
        lines = [line for group in groups for line in group]
        return [_cut(head, width), *(lines if over else lines[-room:])]


def _group(row: Row, now: int, width: int) -> list[str]:
    vertex = row.vertex
    mark = "CACHED " if vertex.cached else ""
    if vertex.error:
        mark = "CANCELED " if _CANCELED in vertex.error else "ERROR "
    time = _seconds((vertex.completed or now) - vertex.started)
    lines = [_row(f" => {mark}{vertex.name}", time, width)]
    if not vertex.cached:
        for status in row.statuses.values():
            spent = _seconds((status.completed or now) - status.started) if status.started else ""
            lines.append(_row(f" => => {_told(status)}", spent, width))
    if not row.done:
        shown = [line for _, line in row.lines[-LAST_LINES:]] + ([row.rest] if row.rest else [])
        lines += [_cut(f" => => # {printable(line)}", width) for line in shown[-LAST_LINES:]]
    return lines


def _row(text: str, time: str, width: int) -> str:
    right = f"{time}s" if time else ""
    room = width - len(right) - 1
    text = printable(text)
    if len(text) > room:
        text = f"{text[: max(room - 3, 0)]}..."
    return f"{text:<{room}} {right}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[:width]


def printable(text: str) -> str:
    """Without what would move the cursor or paint."""
    return "".join(letter if letter.isprintable() else " " for letter in text.expandtabs())


def _told(status: Status) -> str:
    text = f"{status.id} {human_size(status.current)}" if status.current else status.id
    if status.total:
        text += f" / {human_size(status.total)}"
    return text


def _outcome(vertex: Vertex) -> str:
    if vertex.error:
        return "CANCELED" if _CANCELED in vertex.error else f"ERROR: {vertex.error}"
    return "CACHED" if vertex.cached else f"DONE {_seconds(vertex.completed - vertex.started)}s"


def _seconds(ns: int, digits: int = 1) -> str:
    return f"{max(ns, 0) / _SECOND:.{digits}f}"


def failure(board: Board, error: BuildFailed) -> Iterator[str]:
    """What is said of a build that failed: the step's last lines, the Dockerfile's, and the error."""
    row = board.rows.get(error.vertex)
    if row is not None and (row.lines or row.rest):
        yield "------"
        yield f" > {row.vertex.name}:"
        yield from (f"{_seconds(moment - row.vertex.started, 3)} {line}" for moment, line in row.lines[-20:])
        yield "------"
    if error.place is not None:
        yield from excerpt(error.place)
    yield f"ERROR: failed to build: failed to solve: {error}"


def excerpt(place: Place) -> Iterator[str]:
    """The lines of a Dockerfile that are meant, among their neighbours."""
    lines = place.source.decode(errors="replace").split("\n")
    marked = {
        number for (first, _), (last, _) in place.ranges for number in range(first, max(first, last) + 1)
    }
    if not marked:
        return
    around = range(max(min(marked) - _AROUND, 1), min(max(marked) + _AROUND, len(lines)) + 1)
    yield f"{place.filename}:{min(marked)}"
    yield "-" * 20
    for number in around:
        sign = ">>>" if number in marked else "   "
        yield f"{number:4d} | {sign} {lines[number - 1]}"
    yield "-" * 20


def warned(warnings: Sequence[Warned], *, whole: bool = False) -> Iterator[str]:
    """What is said of warnings at the end: why steps ran, and what the checks found; `whole`: with all that is known of it."""
    reasons = [each.short.removeprefix("cache: ") for each in warnings if each.short.startswith("cache: ")]
    checks = [each for each in warnings if not each.short.startswith("cache: ")]
    if reasons:
        yield ""
        yield "Why steps ran:"
        yield from (f" - {text}" for text in reasons)
    if checks:
        yield ""
        hint = "" if whole else " (use --debug to expand)"
        yield f" {len(checks)} warning{'s' * (len(checks) != 1)} found{hint}:"
        for each in checks:
            lines = sorted({first for (first, _), _ in each.ranges})
            yield f" - {each.short}" + (f" (line {lines[0]})" if lines and "(line" not in each.short else "")
            if whole:
                yield from each.detail
                yield from ([f"More info: {each.url}"] if each.url else [])
                yield from excerpt(Place(filename=each.filename, source=each.source, ranges=each.ranges))
