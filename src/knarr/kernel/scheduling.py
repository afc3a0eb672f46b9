"""When, where and with which memory a process runs: sched_setattr(2), ioprio_set(2), set_mempolicy(2)."""

import ctypes

from knarr.kernel import numbers
from knarr.kernel.libc import syscall

_WHO_PROCESS = 1
_CLASS_SHIFT = 13
_WORD = 64


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def sched_setattr(
    policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int
) -> None:
    """sched_setattr(2) of this thread; times are nanoseconds."""
    size = ctypes.sizeof(_Attributes)
    attributes = _Attributes(size, policy, flags, nice, priority, runtime, deadline, period)
    syscall(numbers.SCHED_SETATTR, 0, ctypes.byref(attributes), 0)


def ioprio_set(kind: int, priority: int) -> None:
    """ioprio_set(2) of this thread: a class and a priority in it."""
    syscall(numbers.IOPRIO_SET, _WHO_PROCESS, 0, kind << _CLASS_SHIFT | priority)


def set_mempolicy(mode: int, nodes: "tuple[int, ...]") -> None:
    """set_mempolicy(2); without nodes the mask is NULL. The kernel reads one bit less than it is told."""
    if not nodes:
        syscall(numbers.SET_MEMPOLICY, mode, 0, 0)
        return
    words = max(nodes) // _WORD + 1
    mask = (ctypes.c_uint64 * words)()
    for node in nodes:
        mask[node // _WORD] |= 1 << node % _WORD
    syscall(numbers.SET_MEMPOLICY, mode, mask, words * _WORD + 1)
