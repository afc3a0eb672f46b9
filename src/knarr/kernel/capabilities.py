"""Capabilities by name (capabilities(7), linux/capability.h)."""

from functools import cache

from knarr.kernel.process import PR_CAPBSET_READ, prctl

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
NUMBERS = {f"CAP_{name}": number for number, name in enumerate(NAMES)}


@cache
def last() -> int:
    """The highest capability that this kernel knows: asked of the bounding set, because /proc may be the container's."""
    number = len(NAMES)
    while number and not _known(number - 1):
        number -= 1
    while _known(number):
        number += 1
    return number - 1


def _known(number: int) -> bool:
    try:
        prctl(PR_CAPBSET_READ, number)
    except OSError:
        return False
    return True
