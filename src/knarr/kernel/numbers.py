"""Numbers of the system calls that Python has no wrapper for, by machine.

From 424 on (pidfd_send_signal, Linux 5.1) every architecture shares one numbering (asm-generic/unistd.h).
"""

import os

_MACHINE = os.uname().machine
_OLD = {
    # name: (x86_64, aarch64)
    "capget": (125, 90),
    "capset": (126, 91),
    "pivot_root": (155, 41),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "keyctl": (250, 219),
    "seccomp": (317, 277),
    "bpf": (321, 280),
    "personality": (135, 92),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "set_mempolicy": (238, 237),
}
_COLUMN = {"x86_64": 0, "aarch64": 1}.get(_MACHINE)


def _old(name: str) -> int:
    if _COLUMN is None:
        raise OSError(38, f"knarr does not know the system calls of {_MACHINE}")
    return _OLD[name][_COLUMN]


CAPGET = _old("capget")
CAPSET = _old("capset")
PIVOT_ROOT = _old("pivot_root")
RT_SIGACTION = _old("rt_sigaction")
RT_SIGPROCMASK = _old("rt_sigprocmask")
KEYCTL = _old("keyctl")
SECCOMP = _old("seccomp")
BPF = _old("bpf")
PERSONALITY = _old("personality")
SCHED_SETATTR = _old("sched_setattr")
IOPRIO_SET = _old("ioprio_set")
SET_MEMPOLICY = _old("set_mempolicy")

OPEN_TREE = 428
MOVE_MOUNT = 429
FSOPEN = 430
FSCONFIG = 431
FSMOUNT = 432
CLONE3 = 435
CLOSE_RANGE = 436
OPENAT2 = 437
PIDFD_GETFD = 438
MOUNT_SETATTR = 442
