"""seccomp(2): loading a BPF program. Compiling one is the runtime's."""

import ctypes

from knarr.kernel import numbers
from knarr.kernel.libc import syscall

SET_MODE_FILTER = 1
GET_NOTIF_SIZES = 3
FILTER_FLAG_TSYNC = 1
FILTER_FLAG_LOG = 2
FILTER_FLAG_SPEC_ALLOW = 4
FILTER_FLAG_NEW_LISTENER = 8
FILTER_FLAG_WAIT_KILLABLE_RECV = 32


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def load(program: bytes, flags: int = 0) -> int:
    """Loads struct sock_filter instructions (8 bytes each) for this thread; the listener with FILTER_FLAG_NEW_LISTENER.

    Needs no_new_privs or CAP_SYS_ADMIN.
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    argument = _Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    return syscall(numbers.SECCOMP, SET_MODE_FILTER, flags, ctypes.byref(argument))
