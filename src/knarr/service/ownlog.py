"""The daemon's own log: text for people or JSON for machines, at a level that a reload may change."""

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any

from knarr.model.moments import rfc3339

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
_WORDS = {number: word for word, number in _LEVELS.items()}
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Json(logging.Formatter):
    """One JSON object a line, with dockerd's names."""

    def format(self, record: logging.LogRecord) -> str:
        value = {
            "level": _WORDS.get(record.levelno, record.levelname.lower()),
            "msg": record.getMessage(),
            "name": record.name,
            "time": rfc3339(int(record.created * 1e9)),
        }
        if record.exc_info:
            value["error"] = self.formatException(record.exc_info)
        return json.dumps(value, ensure_ascii=False)


def begin(values: Mapping[str, Any]) -> None:
    """From here on the log is written."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if values.get("log-format") == "json" else logging.Formatter(_TEXT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    level(values)


def level(values: Mapping[str, Any]) -> None:
    """How much is said."""
    word = "debug" if values.get("debug") else values.get("log-level", "info")
    logging.getLogger().setLevel(_LEVELS[word])
