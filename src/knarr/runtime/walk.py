"""Walking a plan: one function an act, in the plan's order, then the gate, then execve(2). Never returns to its caller.

The walk tells the shim, on its control socket: {"master"} with a terminal's descriptor, {"ready", warnings, steps}, or
{"error"}. The shim answers ready with one byte, the gate. End of file there means that execve happened, or that the
process died. What execve itself refuses (a bad format, a missing interpreter) is said on standard error, exit code 255.
"""

import errno
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from knarr.kernel.process import CLOSE_RANGE_CLOEXEC, close_range, reset_signals
from knarr.model.errors import KnarrError
from knarr.runtime import acts_mounts, acts_process, failures
from knarr.runtime.plan import Step
from knarr.runtime.seal import keep_only, seal_imports
from knarr.runtime.state import Walk
from knarr.wire.zygote import describe

ACTS: dict[str, Callable[..., None]] = {
    "protect": acts_process.protect,
    "enter-cgroup": acts_process.enter_cgroup,
    "join-container": acts_process.join_container,
    "keyring": acts_process.keyring,
    "join": acts_process.join,
    "unshare-cgroup": acts_process.unshare_cgroup,
    "take": acts_mounts.take,
    "take-cgroups": acts_mounts.take_cgroups,
    "isolate": acts_mounts.isolate,
    "root": acts_mounts.root,
    "pivot": acts_mounts.pivot,
    "mount": acts_mounts.mount,
    "cgroup-mount": acts_mounts.cgroup_mount,
    "bind": acts_mounts.bind,
    "device": acts_mounts.device,
    "link": acts_mounts.link,
    "terminal": acts_mounts.open_terminal,
    "console": acts_mounts.console,
    "hostname": acts_process.hostname,
    "domainname": acts_process.domainname,
    "sysctl": acts_process.sysctl,
    "oom-score": acts_process.oom_score,
    "rlimit": acts_process.rlimit,
    "user": acts_process.user,
    "user-ids": acts_process.user_ids,
    "directory": acts_process.directory,
    "readonly": acts_mounts.readonly,
    "mask": acts_mounts.mask,
    "readonly-root": acts_mounts.readonly_root,
    "stdio": acts_process.stdio,
    "cwd": acts_process.cwd,
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
        told = [_act(walk, step) for step in steps]
        os.umask(0o022)
        walk.tell({"ready": True, "warnings": walk.warnings, "steps": told if explain else []})
        if walk.wait():
            _execute(walk)
    except OSError as error:
        _complain(walk, failures.failure(prefix, failures.spoken(error)))
    except KnarrError as error:
        _complain(walk, error)
    except BaseException as error:
        _complain(walk, failures.failure(prefix, f"{type(error).__name__}: {error}"))
    finally:
        os._exit(_CANNOT_EXECUTE)


def _act(walk: Walk, step: Step) -> dict[str, Any]:
    began = time.monotonic_ns()
    at = time.time_ns()
    ACTS[step.act](walk, *step.arguments)
    words = " ".join(str(word) for word in step.arguments if isinstance(word, (str, int)))
    took = time.monotonic_ns() - began
    told = {"name": f"{step.act} {words}".rstrip(), "reason": step.reason, "at": at, "duration": took}
    return {**told, "objects": _layers(step.arguments[2])} if step.act == "root" else told


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
    close_range(3 + walk.preserved, flags=CLOSE_RANGE_CLOEXEC)
    reset_signals()
    try:
        os.execve(walk.executable, walk.arguments, walk.environment)
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else errno.EINVAL
        reason = os.strerror(number or errno.ENOEXEC).lower()
        os.write(2, f"exec {walk.executable}: {reason}\n".encode())
