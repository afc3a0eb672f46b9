"""An init that is born before anybody asked for it, in the namespaces that nearly every container has.

Making namespaces and copying the pages that a fork shares is most of a start. A warm knarr-oci does both ahead: the waiting
process and its forerunner have their memory already (madvise(2), MADV_POPULATE_WRITE), and the forerunner its namespaces. Its
mount namespace is made late, for it must show the host as it is when the container starts.
"""

import ctypes
import json
import os
import signal
import socket
from binascii import a2b_base64, b2a_base64
from typing import NoReturn

from knarr.kernel import process
from knarr.kernel.libc import libc
from knarr.kernel.sockets import recv_packet, send_packet, socketpair
from knarr.runtime.birth import bear
from knarr.runtime.oci.initial import Birth, Recipe
from knarr.runtime.plan_namespaces import Namespaces

_AHEAD = ("pid", "network", "ipc", "uts")
_LATE = frozenset(("mount", "cgroup"))
_LARGEST = 128 << 10
_POPULATE_READ, _POPULATE_WRITE = 22, 23


class Forerunner:
    """The waiting process's end."""

    def __init__(self, line: socket.socket, pid: int, pidfd: int):
        self.line, self.pid, self.pidfd = line, pid, pidfd

    @classmethod
    def send_ahead(cls, ranges: "list[tuple[int, int, int]]") -> "Forerunner":
        """Bears it."""
        mine, theirs = socketpair()

        def life() -> NoReturn:
            mine.close()
            _wait(theirs, ranges)

        pid, pidfd = bear(Namespaces(_AHEAD), life)
        theirs.close()
        return cls(mine, pid, pidfd)

    @staticmethod
    def fits(space: Namespaces) -> bool:
        """Whether a container of these namespaces can be its."""
        return not space.joined and set(space.new) - _LATE == set(_AHEAD) and "mount" in space.new

    def take(self, recipe: Recipe) -> bool:
        """Hands the recipe over; False where it is too long for a packet."""
        fields = recipe._asdict()
        fields["filter"] = b2a_base64(recipe.filter, newline=False).decode()
        streams = [fd for fd in recipe.stdio if fd >= 0]
        data = json.dumps(fields).encode()
        if len(data) > _LARGEST:
            return False
        send_packet(self.line, data, [*streams, *range(3, 3 + recipe.preserved)])
        return True

    def dismiss(self) -> None:
        """It is not needed."""
        process.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        process.waitid_pidfd(self.pidfd)
        os.close(self.pidfd)
        self.line.close()


def _wait(line: socket.socket, ranges: "list[tuple[int, int, int]]") -> NoReturn:
    try:
        process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        populate([each for each in ranges if each[2] == _POPULATE_WRITE])
        data, fds = recv_packet(line)
        if data:
            _become(line, data, fds)
    finally:
        os._exit(0)


def _become(line: socket.socket, data: bytes, fds: "list[int]") -> NoReturn:
    fields = json.loads(data)
    fields["filter"] = a2b_base64(fields["filter"])
    process.prctl(process.PR_SET_PDEATHSIG, 0)
    process.unshare(process.CLONE_NEWNS)
    streams = 0 if -1 in fields["stdio"] else 3
    line, fds = arrange(line, fds, first=3 - streams)
    Birth(Recipe(**{**fields, "stdio": tuple(fields["stdio"])}), early=line).life()


def arrange(line: socket.socket, fds: "list[int]", first: int = 0) -> "tuple[socket.socket, list[int]]":
    """Received descriptors get the numbers from `first` on, whatever has them now; ours move out of their way."""
    above = 64 + len(fds)
    moved = os.dup2(line.fileno(), above, inheritable=False)
    line.close()
    spare = [os.dup2(fd, above + 1 + place, inheritable=False) for place, fd in enumerate(fds)]
    for fd in fds:
        os.close(fd)
    for number, fd in enumerate(spare, first):
        os.dup2(fd, number)
        os.close(fd)
    return socket.socket(fileno=moved), list(range(first, first + len(fds)))


def memory() -> "list[tuple[int, int, int]]":
    """(address, length, advice) of every private mapping, from proc_pid_maps(5): what a fork shares must be copied on its
    first write, and what it forgets be found again."""
    found = []
    with open("/proc/self/maps") as file:
        for row in file:
            place, rights, *rest = row.split()
            if rights[3] != "p" or (len(rest) > 3 and rest[3].startswith("[v")):
                continue
            start, end = (int(number, 16) for number in place.split("-"))
            if rights[1] == "w":
                found.append((start, end - start, _POPULATE_WRITE))
            elif rights[0] == "r":
                found.append((start, end - start, _POPULATE_READ))
    return found


def populate(ranges: "list[tuple[int, int, int]]") -> None:
    """Before somebody waits for it. What the kernel does not do is no loss."""
    for start, length, advice in ranges:
        libc.madvise(ctypes.c_ulong(start), ctypes.c_ulong(length), advice)
