"""Acts on when, where and how a process runs. Named in `plan_process.py`. What the kernel lacks is said by name."""

import errno
import os
from collections.abc import Sequence

from knarr.kernel import scheduling
from knarr.kernel.process import personality as set_personality
from knarr.model.errors import Invalid, Unsupported
from knarr.runtime.state import Walk


def affinity(walk: Walk, cpus: Sequence[int], early: bool) -> None:
    """sched_setaffinity(2). On version 2 an exec is born in its cgroup, which may not have the CPUs of before."""
    walk.affine = True
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        if early and walk.cgroup is not None and walk.cgroup.version == 2 and error.errno == errno.EINVAL:
            return
        raise OSError(error.errno, error.strerror, f"setting CPU affinity {cpus}") from None


def scheduler(walk: Walk, *attributes: int) -> None:
    """sched_setattr(2)"""
    try:
        scheduling.sched_setattr(*attributes)
    except PermissionError as error:
        # SCHED_DEADLINE needs every CPU of its root domain (sched-deadline.rst, 5.1).
        if len(os.sched_getaffinity(0)) < (os.cpu_count() or 1):
            raise Invalid("process scheduler can't be used together with AllowedCPUs") from None
        raise OSError(error.errno, error.strerror, "error setting scheduler") from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, "error setting scheduler") from None


def io_priority(walk: Walk, kind: int, priority: int) -> None:
    """ioprio_set(2)"""
    try:
        scheduling.ioprio_set(kind, priority)
    except OSError as error:
        raise OSError(error.errno, error.strerror, "failed to set io priority") from None


def personality(walk: Walk, domain: int) -> None:
    """personality(2)"""
    set_personality(domain)


def memory_policy(walk: Walk, mode: int, nodes: Sequence[int]) -> None:
    """set_mempolicy(2)"""
    try:
        scheduling.set_mempolicy(mode, tuple(nodes))
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise Unsupported("memoryPolicy: this kernel has no NUMA memory policies") from None
        if error.errno == errno.EINVAL:
            raise Invalid(f"memoryPolicy: mode {mode} with nodes {nodes} is not possible here") from None
        raise OSError(error.errno, error.strerror, "failed to set memory policy") from None


def intel_rdt(walk: Walk) -> None:
    """resctrl, the file system of cache and bandwidth control, is not used (resctrl.rst)."""
    if not os.path.exists("/sys/fs/resctrl/schemata"):
        raise Unsupported("intelRdt is specified in config, but Intel RDT is not enabled")
    raise Unsupported("intelRdt is specified in config, but knarr does not use resctrl")
