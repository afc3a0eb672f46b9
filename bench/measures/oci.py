"""`run` of a bundle with busybox's true: runc's, and knarr-oci's by a warm zygote, called as a library, and as a command."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.daemons import BIN, PEERS, busybox_tar

from bench.sides import Sides
from bench.statistics import Row, Target, alternate
from knarr.runtime.oci.client import ask

TARGET = Target("≤ 1/3", 1 / 3)
_BREATH = 0.1
_KNARR = {
    "warm": ("run true: runc, knarr-oci by a warm zygote", TARGET),
    "command": ("  the command with --zygote", None),
    "cold": ("  the command alone", None),
}


def run(sides: Sides, pairs: int) -> list[Row]:
    """One after the other in turns; the daemons are not asked."""
    with (
        tempfile.TemporaryDirectory(prefix="knarr-bench-oci-") as directory,
        _zygote(Path(directory)) as socket,
    ):
        place = Path(directory)
        bundle = _bundle(place)
        ways = _ways(bundle, place, socket)

        def measure(name: str) -> dict[str, float]:
            time.sleep(_BREATH)  # whatever the last one left to be done behind its back is done by then
            begin = time.perf_counter()
            code = ways[name](f"bench-{name}")
            if code != 0:
                raise RuntimeError(f"{name}: exit code {code}")
            return {"run": time.perf_counter() - begin}

        samples = dict(zip(ways, alternate(pairs, list(ways), measure), strict=True))
    runc = samples["runc"].median("run")
    return [
        Row(what, runc, samples[name].median("run"), "seconds", target)
        for name, (what, target) in _KNARR.items()
    ]


def _ways(bundle: str, place: Path, socket: str) -> dict[str, Callable[[str], int]]:
    root = f"{place}/state"
    own = ["--root", root, "run", "-b", bundle]
    program = str(BIN / "knarr-oci")
    return {
        "runc": lambda name: _spawn(str(PEERS / "usr/sbin/runc"), *own, name),
        "warm": lambda name: ask(socket, [*own, name]),
        "command": lambda name: _spawn(program, "--zygote", socket, *own, name),
        "cold": lambda name: _spawn(program, *own, name),
    }


def _spawn(*argv: str) -> int:
    pid = os.posix_spawn(argv[0], argv, os.environ)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _bundle(place: Path) -> str:
    """What `spec` says, without a terminal."""
    (place / "rootfs").mkdir()
    subprocess.run(["tar", "-C", str(place / "rootfs"), "-xf", str(busybox_tar(place))], check=True)
    subprocess.run([str(BIN / "knarr-oci"), "spec"], cwd=place, check=True)
    config = json.loads((place / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["true"]}
    (place / "config.json").write_text(json.dumps(config))
    return str(place)


@contextlib.contextmanager
def _zygote(place: Path) -> Iterator[str]:
    socket = str(place / "zygote.sock")
    with subprocess.Popen([str(BIN / "knarr-oci"), "zygote", "--listen", socket]) as process:
        try:
            deadline = time.monotonic() + 60
            while not os.path.exists(socket):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the zygote does not listen")
                time.sleep(0.01)
            yield socket
        finally:
            process.send_signal(signal.SIGTERM)
