"""What knarr-oci says beside its output, as logrus writes it: text or JSON, on standard error or in a file."""

import os
import sys
import time

_SHORT = {"error": "ERRO", "warning": "WARN", "debug": "DEBU"}


class Log:
    """Errors go to the log and, where that is a file, to standard error as well."""

    def __init__(self, path: str = "", form: str = "text", debug: bool = False):
        self._file = path
        self._json = form == "json"
        self._debug = debug
        self._began = time.monotonic()
        if path:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644))

    def error(self, message: str) -> None:
        """What the command failed of."""
        self._write("error", message)
        if self._file:
            self._put(2, f"{message}\n")

    def warning(self, message: str) -> None:
        """What went otherwise than asked."""
        self._write("warning", message)

    def debug(self, message: str) -> None:
        """With --debug only."""
        if self._debug:
            self._write("debug", message)

    def _write(self, level: str, message: str) -> None:
        line = self._line(level, message)
        if not self._file:
            self._put(2, line)
            return
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            self._put(fd, line)
        finally:
            os.close(fd)

    def _line(self, level: str, message: str) -> str:
        if self._json:
            import json

            words = {"level": level, "msg": message, "time": _now()}
            return json.dumps(words, separators=(",", ":")) + "\n"
        if not self._file and os.isatty(2):
            return f"{_SHORT[level]}[{int(time.monotonic() - self._began):04d}] {message}\n"
        return f'time="{_now()}" level={level} msg={_quoted(message)}\n'

    @staticmethod
    def _put(fd: int, text: str) -> None:
        try:
            os.write(fd, text.encode(errors="surrogateescape"))
        except OSError:
            return


def _now() -> str:
    offset = time.strftime("%z")
    zone = "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S") + zone


def _quoted(message: str) -> str:
    """As Go's %q; words without blanks or quotes stay bare."""
    if message and all(each.isalnum() or each in "-._/@^+" for each in message):
        return message
    for sought, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        message = message.replace(sought, written)
    return f'"{message}"'


def say(text: str) -> None:
    """The command's own output."""
    sys.stdout.write(text)
    sys.stdout.flush()
