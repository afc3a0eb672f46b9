"""Docker's default capabilities, and sets of names as the kernel's bit masks. Pure."""

from collections.abc import Iterable

from knarr.kernel.capabilities import NUMBERS

ALL = tuple(NUMBERS)
DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)


def bits(names: Iterable[str]) -> int:
    """A bit mask; names that are not known are left out."""
    mask = 0
    for name in names:
        if name in NUMBERS:
            mask |= 1 << NUMBERS[name]
    return mask


def names(mask: int) -> tuple[str, ...]:
    """The names of a bit mask."""
    return tuple(name for name, number in NUMBERS.items() if mask >> number & 1)
