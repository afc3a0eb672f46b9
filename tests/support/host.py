"""What knarr could leave on a host, read from the host itself: the ground truth of "nothing is left"."""

import contextlib
import fcntl
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def mounts(under: Iterable[str]) -> set[str]:
    """Mount points below any of the directories `under`, from mountinfo."""
    roots = tuple(str(root).rstrip("/") + "/" for root in under)
    points = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return {point for point in points if (point + "/").startswith(roots)}


def links() -> set[str]:
    """The names of all network devices of this namespace."""
    return set(os.listdir("/sys/class/net"))


def cgroups(name: str) -> set[str]:
    """Every cgroup below a parent called `name`, in any hierarchy."""
    found = set()
    for parent in [CGROUP / name, *CGROUP.glob(f"*/{name}")]:
        found |= {str(Path(where)) for where, _, _ in os.walk(parent) if Path(where) != parent}
    return found


def processes() -> dict[int, str]:
    """pid → command line of every process but kernel threads and zombies."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            command = (
                Path(f"/proc/{entry}/cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode(errors="replace")
                .strip()
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
        if command:
            found[int(entry)] = command
    return found


def comm(pid: int) -> str:
    """What a process calls itself; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def shims() -> set[int]:
    """The pids of all shims in this network namespace, whoever's they are."""
    ours, found = os.readlink("/proc/self/ns/net"), set()
    for pid in processes():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if comm(pid) == "knarr-shim" and os.readlink(f"/proc/{pid}/ns/net") == ours:
                found.add(pid)
    return found


def descendants(pid: int) -> set[int]:
    """The pids of `pid`'s children, their children, and so on."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(entry))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def network_namespaces(pid: int) -> set[str]:
    """Those that a process holds by descriptors and is not in itself."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return {link for link in found if link.startswith("net:")} - {os.readlink(f"/proc/{pid}/ns/net")}


@contextlib.contextmanager
def cgroups_alone() -> Iterator[None]:
    """Nobody else here uses what has one name for all of the host: the parents that other engines give their cgroups."""
    fd = os.open(CGROUP, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def nft(*arguments: str) -> str:
    """The output of `nft`; empty where the table does not exist."""
    return subprocess.run(["nft", *arguments], check=False, capture_output=True, text=True).stdout


def files(under: Path) -> set[str]:
    """Every path below a directory, relative to it."""
    found = set()
    for where, directories, names in os.walk(under):
        found |= {os.path.relpath(os.path.join(where, name), under) for name in (*directories, *names)}
    return found


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Waits until `condition()` is true; fails naming `what` when it stays false."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def settle(left: Callable[[], object], seconds: float = 30) -> None:
    """Waits until `left()` is empty, and fails showing what it still holds when it never is."""
    deadline = time.monotonic() + seconds
    while remains := left():
        assert time.monotonic() < deadline, f"left on the host: {remains}"
        time.sleep(0.05)


def fetch(address: str, port: int, seconds: float = 60) -> str:
    """The body that an HTTP server answers with; tries again until it listens."""
    answer = ""

    def answered() -> bool:
        nonlocal answer
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=3) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            data = b""
            while chunk := sock.recv(65536):
                data += chunk
            answer = data.partition(b"\r\n\r\n")[2].decode()
        return bool(answer)

    wait_for(answered, f"an answer from {address}:{port}", seconds)
    return answer
