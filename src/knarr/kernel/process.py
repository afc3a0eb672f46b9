"""Processes: clone3(2), namespaces, pidfds, signals, credentials, limits."""

import ctypes
import errno
import os
import resource
import signal

from knarr.kernel import numbers
from knarr.kernel.libc import check, encoded, libc, syscall

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_INTO_CGROUP = 0x200000000

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECBIT_NO_SETUID_FIXUP = 4

CLOSE_RANGE_CLOEXEC = 4
P_PIDFD = 3
_CAPABILITY_VERSION_3 = 0x20080522


_pidfd = (ctypes.c_int * 1)()
_clone = (ctypes.c_uint64 * 11)(0, ctypes.addressof(_pidfd))
"""struct clone_args. Made once: single-threaded callers that want to stay small."""


def clone3(flags: int, cgroup: int = -1) -> tuple[int, int]:
    """clone3(2) without a new stack, as fork(2): (0, -1) in the child, (pid, pidfd) in the parent.

    The pidfd is close-on-exec. `cgroup` is a descriptor of a v2 cgroup to be born in. Python's after-fork handlers do not
    run: for single-threaded callers only.
    """
    if cgroup >= 0:
        flags |= CLONE_INTO_CGROUP
    _clone[0] = flags | CLONE_PIDFD
    _clone[4] = 0 if flags & CLONE_PARENT else signal.SIGCHLD
    _clone[10] = max(cgroup, 0)
    pid = syscall(numbers.CLONE3, _clone, 88)
    return (pid, _pidfd[0]) if pid else (0, -1)


def unshare(flags: int) -> None:
    """unshare(2)"""
    check(libc.unshare(flags))


def setns(fd: int, kind: int = 0) -> None:
    """setns(2); with a pidfd `kind` is a set of CLONE_NEW* flags."""
    check(libc.setns(fd, kind))


def pidfd_open(pid: int) -> int:
    """pidfd_open(2); close-on-exec."""
    return os.pidfd_open(pid)


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """pidfd_send_signal(2). Raises ProcessLookupError once it was reaped."""
    signal.pidfd_send_signal(pidfd, number)


def pidfd_getfd(pidfd: int, number: int) -> int:
    """pidfd_getfd(2): a duplicate of another process's descriptor; close-on-exec."""
    return syscall(numbers.PIDFD_GETFD, pidfd, number, 0)


def waitid_pidfd(pidfd: int, options: int = os.WEXITED) -> "os.waitid_result | None":
    """waitid(P_PIDFD); None with WNOHANG while it lives."""
    return os.waitid(P_PIDFD, pidfd, options)


def prctl(option: int, argument2: int = 0, argument3: int = 0, argument4: int = 0, argument5: int = 0) -> int:
    """prctl(2) with integer arguments."""
    return check(libc.prctl(option, argument2, argument3, argument4, argument5))


def set_name(name: str) -> None:
    """PR_SET_NAME: what /proc/PID/comm shows, at most 15 bytes."""
    check(libc.prctl(PR_SET_NAME, os.fsencode(name)[:15], 0, 0, 0))


def set_child_subreaper() -> None:
    """PR_SET_CHILD_SUBREAPER: orphans below become this process's children."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_no_new_privs() -> None:
    """PR_SET_NO_NEW_PRIVS"""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def setfsids(uid: int, gid: int) -> None:
    """setfsuid(2) and setfsgid(2), which give no errors: the ids are asked for again."""
    for call, wanted in ((libc.setfsgid, gid), (libc.setfsuid, uid)):
        call(ctypes.c_uint(wanted))
        if call(ctypes.c_uint(0xFFFFFFFF)) != ctypes.c_int(wanted).value:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), f"setfsid {wanted}")


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) for this thread; each argument is a bit mask by capability number."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    words = []
    for shift in (0, 32):
        words += [mask >> shift & 0xFFFFFFFF for mask in (effective, permitted, inheritable)]
    syscall(numbers.CAPSET, header, (ctypes.c_uint32 * 6)(*words))


def capget() -> tuple[int, int, int]:
    """capget(2): this thread's effective, permitted and inheritable masks."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    words = (ctypes.c_uint32 * 6)()
    syscall(numbers.CAPGET, header, words)
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def drop_bounding(capability: int) -> None:
    """PR_CAPBSET_DROP"""
    prctl(PR_CAPBSET_DROP, capability)


def raise_ambient(capability: int) -> None:
    """PR_CAP_AMBIENT_RAISE; it must be permitted and inheritable."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """close_range(2); CLOSE_RANGE_CLOEXEC marks instead of closing."""
    syscall(numbers.CLOSE_RANGE, first, last, flags)


def reset_signals() -> None:
    """Every signal to its default and none blocked, whatever was inherited.

    By the raw rt_sigaction(2): the C library hides its own two signals (32, 33), and nohup leaves SIGHUP ignored.
    """
    action = (ctypes.c_uint64 * 4)()
    for number in range(1, 65):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            syscall(numbers.RT_SIGACTION, number, action, 0, 8)
    syscall(numbers.RT_SIGPROCMASK, 2, (ctypes.c_uint64 * 1)(), 0, 8)


def sethostname(name: str) -> None:
    """sethostname(2)"""
    data = os.fsencode(name)
    check(libc.sethostname(data, ctypes.c_size_t(len(data))), name)


def setdomainname(name: str) -> None:
    """setdomainname(2)"""
    data = os.fsencode(name)
    check(libc.setdomainname(data, ctypes.c_size_t(len(data))), name)


def prlimit(pid: int, limit: int, soft: int, hard: int) -> None:
    """prlimit(2); -1 is RLIM_INFINITY."""
    resource.prlimit(pid, limit, (soft, hard))


def setgroups(gids: "list[int]") -> None:
    """setgroups(2)"""
    os.setgroups(gids)


def personality(persona: int) -> int:
    """personality(2)"""
    return syscall(numbers.PERSONALITY, persona)


def join_session_keyring(name: str | None) -> None:
    """keyctl(KEYCTL_JOIN_SESSION_KEYRING): a new one where `name` is None; by a name, "" too, one that is there is joined."""
    syscall(numbers.KEYCTL, 1, encoded(name))
