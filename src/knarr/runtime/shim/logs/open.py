"""From the order's `log` to a driver; see wire.shim. What cannot be opened is told in Docker's words."""

import json
from collections.abc import Mapping
from typing import Any

from knarr.model.errors import KnarrError
from knarr.runtime.failures import spoken
from knarr.runtime.shim.log import JsonLog
from knarr.runtime.shim.logs.messages import Messages
from knarr.runtime.shim.loop import Loop

_FAILED = "failed to create task for container: failed to initialize logging driver: "


def open_log(loop: Loop, wish: Mapping[str, Any]) -> "JsonLog | Messages":
    """For all but a plain json-file. Raises KnarrError."""
    try:
        return _open(loop, wish)
    except OSError as error:
        raise KnarrError(_FAILED + spoken(error)) from None


def _open(loop: Loop, wish: Mapping[str, Any]) -> "JsonLog | Messages":
    driver = wish["driver"]
    if driver == "json-file":
        from knarr.runtime.shim.logs.packing import Packer

        return JsonLog(
            wish["path"], int(wish["max_size"]), int(wish["max_file"]), wish.get("attrs"), Packer(loop)
        )
    if driver == "local":
        return _local(loop, wish)
    cache = _local(loop, wish["cache"]) if wish.get("cache") else None
    if driver == "syslog":
        from knarr.runtime.shim.logs.syslog import Syslog

        return Syslog(loop, wish, cache)
    if driver == "journald":
        from knarr.runtime.shim.logs.journald import Journald

        return Journald(loop, wish, cache)
    if driver == "fluentd":
        from knarr.runtime.shim.logs.fluentd import Fluentd

        return Fluentd(loop, wish, cache)
    raise KnarrError(f"{_FAILED}logger: no log driver named {json.dumps(driver)} is registered")


def _local(loop: Loop, wish: Mapping[str, Any]) -> Messages:
    from knarr.runtime.shim.logs.local import LocalLog

    return LocalLog(loop, wish)
