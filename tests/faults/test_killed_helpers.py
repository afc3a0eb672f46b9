"""The zygote and a shim are killed: the next run works, and a container whose shim is gone is dead, not lost."""

import os
import signal
from pathlib import Path

from tests.support import host
from tests.support.daemons import Knarrd
from tests.support.remains import remains


def parent(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def called(daemon: Knarrd, comm: str) -> set[int]:
    """The daemon's processes of this name."""
    return {pid for pid in daemon.pids if host.comm(pid) == comm}


def test_after_the_zygote_died_the_next_run_works(daemon: Knarrd) -> None:
    daemon.docker("run", "-d", "--name", "before", "busybox", "sleep", "100000")
    (zygote,) = [pid for pid in called(daemon, "knarr-zygote") if parent(pid) == daemon.process.pid]
    os.kill(zygote, signal.SIGKILL)
    assert daemon.docker("run", "--rm", "busybox", "echo", "after").stdout == "after\n"
    assert zygote not in called(daemon, "knarr-zygote")
    assert daemon.docker("exec", "before", "echo", "still here").stdout == "still here\n"
    daemon.docker("rm", "-f", "before")
    host.settle(lambda: remains(daemon))


def test_a_container_without_its_shim_is_dead_and_leaves_nothing(daemon: Knarrd) -> None:
    daemon.docker("run", "-d", "--name", "lost", "-p", "127.0.0.1::80", "busybox", "sleep", "100000")
    pid = int(daemon.docker("inspect", "-f", "{{.State.Pid}}", "lost").stdout)
    os.kill(parent(pid), signal.SIGKILL)
    assert daemon.docker("wait", "lost").stdout == "137\n"
    assert (
        daemon.docker("inspect", "-f", "{{.State.Running}} {{.State.ExitCode}}", "lost").stdout
        == "false 137\n"
    )
    host.settle(lambda: remains(daemon).keys() & {"processes", "cgroups", "veths", "elements", "namespaces"})
    daemon.docker("start", "lost")
    assert daemon.docker("exec", "lost", "echo", "again").stdout == "again\n"
    daemon.docker("rm", "-f", "lost")
    host.settle(lambda: remains(daemon))


def test_a_shim_that_died_while_no_daemon_ran_is_noticed(daemon: Knarrd) -> None:
    daemon.docker("run", "-d", "--name", "lost", "-p", "127.0.0.1::80", "busybox", "sleep", "100000")
    pid = int(daemon.docker("inspect", "-f", "{{.State.Pid}}", "lost").stdout)
    shim = parent(pid)
    daemon.kill()
    os.kill(shim, signal.SIGKILL)
    host.wait_for(lambda: shim not in host.processes(), "the shim is gone")
    daemon.start()
    assert daemon.docker("inspect", "-f", "{{.State.Running}}", "lost").stdout == "false\n"
    daemon.docker("rm", "lost")
    host.settle(lambda: remains(daemon))
