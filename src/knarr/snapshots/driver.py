"""The choice of a driver: the one that was asked for, or overlay where a trial mount passes and copies where not."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from knarr.kernel import mounts
from knarr.model.errors import Unsupported
from knarr.snapshots.copy import Copy
from knarr.snapshots.overlay import Overlay
from knarr.snapshots.port import Snapshotter
from knarr.snapshots.tree import remove_tree

DRIVERS: dict[str, Callable[[Path], Snapshotter]] = {
    "overlay2": Overlay,
    "overlay": Overlay,
    "overlayfs": Overlay,
    "vfs": Copy,
}


def open_driver(root: str | Path, name: str = "") -> Snapshotter:
    """The driver `name` in `root`/<its name>; an empty name takes the best that works. Raises Unsupported."""
    if name and name not in DRIVERS:
        raise Unsupported(f"driver not supported: {name}")
    Path(root).mkdir(parents=True, exist_ok=True, mode=0o711)
    reason = "" if name == "vfs" else overlay_refused(root)
    if name not in ("", "vfs") and reason:
        raise Unsupported(f"cannot use overlayfs below {root}: {reason}")
    chosen = DRIVERS["vfs" if reason or name == "vfs" else "overlay2"]
    return chosen(Path(root) / ("vfs" if chosen is Copy else "overlay2"))


def overlay_refused(root: str | Path) -> str:
    """Why overlayfs cannot have its directories below `root`; empty if it can. The trial is attached nowhere."""
    name = f"{root}/.trial-{secrets.token_hex(8)}"
    os.mkdir(name, 0o700)
    try:
        return _trial(name)
    finally:
        remove_tree(name)


def _trial(name: str) -> str:
    for directory in ("lower", "upper", "work"):
        os.mkdir(f"{name}/{directory}")
    parameters: list[tuple[str, str | None]] = [
        ("lowerdir", f"{name}/lower"),
        ("upperdir", f"{name}/upper"),
        ("workdir", f"{name}/work"),
    ]
    try:
        os.mknod(f"{name}/upper/gone", 0o020000, os.makedev(0, 0))
        os.setxattr(f"{name}/upper", "trusted.overlay.opaque", b"y")
        os.close(mounts.new_mount("overlay", "overlay", parameters))
    except OSError as error:
        return error.strerror or str(error)
    return ""
