"""Where a build's progress is shown: redrawn on a terminal, as plain lines, as JSON, or nowhere. All of it goes to standard error."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Protocol, TextIO

from knarr.build.errors import BuildFailed
from knarr.build.told import Update
from knarr.cli import buildboard
from knarr.cli.buildboard import Board
from knarr.cli.common import Failed

MODES = ("auto", "none", "plain", "quiet", "rawjson", "tty")
_PAUSE = 0.1
_BLUE, _RED, _YELLOW, _PLAIN = "\x1b[34m", "\x1b[31m", "\x1b[33m", "\x1b[0m"


class Screen(Protocol):
    """One build's."""

    def heard(self, updates: Sequence[Update]) -> None:
        """Shows what is new."""
        ...

    def end(self, error: BuildFailed | None) -> None:
        """Nothing more comes."""
        ...

    def pause(self) -> None:
        """Leaves the terminal to somebody else."""
        ...

    def resume(self) -> None:
        """Takes it again."""
        ...


def screen(mode: str, *, whole: bool = False) -> Screen:
    """The one that --progress, or BUILDKIT_PROGRESS, asks for; `whole`: warnings with their details. Raises Failed."""
    chosen = mode if mode != "auto" else os.environ.get("BUILDKIT_PROGRESS") or "auto"
    if chosen not in MODES:
        raise Failed(f"invalid progress mode {chosen}")
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if chosen == "tty" and not terminal:
        raise Failed("failed to get console: provided file is not a console")
    if chosen == "auto":
        chosen = "tty" if terminal else "plain"
    match chosen:
        case "tty":
            return _Terminal(sys.stderr, whole)
        case "rawjson":
            return _Json(sys.stderr)
        case "plain":
            return _Lines(sys.stderr, whole)
    return _Nothing(sys.stderr)


class _Steady:
    """Shows nothing of its own accord: nothing has to pause."""

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass


class _Nothing(_Steady):
    """The failure alone."""

    def __init__(self, out: TextIO):
        self._out = out
        self._board = Board()

    def heard(self, updates: Sequence[Update]) -> None:
        for _ in self._board.feed(updates):
            pass

    def end(self, error: BuildFailed | None) -> None:
        if error is not None:
            _say(self._out, buildboard.failure(self._board, error))


class _Json(_Steady):
    """BuildKit's SolveStatus, an object a line."""

    def __init__(self, out: TextIO):
        self._out = out

    def heard(self, updates: Sequence[Update]) -> None:
        from knarr.build.client.updates import document

        found: dict[str, list[object]] = {}
        for update in updates:
            name, fields = document(update)
            found.setdefault(name, []).append(fields)
        if found:
            _say(self._out, [json.dumps(found)])

    def end(self, error: BuildFailed | None) -> None:
        if error is not None:
            _say(self._out, [f"ERROR: failed to build: failed to solve: {error}"])


class _Lines(_Steady):
    """Plain lines."""

    def __init__(self, out: TextIO, whole: bool):
        self._out = out
        self._whole = whole
        self._board = Board()

    def heard(self, updates: Sequence[Update]) -> None:
        _say(self._out, self._board.feed(updates))

    def end(self, error: BuildFailed | None) -> None:
        _say(self._out, buildboard.warned(self._board.warnings, whole=self._whole))
        if error is not None:
            _say(self._out, buildboard.failure(self._board, error))


class _Terminal:
    """A picture that is drawn anew, by a thread of its own so that time goes on (ECMA-48 cursor moves)."""

    def __init__(self, out: TextIO, whole: bool):
        self._out = out
        self._whole = whole
        self._board = Board()
        self._begun = time.time_ns()
        self._drawn = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._over = False
        self._paused = False
        self._thread = threading.Thread(target=self._draw_on, name="progress", daemon=True)
        self._thread.start()

    def heard(self, updates: Sequence[Update]) -> None:
        with self._lock:
            for _ in self._board.feed(updates):
                pass

    def pause(self) -> None:
        with self._lock:
            self._draw()
            self._drawn = 0
            self._paused = True
            self._out.write("\x1b[?25h")
            self._out.flush()

    def resume(self) -> None:
        with self._lock:
            self._paused = False

    def _draw_on(self) -> None:
        while not self._wake.wait(_PAUSE):
            with self._lock:
                if not self._paused:
                    self._draw()

    def end(self, error: BuildFailed | None) -> None:
        self._wake.set()
        self._thread.join()
        self._over = True
        self._draw()
        self._out.write("\x1b[?25h")
        _say(self._out, buildboard.warned(self._board.warnings, whole=self._whole))
        if error is not None:
            _say(self._out, buildboard.failure(self._board, error))

    def _draw(self) -> None:
        try:
            size = os.get_terminal_size(self._out.fileno())
            width, height = size.columns or 80, size.lines or 24
        except OSError:
            width, height = 80, 24
        lines = self._board.picture(time.time_ns(), self._begun, width, height, over=self._over)
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self._out.write("\x1b[?25l" + up + "\r\x1b[J" + "".join(f"{_painted(line)}\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)


def _painted(line: str) -> str:
    if os.environ.get("NO_COLOR"):
        return line
    if line.startswith(" => ERROR"):
        return f"{_RED}{line}{_PLAIN}"
    if line.startswith(" => CANCELED"):
        return f"{_YELLOW}{line}{_PLAIN}"
    running = line.startswith(" => => #")
    return line if running else f"{_BLUE}{line}{_PLAIN}"


def _say(out: TextIO, lines: Iterable[str]) -> None:
    out.write("".join(f"{line}\n" for line in lines))
    out.flush()
