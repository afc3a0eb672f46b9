"""`python -m bench`: measures knarrd beside dockerd in alternating pairs, prints one table of medians, ratios and targets.

A benchmark that fails names itself and the others go on; the exit status is then 1. A missed target is only said: what a shared
machine measures decides nothing by itself.
"""

import argparse
import json
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.support.daemons import CLIENTS, PEERS

from bench import report, sides
from bench.measures import builds, contexts, execs, lists, logs, many, memory, oci, ps, pull, run, warm
from bench.statistics import Row

Measure = Callable[[sides.Sides, int], list[Row]]
MEASURES: dict[str, tuple[Measure, ...]] = {
    "memory": (memory.idle, memory.added),
    "run-api": (run.api,),
    "run-cli": (run.cli,),
    "exec-api": (execs.api,),
    "rate": (many.rate,),
    "many": (many.crowd,),
    "logs": (logs.throughput,),
    "ps": (ps.cpu,),
    "lists": (lists.created, lists.running),
    "oci": (oci.run,),
    "pull": (pull.loopback,),
    "build-warm": (warm.warm,),
    "build-cold": (builds.cold,),
    "build-many": (builds.many,),
    "build-context": (contexts.sent,),
}


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", action="append", choices=MEASURES, metavar="NAME", help=f"one of {', '.join(MEASURES)}"
    )
    parser.add_argument(
        "--pairs", type=int, default=20, metavar="N", help="samples of each side (default 20)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument(
        "--docker",
        default=shutil.which("docker") or str(CLIENTS / "usr/bin/docker"),
        metavar="FILE",
        help="the docker CLI to use (default: the one on PATH, else Debian's newest)",
    )
    return parser


def measure(both: sides.Sides, names: list[str], pairs: int) -> tuple[list[Row], list[str]]:
    """All rows, and the names of the benchmarks that failed."""
    rows: list[Row] = []
    failed = []
    for name in names:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        try:
            for each in MEASURES[name]:
                rows += each(both, pairs)
        except Exception:
            failed.append(name)
            print(f"benchmark {name} failed:", file=sys.stderr)
            traceback.print_exc()
    return rows, failed


def main() -> int:
    """The exit status."""
    options = arguments().parse_args()
    if not PEERS.exists():
        sys.exit("bench: no dockerd beside us: `make bench` fetches it")
    names = [name for name in MEASURES if not options.only or name in options.only]
    with sides.started(options.docker) as both:
        rows, failed = measure(both, names, max(1, options.pairs))
    said = subprocess.run([options.docker, "--version"], capture_output=True, text=True, check=False).stdout
    print(f"the client on both sides: {said.strip() or options.docker}")
    print(report.table(rows))
    if options.json:
        options.json.write_text(json.dumps(report.plain(rows), indent=2) + "\n")
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
