"""What a warm knarr-oci does over and over before its first caller: the interpreter makes code faster that it has run often
(PEP 659), and what is made before a fork is made once.

Nothing here reaches beyond this process: values are planned, and mounts made that are attached nowhere.
"""

import json
import os
import socket
from typing import Any

from knarr.kernel import mounts, process
from knarr.kernel.cgroups.open import open_cgroup
from knarr.kernel.fd import RootFd
from knarr.kernel.libc import AT_EMPTY_PATH
from knarr.kernel.sockets import recv_packet, send_packet, socketpair
from knarr.runtime.caps import bits
from knarr.runtime.oci import bundle, cgroups
from knarr.runtime.oci.arguments import parse
from knarr.runtime.oci.commands import COMMANDS, OPTIONS
from knarr.runtime.oci.initial import Birth, Recipe
from knarr.runtime.oci.specimen import specimen
from knarr.runtime.plan import plan_init
from knarr.runtime.plan_namespaces import namespaces

_TIMES = 40
_LINE = ["knarr-oci", "--root", "/r", "--log", "/l", "run", "--bundle", "/b", "-d", "name"]
_CGROUPS = "4:memory:/a\n3:pids:/a\n2:cpu,cpuacct:/a\n0::/\n"


def rehearse() -> None:
    """Plans a container, and calls what its walk calls, often enough."""
    config = specimen("x", 1)
    config["process"]["terminal"] = False
    left, right = socketpair()
    with left, right, RootFd("/") as root:
        for _ in range(_TIMES):
            _plan(config, left)
            send_packet(left, b'{"ready": true}', [left.fileno()])
            for fd in recv_packet(right)[1]:
                os.close(fd)
        for _ in range(_TIMES // 4):
            _touch(root)


def _plan(config: dict[str, Any], line: socket.socket) -> None:
    parse(_LINE, OPTIONS, COMMANDS)
    bundle.check_process(config["process"])
    bundle.check(config, 1)
    space = namespaces(config["linux"])
    path, below = cgroups.resolve("", "x", _CGROUPS)
    group = open_cgroup(path, cgroups.host_hierarchy().below(below))
    cgroups.with_devices(config["linux"]["resources"])
    recipe = Recipe(config, "/r", group.paths(), b"", 0, (0, 1, 2), {"id": "x"})
    read = json.loads(json.dumps(recipe._asdict() | {"filter": ""}))
    Birth(recipe, early=line)
    plan_init(read["config"], [["bind", "/r", ["rbind"]]], seccomp=True, die_with_shim=False)
    bits(read["config"]["process"]["capabilities"]["bounding"])
    for _ in range(len(space.new)):
        process.prctl(process.PR_GET_DUMPABLE)


def _touch(root: RootFd) -> None:
    os.close(root.mkdirs("/"))
    os.close(root.open("/", os.O_PATH | os.O_DIRECTORY))
    root.exists("/proc/nosuch")
    os.close(mounts.new_mount("tmpfs", "tmpfs", [("mode", "755")], mounts.MOUNT_ATTR_NOEXEC))
    tree = mounts.bind_tree("", dirfd=root.fileno(), recursive=False)
    mounts.mount_setattr(tree, "", AT_EMPTY_PATH, attr_set=mounts.MOUNT_ATTR_RDONLY)
    os.close(tree)
