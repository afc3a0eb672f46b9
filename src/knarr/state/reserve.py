"""Room on the disk that is given up when the disk is full, so that removing things, which frees room, can be recorded."""

import contextlib
import os

SIZE = 1 << 20


class Reserve:
    """A file of real blocks beside the database. Blocking; used by one thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._held = False
        self.take()

    def take(self) -> None:
        """Takes the room if there is any."""
        if self._held:
            return
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, SIZE)
        except OSError:
            os.unlink(self._path)
        else:
            self._held = True
        finally:
            os.close(fd)

    def give_up(self) -> bool:
        """Whether there was something to give up."""
        held, self._held = self._held, False
        if held:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
        return held
