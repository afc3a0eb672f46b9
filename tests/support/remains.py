"""What one knarrd has on the host because of containers: asked of the host and of its files, never of the daemon."""

import json
import os
import sqlite3
from pathlib import Path

from knarr.engine.namespaces import SPARES
from knarr.engine.paths import Paths
from tests.support import host
from tests.support.daemons import Knarrd

KINDS = ("mounts", "veths", "namespaces", "cgroups", "elements", "processes", "directories", "rows")
TABLES = ("containers", "endpoints", "published", "volumes", "volume_uses")


def remains(knarrd: Knarrd) -> dict[str, set[str]]:
    """By kind, and only the kinds of which there is something."""
    found = {
        "mounts": host.mounts([str(knarrd.root)]) - {str(knarrd.data_root)},
        "veths": veths(knarrd),
        "namespaces": namespaces(knarrd),
        "cgroups": cgroups(knarrd),
        "elements": elements(knarrd),
        "processes": processes(knarrd),
        "directories": directories(knarrd),
        "rows": rows(knarrd),
    }
    return {kind: things for kind, things in found.items() if things}


def veths(knarrd: Knarrd) -> set[str]:
    """The bridge's ports."""
    return _names(Path(f"/sys/class/net/{knarrd.bridge}/brif"))


def namespaces(knarrd: Knarrd) -> set[str]:
    """The network namespaces that the daemon holds, should they be more than its spares."""
    found = host.network_namespaces(knarrd.process.pid)
    return found if len(found) > SPARES else set()


def cgroups(knarrd: Knarrd) -> set[str]:
    """Everything below the daemon's own cgroup, in all hierarchies."""
    parent = Paths.of(str(knarrd.data_root), str(knarrd.exec_root)).cgroup
    return host.cgroups(parent.strip("/"))


def elements(knarrd: Knarrd) -> set[str]:
    """The elements of all sets and maps of the bridge's table."""
    listed = host.nft("-j", "list", "table", "ip", f"knarr-{knarrd.bridge}")
    found = set()
    for item in json.loads(listed)["nftables"] if listed else []:
        for kind in ("set", "map"):
            found |= {json.dumps(element) for element in item.get(kind, {}).get("elem", [])}
    return found


def processes(knarrd: Knarrd) -> set[str]:
    """Shims, and what is in containers: by their open files and their cgroups, wherever they hang in the tree."""
    root = f"{knarrd.root}/"
    parent = Paths.of(str(knarrd.data_root), str(knarrd.exec_root)).cgroup + "/"
    own = {process for process in knarrd.pids if host.comm(process) in ("knarrd", "knarr-zygote")}
    found = set()
    for pid, command in host.processes().items():
        if pid not in own and (
            _in_cgroup(pid, parent) or (host.comm(pid) == "knarr-shim" and _opens(pid, root))
        ):
            found.add(f"{pid} {host.comm(pid)} {command}")
    return found


def directories(knarrd: Knarrd) -> set[str]:
    """What containers have under both roots; volumes are counted, images are not."""
    places = [knarrd.exec_root / "containers", knarrd.data_root / "containers"]
    places += [knarrd.data_root / "volumes", knarrd.data_root / "trash", knarrd.data_root / "leases"]
    snapshots = knarrd.data_root / "snapshots"
    places += [driver / name for driver in _below(snapshots) for name in ("snapshots", "trash", "staging")]
    return {str(place / name) for place in places for name in _names(place)}


def rows(knarrd: Knarrd) -> set[str]:
    """Rows of the tables about containers, read beside the daemon."""
    database = sqlite3.connect(f"file:{knarrd.data_root}/state.db?mode=ro", uri=True)
    try:
        return {f"{table} {row}" for table in TABLES for row in database.execute(f"SELECT * FROM {table}")}
    finally:
        database.close()


def _names(directory: Path) -> set[str]:
    try:
        return set(os.listdir(directory))
    except FileNotFoundError:
        return set()


def _below(directory: Path) -> list[Path]:
    return [directory / name for name in _names(directory)]


def _in_cgroup(pid: int, parent: str) -> bool:
    try:
        return any(
            line.split(":", 2)[2].startswith(parent)
            for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        )
    except (FileNotFoundError, ProcessLookupError):
        return False


def _opens(pid: int, root: str) -> bool:
    try:
        fds = os.listdir(f"/proc/{pid}/fd")
        return any(os.readlink(f"/proc/{pid}/fd/{fd}").startswith(root) for fd in fds)
    except (FileNotFoundError, ProcessLookupError):
        return False
