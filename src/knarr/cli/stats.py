"""`knarr stats`: what containers use, refreshed or once."""

import sys
import threading
import time
from typing import Any

from knarr.api.client.http import ApiError, Http
from knarr.cli import config
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.table import show
from knarr.cli.units import binary_size, human_size

STATS = Verb(
    "stats",
    "Display a live stream of container(s) resource usage statistics",
    "[OPTIONS] [CONTAINER...]",
    (
        Flag("all", "a", "bool", "Show all containers (default shows just running)"),
        Flag(
            "format", "", "string", "Format output using a custom template: 'table', 'json' or a Go template"
        ),
        Flag("no-stream", "", "bool", "Disable streaming stats and only pull the first result"),
        Flag("no-trunc", "", "bool", "Do not truncate output"),
    ),
)
_COLUMNS = [
    ("CONTAINER ID", "ID"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("NET I/O", "NetIO"),
    ("BLOCK I/O", "BlockIO"),
    ("PIDS", "PIDs"),
]
_PERIOD = 0.5
_CLEAR = "\033[H\033[J"


class _Watched(threading.Thread):
    """One container's newest sample, read beside the others."""

    def __init__(self, http: Http, name: str, *, once: bool) -> None:
        super().__init__(daemon=True)
        self._http, self.name_asked, self._once = http, name, once
        self.sample: dict[str, Any] | None = None
        self.error = ""

    def run(self) -> None:
        path = f"/containers/{self.name_asked}/stats"
        try:
            with self._http.request("GET", path, {"stream": "0" if self._once else "1"}) as answer:
                for sample in answer.lines():
                    self.sample = sample
        except ApiError as error:
            self.error = str(error)
        except (OSError, ValueError) as error:
            self.error = f"{self.name_asked}: {error}"


def stats(http: Http, options: Options) -> int:
    """Until it is interrupted, or once."""
    names = options.args or _running(http, everything=options.all)
    watched = [_Watched(http, name, once=options.no_stream) for name in names]
    for each in watched:
        each.start()
    if options.no_stream:
        for each in watched:
            each.join()
    errors = [each.error for each in watched if each.error]
    if errors:
        print(f"Error response from daemon: {errors[0]}", file=sys.stderr)
        return 1
    while not options.no_stream:
        time.sleep(_PERIOD)
        failed = [each.error for each in watched if each.error and each.sample is None]
        if failed:
            print(f"Error response from daemon: {failed[0]}", file=sys.stderr)
            return 1
        sys.stdout.write(_CLEAR + _table(watched, options))
        sys.stdout.flush()
        if watched and not any(each.is_alive() for each in watched):
            return 0
    sys.stdout.write(_table(watched, options))
    return 0


def _running(http: Http, *, everything: bool) -> list[str]:
    with http.request("GET", "/containers/json", {"all": everything}) as answer:
        return [each["Id"] for each in answer.json()]


def _table(watched: list[_Watched], options: Options) -> str:
    rows = [
        row(each.sample, each.name_asked, truncate=not options.no_trunc)
        for each in watched
        if each.sample is not None
    ]
    headers = {"Container": "CONTAINER"}
    return show(rows, _COLUMNS, config.formatted(options.format, "statsFormat"), headers=headers)


def row(value: dict[str, Any], asked: str, *, truncate: bool) -> dict[str, str]:
    """Docker's figures of one sample."""
    memory = value["memory_stats"]
    used, limit = _memory(memory), memory.get("limit", 0)
    networks = (value.get("networks") or {}).values()
    received, sent = (sum(each[key] for each in networks) for key in ("rx_bytes", "tx_bytes"))
    read, written = _block(value["blkio_stats"].get("io_service_bytes_recursive") or ())
    return {
        "BlockIO": f"{human_size(read)} / {human_size(written)}",
        "CPUPerc": f"{_cpu(value):.2f}%",
        "Container": asked,
        "ID": value["id"][:12] if truncate else value["id"],
        "MemPerc": f"{used / limit * 100 if limit else 0:.2f}%",
        "MemUsage": f"{binary_size(used)} / {binary_size(limit)}",
        "Name": value["name"].removeprefix("/"),
        "NetIO": f"{human_size(received)} / {human_size(sent)}",
        "PIDs": str(value["pids_stats"].get("current", 0)),
    }


def _cpu(value: dict[str, Any]) -> float:
    """Percent of one processor since the sample before."""
    now, before = value["cpu_stats"], value["precpu_stats"]
    own = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    whole = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if own <= 0 or whole <= 0:
        return 0.0
    return float(own / whole * now.get("online_cpus", 1) * 100)


def _memory(value: dict[str, Any]) -> int:
    """Without the cache that can be dropped, on either version of cgroups."""
    usage: int = value.get("usage", 0)
    stats = value.get("stats") or {}
    for key in ("total_inactive_file", "inactive_file"):
        if key in stats:
            return usage - stats[key] if stats[key] < usage else usage
    return usage


def _block(entries: Any) -> tuple[int, int]:
    sums = {"read": 0, "write": 0}
    for each in entries:
        word = each["op"].lower()
        if word in sums:
            sums[word] += each["value"]
    return sums["read"], sums["write"]
