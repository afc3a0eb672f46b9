"""A container's directory below the root: made by one only, its state replaced whole, locked while it changes.

ROOT/ID/state.json    what the container is; it is there once the init is
ROOT/ID/start.sock    the door at which a created init waits; gone once it was started
ROOT/ID/seccomp.bpf   the compiled filter, for execs
"""

import fcntl
import json
import os

from knarr.model.errors import Invalid
from knarr.runtime.oci.errors import ContainerExists, NoSuchContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
STATE, DOOR, FILTER = "state.json", "start.sock", "seccomp.bpf"


def check_id(name: str) -> None:
    """runc's rule for names. Raises Invalid."""
    if not name or not _LETTERS.issuperset(name) or name in (".", ".."):
        raise Invalid("invalid container ID format")


class Record:
    """One container's directory, by descriptor. `close` lets go of the lock."""

    def __init__(self, root: str, name: str, fd: int):
        self.root, self.id, self._fd = root, name, fd

    @property
    def path(self) -> str:
        """The directory."""
        return f"{self.root}/{self.id}"

    @classmethod
    def make(cls, root: str, name: str) -> "Record":
        """A new one, locked. Raises ContainerExists."""
        check_id(name)
        os.makedirs(root, 0o700, exist_ok=True)
        try:
            os.mkdir(f"{root}/{name}", 0o711)
        except FileExistsError:
            raise ContainerExists from None
        record = cls(root, name, _open(f"{root}/{name}"))
        fcntl.flock(record._fd, fcntl.LOCK_EX)
        return record

    @classmethod
    def open(cls, root: str, name: str) -> "Record":
        """An existing one, not locked. Raises NoSuchContainer."""
        check_id(name)
        try:
            return cls(root, name, _open(f"{root}/{name}"))
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchContainer from None

    def lock(self) -> None:
        """Waits until nobody else changes it."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def unlock(self) -> None:
        """Lets others change it."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def idle(self) -> bool:
        """Whether nobody is at it now; then it is ours."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def load(self) -> "dict[str, Any]":
        """The state. Raises NoSuchContainer while there is none."""
        try:
            fd = os.open(STATE, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            raise NoSuchContainer from None
        with open(fd, "rb") as file:
            state: dict[str, Any] = json.load(file)
        return state

    def save(self, state: "dict[str, Any]") -> None:
        """Replaces the state in one step. The root is memory's (tmpfs): a crash of the machine takes the container too."""
        self.write(STATE, json.dumps(state).encode())

    def write(self, name: str, data: bytes) -> None:
        """A file of it, whole or not at all."""
        temporary = f"{name}.{os.getpid()}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=self._fd)
        with open(fd, "wb") as file:
            file.write(data)
        os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def read(self, name: str) -> bytes:
        """A file of it; b"" where it is missing."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            return b""
        with open(fd, "rb") as file:
            return file.read()

    def door(self) -> str:
        """The door's path, short whatever the root is (sun_path has 108 bytes, unix(7))."""
        return f"/proc/self/fd/{self._fd}/{DOOR}"

    def waits(self) -> bool:
        """Whether the init still waits to be started."""
        return DOOR in os.listdir(self._fd)

    def shut(self) -> None:
        """Takes the door away: nobody else starts it."""
        os.unlink(DOOR, dir_fd=self._fd)

    def remove(self) -> None:
        """Forgets the container; a missing directory is no error."""
        for name in os.listdir(self._fd):
            os.unlink(name, dir_fd=self._fd)
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            return

    def close(self) -> None:
        """May be called again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
