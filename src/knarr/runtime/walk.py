"""Walking a plan: one function an act, in the plan's order, then the gate, then execve(2). Never returns to its caller.

The walk tells its parent, on its control socket: {"hooks": names} and {"listener": number}, which the parent answers with one
byte when it has done its part; {"master"} with a terminal's descriptor; {"ready", warnings, steps}, answered by one byte, the
gate; or {"error"}. End of file there means that execve happened, or that the process died. What execve itself refuses (a bad
format, a missing interpreter) is said on standard error, exit code 255.
"""

import errno
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from knarr.kernel.process import CLOSE_RANGE_CLOEXEC, close_range, reset_signals
from knarr.model.errors import KnarrError
from knarr.runtime import (
    acts_files,
    acts_hooks,
    acts_mounts,
    acts_network,
    acts_process,
    acts_procfs,
    acts_root,
    acts_scheduling,
    acts_userns,
    failures,
)
from knarr.runtime.plan import Step
from knarr.runtime.seal import keep_only, seal_imports
from knarr.runtime.state import Walk
from knarr.wire.zygote import describe

ACTS: dict[str, Callable[..., None]] = {
    "protect": acts_process.protect,
    "open-cgroup": acts_userns.open_cgroup,
    "raise-limit": acts_userns.raise_limit,
    "make-root": acts_userns.make_root,
    "enter-cgroup": acts_process.enter_cgroup,
    "join-container": acts_process.join_container,
    "keyring": acts_process.keyring,
    "procfs": acts_procfs.procfs,
    "oom-score": acts_procfs.oom_score,
    "take": acts_mounts.take,
    "idmap": acts_userns.idmap,
    "take-spare": acts_userns.take_spare,
    "idmap-own": acts_userns.idmap_own,
    "take-own": acts_mounts.take_own,
    "take-cgroups": acts_mounts.take_cgroups,
    "take-root": acts_root.take_root,
    "join": acts_process.join,
    "unshare-cgroup": acts_process.unshare_cgroup,
    "sysctl": acts_procfs.sysctl,
    "loopback": acts_network.loopback,
    "net-device": acts_network.net_device,
    "isolate": acts_root.isolate,
    "vacate": acts_root.vacate,
    "root": acts_root.root,
    "enter-root": acts_root.enter_root,
    "mount": acts_mounts.mount,
    "mount-or-bind": acts_userns.mount_or_bind,
    "copy-up": acts_mounts.copy_up,
    "remount": acts_mounts.remount,
    "cgroup-mount": acts_mounts.cgroup_mount,
    "bind": acts_mounts.bind,
    "warn": acts_hooks.warn,
    "device": acts_files.device,
    "device-bind": acts_files.device_bind,
    "link": acts_files.link,
    "parent-hooks": acts_hooks.parent_hooks,
    "create-hooks": acts_hooks.create_hooks,
    "start-hooks": acts_hooks.start_hooks,
    "apparmor": acts_procfs.apparmor,
    "selinux": acts_procfs.selinux,
    "pivot": acts_root.pivot,
    "move-root": acts_root.move_root,
    "chroot": acts_root.chroot,
    "root-propagation": acts_root.root_propagation,
    "terminal": acts_files.open_terminal,
    "console": acts_files.console,
    "hostname": acts_process.hostname,
    "domainname": acts_process.domainname,
    "user": acts_process.user,
    "user-ids": acts_process.user_ids,
    "directory": acts_process.directory,
    "close-mount": acts_mounts.close_mount,
    "readonly": acts_files.readonly,
    "mask": acts_files.mask,
    "readonly-root": acts_files.readonly_root,
    "intel-rdt": acts_scheduling.intel_rdt,
    "affinity": acts_scheduling.affinity,
    "scheduler": acts_scheduling.scheduler,
    "io-priority": acts_scheduling.io_priority,
    "personality": acts_scheduling.personality,
    "memory-policy": acts_scheduling.memory_policy,
    "stdio": acts_process.stdio,
    "cwd": acts_process.cwd,
    "rlimit": acts_process.rlimit,
    "umask": acts_process.umask,
    "no-new-privileges": acts_process.no_new_privileges,
    "seccomp": acts_process.load_filter,
    "bounding": acts_process.bounding,
    "identity": acts_process.identity,
    "capabilities": acts_process.capabilities,
    "die-with-shim": acts_process.die_with_shim,
    "command": acts_process.command,
}
_CANNOT_EXECUTE = 255


def walk_to_execve(
    walk: Walk, prepare: Callable[[Walk], Sequence[Step]], prefix: str, *, explain: bool = False
) -> NoReturn:
    """Prepares (which gives the plan), acts, tells, waits for the gate, executes. Always ends the process."""
    try:
        steps = prepare(walk)
        seal_imports()
        keep_only(walk.descriptors())
        os.umask(0)
        told = _acted(walk, steps, explain)
        os.umask(walk.umask)
        walk.tell(_ready(walk, walk.told + told if explain else []))
        if walk.wait():
            if walk.after_gate is not None:
                walk.after_gate()
            _execute(walk)
    except OSError as error:
        _complain(walk, failures.failure(prefix, failures.spoken(error)))
    except KnarrError as error:
        _complain(walk, error)
    except BaseException as error:
        _complain(walk, failures.failure(prefix, f"{type(error).__name__}: {error}"))
    finally:
        os._exit(_CANNOT_EXECUTE)


def _ready(walk: Walk, steps: list[dict[str, Any]]) -> dict[str, Any]:
    ready = {"ready": True, "warnings": walk.warnings, "steps": steps}
    return {**ready, "debug": walk.debug} if walk.debug else ready


def _acted(walk: Walk, steps: Sequence[Step], explain: bool) -> list[dict[str, Any]]:
    """Acts; what was done, if anybody wants to know."""
    if explain:
        return [act(walk, step) for step in steps]
    for name, _, arguments in steps:
        ACTS[name](walk, *arguments)
    return []


def act(walk: Walk, step: Step) -> dict[str, Any]:
    """Does one step; what is told of it."""
    began = time.monotonic_ns()
    at = time.time_ns()
    ACTS[step.act](walk, *step.arguments)
    words = " ".join(str(word) for word in step.arguments if isinstance(word, (str, int)))
    took = time.monotonic_ns() - began
    told = {"name": f"{step.act} {words}".rstrip(), "reason": step.reason, "at": at, "duration": took}
    return {**told, "objects": _layers(step.arguments[2])} if step.act in ("root", "make-root") else told


def _layers(options: Sequence[str]) -> dict[str, str]:
    """The directories that an overlay is made of."""
    pairs = (option.partition("=") for option in options)
    return {name: value for name, _, value in pairs if name in ("lowerdir", "upperdir")}


def _complain(walk: Walk, error: KnarrError) -> None:
    try:
        walk.tell({"error": describe(error)})
    except OSError:
        return


def _execute(walk: Walk) -> None:
    """Above 2 only what was asked for survives, so nothing of the host, the interpreter least of all, is within reach."""
    try:
        close_range(3 + walk.preserved, flags=CLOSE_RANGE_CLOEXEC)
    except OSError:
        if not walk.filter:
            raise  # a filter may forbid it; it was done before that was loaded
    reset_signals()
    try:
        os.execve(walk.executable, walk.arguments, walk.environment)
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else errno.EINVAL
        reason = os.strerror(number or errno.ENOEXEC).lower()
        os.write(2, f"exec {walk.executable}: {reason}\n".encode())
