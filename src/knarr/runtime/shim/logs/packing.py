"""Compresses an older log file in a child: the shim goes on meanwhile. The file is there, plain or packed, at any moment."""

import os

from knarr.runtime.shim.loop import READ, Loop

_CHUNK = 1 << 18
_GZIP = 31


class Packer:
    """One file at a time. A child that fails leaves the plain file."""

    __slots__ = ("_loop", "_pid")

    def __init__(self, loop: Loop):
        self._loop = loop
        self._pid = 0

    def __call__(self, path: str) -> None:
        """Begins with `path`; with "" waits for the one that is under way."""
        if self._pid:
            self._reap(0)
        if not path:
            return
        pid = os.fork()
        if pid == 0:
            try:
                os.closerange(3, 1 << 20)
                os.nice(10)
                pack(path)
            finally:
                os._exit(0)
        self._pid = pid
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            self._reap(0)
            return

        def over(_: int) -> None:
            self._loop.forget(pidfd)
            os.close(pidfd)
            if self._pid == pid:
                self._reap(0)

        self._loop.watch(pidfd, READ, over)

    def _reap(self, options: int) -> None:
        pid, self._pid = self._pid, 0
        try:
            os.waitpid(pid, options)
        except ChildProcessError:
            return


def pack(path: str) -> None:
    """`path` becomes `path`.gz, written at the same moment: by that who follows it knows it again."""
    import zlib

    coder = zlib.compressobj(wbits=_GZIP)
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    sink = os.open(f"{path}.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    while data := os.read(source, _CHUNK):
        _write(sink, coder.compress(data))
    _write(sink, coder.flush())
    written = os.fstat(source)
    os.utime(f"{path}.tmp", ns=(written.st_atime_ns, written.st_mtime_ns))
    os.rename(f"{path}.tmp", f"{path}.gz")
    os.unlink(path)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
