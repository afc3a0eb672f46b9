"""The two daemons, side by side, with the same image; each on its own everything.

What lives with the boot (the exec roots, containerd's state) is on a tmpfs, as /run is.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemons import Daemon, Dockerd, Knarrd, busybox_tar

from bench.client import Client


@dataclass(frozen=True)
class Side:
    """One daemon and a connection to it."""

    daemon: Daemon
    client: Client

    @property
    def name(self) -> str:
        """knarrd or dockerd."""
        return self.daemon.name


@dataclass(frozen=True)
class Sides:
    """Both, and the docker CLI that speaks to both."""

    docker: Side
    knarr: Side
    program: str = "docker"

    @property
    def both(self) -> tuple[Side, Side]:
        """In the order of the table's columns."""
        return self.docker, self.knarr


@contextlib.contextmanager
def started(program: str = "docker") -> Iterator[Sides]:
    """Both daemons with `busybox:latest`, ended at the end."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="knarr-bench-")))
        image = busybox_tar(directory)
        docker = Dockerd("ktbdock0", "10.233.4.0/22", state=_state())
        knarr = Knarrd("ktbknarr0", "10.233.0.0/22", state=_state())
        yield Sides(_start(stack, docker, image), _start(stack, knarr, image), program)


def _state() -> Path:
    return Path(
        tempfile.mkdtemp(prefix="knarr-bench-", dir="/dev/shm" if os.path.ismount("/dev/shm") else None)
    )


def _start(stack: contextlib.ExitStack, daemon: Daemon, image: Path) -> Side:
    stack.callback(daemon.close)
    daemon.start()
    daemon.give_busybox(image)
    return Side(daemon, stack.enter_context(Client(daemon.socket)))
