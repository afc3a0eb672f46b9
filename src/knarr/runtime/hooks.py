"""OCI's hooks: programs that are told the container's state on standard input, one after the other, each with its time.

Who runs them is the caller's part: prestart, createRuntime, poststart and poststop are the runtime's (a shim's or
knarr-oci's), createContainer and startContainer the walk's.
"""

import json
import os
import select
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from knarr.kernel.files import write_all
from knarr.model.errors import KnarrError

_SHOWN = 4096
_DEFAULT = (signal.SIGPIPE, signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGXFSZ)


class HookFailed(KnarrError):
    """A hook could not be run, failed, or took too long."""


def base_state(order: Mapping[str, Any], annotations: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the state that never changes."""
    return {"id": order["id"], "bundle": order["run_dir"], "annotations": annotations}


def state_of(base: Mapping[str, Any], status: str, pid: int) -> dict[str, Any]:
    """OCI's state: `base` is {"ociVersion", "id", "bundle", "annotations"}; a stopped container has no pid."""
    state = {"ociVersion": base.get("ociVersion") or "1.2.0", "id": base.get("id") or "", "status": status}
    if pid:
        state["pid"] = pid
    state["bundle"] = base.get("bundle") or ""
    if base.get("annotations"):
        state["annotations"] = base["annotations"]
    return state


def run_hooks(
    name: str,
    hooks: Sequence[Mapping[str, Any]],
    state: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
) -> None:
    """All of one kind; `environment` is for those that bring none. Raises HookFailed with runc's words."""
    for complaint in _complaints(name, hooks, state, environment or {}):
        raise HookFailed(complaint)


def run_poststop(
    hooks: Sequence[Mapping[str, Any]], state: Mapping[str, Any], environment: Mapping[str, str]
) -> list[str]:
    """All of them, whatever becomes of the others; what is to be warned of (runtime.md, "Lifecycle", 13)."""
    return list(_complaints("poststop", hooks, state, environment))


def _complaints(
    name: str, hooks: Sequence[Mapping[str, Any]], state: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[str]:
    text = json.dumps(state).encode()
    for number, hook in enumerate(hooks):
        try:
            _run(hook, text, environment)
        except HookFailed as error:
            yield f"error running {name} hook #{number}: {error}"


def _run(hook: Mapping[str, Any], text: bytes, environment: Mapping[str, str]) -> None:
    path = str(hook.get("path") or "")
    env = dict(word.split("=", 1) for word in hook.get("env") or () if "=" in word) or dict(environment)
    streams = [os.memfd_create(f"hook-{word}", os.MFD_CLOEXEC) for word in ("stdin", "stdout", "stderr")]
    try:
        write_all(streams[0], text)
        os.lseek(streams[0], 0, os.SEEK_SET)
        pid = os.posix_spawn(
            path,
            [str(word) for word in hook.get("args") or ()] or [path],
            env,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)],
            setsigmask=(),
            setsigdef=_DEFAULT,
        )
        _wait(pid, hook.get("timeout"), streams)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise HookFailed(f"fork/exec {path}: {reason}") from None
    finally:
        for fd in streams:
            os.close(fd)


def _wait(pid: int, timeout: int | None, streams: Sequence[int]) -> None:
    """Until its end, or until its time is over: then it is killed."""
    pidfd = os.pidfd_open(pid)
    try:
        if timeout is not None:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(timeout * 1000):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise HookFailed(f"hook ran past specified timeout of {timeout:.1f}s")
    finally:
        os.close(pidfd)
    _, status = os.waitpid(pid, 0)
    if status:
        out, err = (os.pread(fd, _SHOWN, 0).decode(errors="replace") for fd in streams[1:])
        raise HookFailed(f"{_spoken(status)}, stdout: {out}, stderr: {err}")


def _spoken(status: int) -> str:
    """As Go prints how a process ended."""
    if not os.WIFSIGNALED(status):
        return f"exit status {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    dumped = " (core dumped)" if os.WCOREDUMP(status) else ""
    return f"signal: {(signal.strsignal(number) or str(number)).lower()}{dumped}"
