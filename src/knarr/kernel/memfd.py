"""Anonymous files that nobody can change any more (memfd_create(2), F_ADD_SEALS)."""

import fcntl
import os

from knarr.kernel.files import write_all


def sealed(name: str, data: bytes) -> int:
    """A descriptor of a sealed memfd that holds `data`, positioned at its start."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    write_all(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(
        fd,
        fcntl.F_ADD_SEALS,
        fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE,
    )
    return fd


def contents(fd: int, limit: int = 64 << 20) -> bytes:
    """Everything in a memfd; it stays open."""
    size = os.fstat(fd).st_size
    if size > limit:
        raise OSError(27, f"{size} bytes in a memfd, {limit} are allowed")  # EFBIG
    return os.pread(fd, size, 0)
