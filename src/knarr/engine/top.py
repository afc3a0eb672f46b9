"""The table of a container's processes, as ps(1) on the host would print it; `-ef` is read from /proc(5) here."""

import asyncio
import os
import pwd
import shlex
import time
from collections.abc import Collection

from knarr.engine.values import Processes
from knarr.loop.blocking import blocking
from knarr.model.errors import Invalid, KnarrError, Unsupported

_TITLES = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")


class PsFailed(KnarrError):
    """ps(1) did not like its arguments."""


async def processes(pids: Collection[int], arguments: str) -> Processes:
    """Raises Invalid, PsFailed, Unsupported."""
    try:
        words = shlex.split(arguments) or ["-ef"]
    except ValueError as error:
        raise Invalid(f"cannot read ps arguments: {error}") from error
    if words == ["-ef"]:
        return await blocking(_read, sorted(pids))
    return _select(await _ps(words), pids)


async def _ps(words: list[str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            "ps", *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except FileNotFoundError:
        raise Unsupported("top with ps arguments needs ps(1): install the package procps") from None
    out, error = await process.communicate()
    if process.returncode != 0:
        first = (error or out).decode(errors="replace").strip().partition("\n")[0]
        raise PsFailed(f"ps: {first}")
    return out.decode(errors="replace")


def _select(text: str, pids: Collection[int]) -> Processes:
    """The lines whose PID is the container's; the last column may hold spaces."""
    head, *lines = text.splitlines() or [""]
    titles = head.split()
    if "PID" not in titles:
        raise Invalid("Couldn't find PID field in ps output")
    column = titles.index("PID")
    found = []
    for line in lines:
        cells = line.split(None, len(titles) - 1)
        if len(cells) > column and cells[column].isdigit() and int(cells[column]) in pids:
            found.append(tuple(cells))
    return Processes(tuple(titles), tuple(found))


def _read(pids: list[int]) -> Processes:
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    ticks = os.sysconf("SC_CLK_TCK")
    rows = []
    for pid in pids:
        try:
            rows.append(_row(pid, boot, ticks))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return Processes(_TITLES, tuple(rows))


def _row(pid: int, boot: float, ticks: int) -> tuple[str, ...]:
    """proc_pid_stat(5): the command's name ends with the last parenthesis."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        text = file.read().decode(errors="replace")
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        command = file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    used = (int(fields[11]) + int(fields[12])) / ticks
    started = boot + int(fields[19]) / ticks
    lived = max(time.time() - started, 0.01)
    return (
        _user(os.stat(f"/proc/{pid}").st_uid),
        str(pid),
        fields[1],
        str(min(int(used * 100 / lived), 99)),
        _start(started),
        _terminal(int(fields[4])),
        time.strftime("%H:%M:%S", time.gmtime(int(used))),
        command or f"[{name}]",
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _start(moment: float) -> str:
    then, today = time.localtime(moment), time.localtime()
    same = (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M" if same else "%b%d", then)


def _terminal(number: int) -> str:
    """Unix98 pseudo-terminals have majors 136 to 143 (Documentation/admin-guide/devices.txt)."""
    major, minor = os.major(number), os.minor(number)
    if 136 <= major <= 143:
        return f"pts/{(major - 136) * 256 + minor}"
    return "?" if number == 0 else f"tty{minor}"
