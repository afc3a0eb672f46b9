"""What every container makes its init do, done once before anybody waits for it.

The zygote does it often enough for the interpreter to specialise its code, which writes to it: pages that are written before a
fork are shared after it. An init does it once more, to have its own copy of the pages that it will write to anyway.
"""

import json
import os
from typing import Any

from knarr.kernel import mounts
from knarr.kernel.cgroups.hierarchy import Hierarchy
from knarr.kernel.cgroups.open import open_cgroup
from knarr.kernel.cgroups.v1_settings import settings
from knarr.kernel.libc import AT_EMPTY_PATH
from knarr.kernel.sockets import recv_packet, send_packet, socketpair
from knarr.runtime import acts_process, defaults
from knarr.runtime.birth import clone_flags
from knarr.runtime.caps import DEFAULT, bits
from knarr.runtime.plan import plan_init
from knarr.runtime.plan_namespaces import namespaces
from knarr.runtime.plan_vacant import vacated
from knarr.runtime.shim.packets import LIMIT, pack, unpack
from knarr.runtime.state import Walk

_ROOT = ["overlay", "overlay", ["lowerdir=/a:/b", "upperdir=/c", "workdir=/d"]]


def _order() -> dict[str, Any]:
    allowed = {kind: list(DEFAULT) for kind in ("bounding", "effective", "permitted")}
    linux = {
        "namespaces": [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "cgroup")],
        "maskedPaths": list(defaults.MASKED_PATHS),
        "readonlyPaths": list(defaults.READONLY_PATHS),
        "resources": {"devices": defaults.device_rules()},
    }
    process = {
        "args": ["true"],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"name": ""},
        "capabilities": allowed,
    }
    plan = {
        "bundle": {"process": process, "mounts": defaults.mounts(), "linux": linux},
        "rootfs": {"mounts": [_ROOT]},
    }
    return {"job": "shim", "order": {"id": "", "plan": json.dumps(plan)}}


def of_an_init(hierarchy: Hierarchy) -> None:
    """Takes an order, plans it, and touches nothing but this process: its first steps, and looking around."""
    mine, theirs = socketpair()
    with mine, theirs:
        send_packet(mine, pack(_order()), [mine.fileno()])
        packet, fds = recv_packet(theirs, LIMIT)
        os.close(fds[0])
        plan = json.loads(unpack(packet, [])["order"]["plan"])
        bundle, walk = plan["bundle"], Walk(mine, (-1, -1, -1))
        walk.load(bundle["process"])
        _cgroup(hierarchy, bundle["linux"]["resources"])
        clone_flags(namespaces(bundle["linux"]).new)
        vacated(plan_init(bundle, plan["rootfs"]["mounts"], seccomp=True))
        sorted(walk.descriptors())
        _look(walk)
        walk.tell({"ready": True, "warnings": [], "steps": []})


def _cgroup(hierarchy: Hierarchy, resources: dict[str, Any]) -> None:
    """Only what it would be told."""
    open_cgroup("knarr", hierarchy).paths()
    if hierarchy.version == 1:
        settings(resources)


def _look(walk: Walk) -> None:
    acts_process.protect(walk)
    acts_process.user(walk, "", ())
    bits(DEFAULT)
    root = walk.root
    os.close(root.mkdirs("/"))
    tree = mounts.new_mount("tmpfs", "tmpfs", [("mode", "755")], mounts.MOUNT_ATTR_NOEXEC)
    mounts.mount_setattr(tree, "", AT_EMPTY_PATH, attr_set=mounts.MOUNT_ATTR_NODEV)
    os.close(tree)
    os.close(mounts.bind_tree("", dirfd=root.fileno(), recursive=False))
    root.close()
