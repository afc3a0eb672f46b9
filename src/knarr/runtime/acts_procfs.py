"""Acts that write to /proc, always through a descriptor of the host's own that was opened before the container came in sight.

A sysctl acts on the namespaces of who writes it, whichever procfs it is written through; so nothing that an image or a
volume put over /proc is ever asked (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881).
"""

import errno
import os

from knarr.kernel.fd import (
    PROC_SUPER_MAGIC,
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    SELINUX_MAGIC,
    filesystem,
    openat2,
)
from knarr.kernel.libc import AT_FDCWD
from knarr.model.errors import Invalid, Unsupported
from knarr.runtime.state import Walk


def procfs(walk: Walk) -> None:
    """Holds the host's /proc."""
    walk.procfs = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if filesystem(walk.procfs) != PROC_SUPER_MAGIC:
        raise Invalid("/proc of the host is not a procfs")


def _write(walk: Walk, path: str, text: str, resolve: int) -> None:
    file = openat2(walk.procfs, path, os.O_WRONLY, 0, resolve)
    try:
        if filesystem(file) != PROC_SUPER_MAGIC:
            raise OSError(errno.EXDEV, "something else is mounted there", f"/proc/{path}")
        os.write(file, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"/proc/{path}") from None
    finally:
        os.close(file)


def _write_own(walk: Walk, path: str, text: str) -> None:
    """Below /proc/self, which is a link."""
    _write(walk, f"self/{path}", text, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)


def sysctl(walk: Walk, name: str, path: str, value: str) -> None:
    """One that the plan found to be of the container's own namespaces."""
    try:
        _write(walk, f"sys/{path}", value, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"sysctl {name}: /proc/sys/{path}") from None


def oom_score(walk: Walk, score: int) -> None:
    """Lowering needs CAP_SYS_RESOURCE; without it the score stays and the user is told."""
    try:
        _write_own(walk, "oom_score_adj", str(score))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            raise
        walk.warnings.append(f"cannot set oom_score_adj to {score}: {error.strerror}")


def apparmor(walk: Walk, profile: str) -> None:
    """The profile that execve(2) changes to."""
    try:
        _write_own(walk, "attr/apparmor/exec", f"exec {profile}")
    except FileNotFoundError:
        raise Unsupported(
            f"unable to apply apparmor profile: apparmor: config provided ({profile}) but apparmor not supported"
        ) from None


def selinux_is_on() -> bool:
    """Whether its file system is mounted, as libselinux asks."""
    try:
        handle = openat2(AT_FDCWD, "/sys/fs/selinux", os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        return filesystem(handle) == SELINUX_MAGIC
    finally:
        os.close(handle)


def selinux(walk: Walk, label: str) -> None:
    """The label that execve(2) changes to."""
    if not selinux_is_on():
        raise Unsupported(
            f"selinux label is specified in config ({label}), but selinux is disabled or not supported"
        )
    _write_own(walk, "attr/exec", label)
