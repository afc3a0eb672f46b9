"""What every container makes its init do, done once before anybody waits for it.

The zygote does it often enough for the interpreter to specialise its code, which writes to it: pages that are written before a
fork are shared after it. An init does it once more, to have its own copy of the pages that it will write to anyway.
"""

import json
import os

from knarr.kernel import mounts
from knarr.kernel.fd import RootFd
from knarr.runtime import defaults
from knarr.runtime.birth import clone_flags
from knarr.runtime.caps import DEFAULT
from knarr.runtime.plan import plan_init
from knarr.runtime.plan_namespaces import namespaces


def of_an_init() -> None:
    """Does what every init does before it touches anything, so that its pages are its own before somebody waits for it."""
    allowed = {kind: list(DEFAULT) for kind in ("bounding", "effective", "permitted")}
    linux = {
        "namespaces": [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "cgroup")],
        "maskedPaths": list(defaults.MASKED_PATHS),
        "readonlyPaths": list(defaults.READONLY_PATHS),
    }
    process_ = {
        "args": ["true"],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"name": ""},
        "capabilities": allowed,
    }
    text = json.dumps({"process": process_, "mounts": defaults.mounts(), "linux": linux})
    bundle = json.loads(text)
    clone_flags(namespaces(bundle["linux"]).new)
    plan_init(bundle, [["overlay", "overlay", ["lowerdir=/a:/b", "upperdir=/c"]]], seccomp=True)
    with RootFd("/") as root:
        os.close(root.mkdirs("/"))
        os.close(mounts.new_mount("tmpfs", "tmpfs", [("mode", "755")], mounts.MOUNT_ATTR_NOEXEC))
        os.close(mounts.bind_tree("", dirfd=root.fileno(), recursive=False))
