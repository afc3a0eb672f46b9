"""The default profile on the real kernel: every rule of it, by doing the system calls."""

import json
import os
from importlib import resources
from typing import Any

import pytest

from knarr.runtime.caps import DEFAULT
from knarr.runtime.seccomp.compiler import tables
from tests.security.conftest import Cell
from tests.security.inside import parsed, python

EPERM, ENOSYS = -1, -38
NEW_NAMESPACES = 0x7E020000
pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are x86-64's")


def profile() -> list[dict[str, Any]]:
    """Docker's rules that hold for x86-64 with the default capabilities."""
    text = resources.files("knarr.runtime.seccomp").joinpath("default.json").read_text()
    found = []
    for rule in json.loads(text)["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if "amd64" not in includes.get("arches", ["amd64"]) or "amd64" in excludes.get("arches", []):
            continue
        if not set(includes.get("caps", [])) <= set(DEFAULT) or set(excludes.get("caps", [])) & set(DEFAULT):
            continue
        found.append(rule)
    return found


def refused() -> dict[str, int]:
    """Every system call that no rule allows, by number. The kernel lets its own probes pass (kernel/seccomp.c)."""
    named = {"uprobe", "uretprobe"} | {name for rule in profile() for name in rule["names"]}
    return {name: number for name, number in tables()["x86_64"].items() if name not in named}


# Harmless where nothing refuses them: each changes the process alone, or fails for its arguments.
REACHING = """
flags = {"unshare": 0x10000000, "setns": -1, "keyctl": 0, "bpf": -1, "userfaultfd": 0, "fsopen": 0, "open_tree": -100,
         "kcmp": os.getpid(), "add_key": 0, "perf_event_open": 0, "io_uring_setup": 0, "pidfd_getfd": -1, "move_mount": -1,
         "mount_setattr": -1, "open_by_handle_at": -1, "process_madvise": -1, "quotactl": -1, "swapon": 0, "umount2": 0}
"""
EACH = """
numbers = json.loads(sys.argv[1])
print(json.dumps({name: call(number, *[flags.get(name, 0), 0, 0, 0, 0, 0]) for name, number in numbers.items()}))
"""


async def test_what_the_profile_does_not_name_is_refused(cell: Cell) -> None:
    numbers = refused()
    assert len(numbers) > 40
    some = {
        name: numbers[name]
        for name in ("unshare", "keyctl", "bpf", "fsopen", "open_tree", "io_uring_setup", "kcmp")
    }
    weak = parsed(await cell.say(*python(REACHING + EACH, json.dumps(some)), seccomp=None))
    assert any(result != EPERM for result in weak.values())
    assert weak["unshare"] == 0, "a user namespace, from which much of the kernel is in reach"
    found = parsed(await cell.say(*python("flags = {}" + EACH, json.dumps(numbers))))
    newest = max(number for name, number in tables()["x86_64"].items() if name not in numbers)
    for name, result in found.items():
        assert result == (EPERM if numbers[name] < newest else ENOSYS), name


FLAGS = """
def child(flags):
    pid = call(56, flags | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)
    return min(pid, 1)
print(json.dumps({
    "clone": {flag: child(flag) for flag in [0, *(1 << bit for bit in range(17, 31) if 0x7E020000 >> bit & 1)]},
    "clone3": call(435, 0, 0),
    "socket": {family: min(call(41, family, 2, 0), 0) for family in (1, 2, 16, 38, 40, 41)},
    "personality": {wish: call(135, wish) for wish in (0xffffffff, 0, 8, 0x20000, 0x20008, 0x40000, 0x400000)},
}))
"""


async def test_arguments_are_judged(cell: Cell) -> None:
    """Namespaces by clone(2) or clone3(2), AF_VSOCK and AF_ALG, and personalities that undo randomisation."""
    weak = parsed(await cell.say(*python(FLAGS), seccomp=None))
    assert weak["clone"][str(0x10000000)] == 1
    assert weak["clone3"] != ENOSYS
    assert weak["personality"][str(0x40000)] >= 0
    found = parsed(await cell.say(*python(FLAGS)))
    assert found["clone"] == {"0": 1, **{name: EPERM for name in weak["clone"] if name != "0"}}
    assert found["clone3"] == ENOSYS
    assert {family: found["socket"][family] for family in ("1", "2", "16", "38", "40")} == {
        "1": 0, "2": 0, "16": 0, "38": EPERM, "40": EPERM,
    }  # fmt: skip
    allowed = {wish for wish, result in found["personality"].items() if result >= 0}
    assert allowed == {str(wish) for wish in (0xFFFFFFFF, 0, 8, 0x20000, 0x20008)}


COMPAT = """
import mmap
# mov eax, 310 (unshare of i386); mov ebx, CLONE_NEWUSER; int 0x80; ret: the other table of numbers
code = bytes.fromhex("53b836010000bb00000010cd805bc3")
place = mmap.mmap(-1, 4096, prot=7)
place.write(code)
run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(place)))
print(json.dumps([run(), call(0x40000000 | 272, 0x10000000)]))
"""


async def test_other_tables_of_numbers_are_no_way_round(cell: Cell) -> None:
    """The calls of i386 and of x32, made from a 64-bit program."""
    weak = parsed(await cell.say(*python(COMPAT), seccomp=None))
    found = parsed(await cell.say(*python(COMPAT)))
    assert weak[0] in (0, ENOSYS)
    assert found[0] in (EPERM, ENOSYS)
    assert found[1] in (EPERM, ENOSYS)
    assert weak[0] != 0 or found[0] == EPERM
