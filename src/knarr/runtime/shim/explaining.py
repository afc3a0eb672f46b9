"""What `--explain` shows of a shim's own: the namespaces that it made."""

import os
import time
from typing import Any

_KINDS = ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")


def namespaces_step(pid: int) -> dict[str, Any]:
    """The step that shows what was made: each namespace of the init by its inode (namespaces(7))."""
    at = time.time_ns()
    links = {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in _KINDS}
    return {
        "name": "namespaces",
        "reason": "what the process sees of the machine",
        "at": at,
        "duration": time.time_ns() - at,
        "objects": {kind: link.partition("[")[2].rstrip("]") for kind, link in links.items()},
    }
