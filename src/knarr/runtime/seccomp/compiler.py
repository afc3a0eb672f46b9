"""Rules become classic BPF (seccomp(2), "struct seccomp_data"): a binary search over number ranges, conditions as leaves.

The program is written backwards: every jump of BPF goes forward, so each target's distance is known when its jump is
written. Conditional jumps reach 255 instructions; a farther target gets a trampoline. Rules of one call are tried in order.
A number above every number that the profile knows gives ENOSYS (not EPERM), as runc does, so that programs fall back.
Not here: the calls inside socketcall(2) and ipc(2) of x86, which a profile must name themselves.
"""

import json
import os
import struct
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from knarr.kernel.files import read_text
from knarr.model.errors import Unsupported
from knarr.runtime.seccomp.profile import KILL_THREAD, Condition, Profile, Rule, default_profile, read_profile

_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05
_EQUAL, _GREATER, _AT_LEAST = 0x15, 0x25, 0x35
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_AUDIT = {"x86_64": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
_X32 = 0x40000000
_NARROW = ("x86", "arm")
_ENOSYS = 0x00050000 | 38
_LENIENT = (0x7FFF0000, 0x7FFC0000, 0x7FF00000)
_LIMIT = 4096

Chain = tuple[tuple[int, tuple[Condition, ...]], ...]


def compile_default(capabilities: Collection[str], machine: str, kernel: tuple[int, int]) -> bytes:
    """Docker's default profile as a program."""
    return compile_profile(default_profile(), capabilities, machine, kernel)


def compile_profile(
    document: Mapping[str, Any], capabilities: Collection[str], machine: str, kernel: tuple[int, int]
) -> bytes:
    """A profile's JSON as an array of struct sock_filter. Raises Invalid, Unsupported (too long)."""
    return assemble(read_profile(document, capabilities, machine, kernel))


def assemble(profile: Profile) -> bytes:
    """The program of a read profile."""
    program = _Program()
    wrong = program.give(KILL_THREAD)
    entries = {name: _body(program, profile, name) for name in profile.architectures if name != "x32"}
    if "x86_64" in entries:
        x32 = _body(program, profile, "x32") if "x32" in profile.architectures else wrong
        plain = program.jump(_AT_LEAST, _X32, x32, entries["x86_64"])
        entries["x86_64"] = program.emit(_LOAD, _NUMBER, plain)
    target = wrong
    for name, entry in reversed(entries.items()):
        target = program.jump(_EQUAL, _AUDIT[name], entry, target)
    program.emit(_LOAD, _ARCHITECTURE, target)
    return program.finish()


@cache
def tables() -> Mapping[str, Mapping[str, int]]:
    """System call numbers: architecture → name → number (x32 without its bit)."""
    parsed: dict[str, dict[str, int]] = json.loads(read_text(f"{os.path.dirname(__file__)}/syscalls.json"))
    return parsed


def _body(program: "_Program", profile: Profile, architecture: str) -> int:
    """The search for one architecture; where the number is still to be loaded it does so itself."""
    bit = _X32 if architecture == "x32" else 0
    chains = _chains(profile.rules, tables()[architecture])
    segments = _segments(chains, profile.default, max(chains, default=0) + 1)
    leaves: dict[Chain, int] = {}
    for _, chain in segments:
        if chain not in leaves:
            leaves[chain] = _leaf(program, chain, profile.default, architecture in _NARROW)
    ends = [(start | bit, leaves[chain]) for start, chain in segments]
    entry = _search(program, ends)
    return entry if architecture in ("x86_64", "x32") else program.emit(_LOAD, _NUMBER, entry)


def _chains(rules: tuple[Rule, ...], table: Mapping[str, int]) -> dict[int, Chain]:
    """number → its alternatives in order, cut after the first without conditions."""
    found: dict[int, list[tuple[int, tuple[Condition, ...]]]] = {}
    for rule in rules:
        for name in rule.names:
            number = table.get(name)
            if number is None:
                continue
            chain = found.setdefault(number, [])
            if not chain or chain[-1][1]:
                chain.append((rule.action, rule.conditions))
    return {number: tuple(chain) for number, chain in found.items()}


def _segments(chains: Mapping[int, Chain], default: int, beyond: int) -> list[tuple[int, Chain]]:
    """The number line cut into ranges of one behaviour: (first number, behaviour)."""
    otherwise: Chain = ((default, ()),)
    segments: list[tuple[int, Chain]] = []
    for number in range(beyond):
        chain = chains.get(number, otherwise)
        if not segments or segments[-1][1] != chain:
            segments.append((number, chain))
    unknown: Chain = otherwise if default & 0xFFFF0000 in _LENIENT else ((_ENOSYS, ()),)
    if not segments or segments[-1][1] != unknown:
        segments.append((beyond, unknown))
    return segments


def _search(program: "_Program", ends: list[tuple[int, int]]) -> int:
    if len(ends) == 1:
        return ends[0][1]
    middle = len(ends) // 2
    high = _search(program, ends[middle:])
    low = _search(program, ends[:middle])
    return program.jump(_AT_LEAST, ends[middle][0], high, low)


def _leaf(program: "_Program", chain: Chain, default: int, narrow: bool) -> int:
    """The alternatives of one call, written from the last to the first; each failed one falls to the next."""
    target = program.give(default)
    for action, conditions in reversed(chain):
        matched = program.give(action)
        failed = target
        for condition in reversed(conditions):
            matched = _compare(program, condition, matched, failed, narrow)
        target = matched
    return target


def _compare(program: "_Program", condition: Condition, yes: int, no: int, narrow: bool) -> int:
    """One 64-bit comparison out of 32-bit words; the accumulator ends undefined. On narrow machines only the low word."""
    index, operator, value, other = condition
    if operator in ("NE", "LT", "LE"):
        operator, yes, no = {"NE": "EQ", "LT": "GE", "LE": "GT"}[operator], no, yes
    low_at, high_at = _ARGUMENTS + 8 * index, _ARGUMENTS + 8 * index + 4
    mask = value if operator == "MASKED_EQ" else None
    wanted = other if mask is not None else value
    low, high = wanted & 0xFFFFFFFF, wanted >> 32
    code = {"EQ": _EQUAL, "MASKED_EQ": _EQUAL, "GE": _AT_LEAST, "GT": _GREATER}[operator]
    target = program.jump(code, low, yes, no)
    if mask is not None:
        target = program.emit(_AND, mask & 0xFFFFFFFF, target)
    target = program.emit(_LOAD, low_at, target)
    if narrow:
        return target
    target = program.jump(_EQUAL, high, target, no)
    if code != _EQUAL:
        target = program.jump(_GREATER, high, yes, target)
    if mask is not None:
        target = program.emit(_AND, mask >> 32, target)
    return program.emit(_LOAD, high_at, target)


class _Program:
    """Instructions from the last to the first; a position counts from the end."""

    def __init__(self) -> None:
        self._reversed: list[tuple[int, int, int, int]] = []
        self._gives: dict[int, int] = {}

    def _append(self, code: int, yes: int, no: int, value: int) -> int:
        self._reversed.append((code, yes, no, value))
        return len(self._reversed) - 1

    def give(self, action: int) -> int:
        """A return of `action`; the last one written is used again while it is near."""
        known = self._gives.get(action)
        if known is None or len(self._reversed) - known > 200:
            known = self._gives[action] = self._append(_RETURN, 0, 0, action)
        return known

    def emit(self, code: int, value: int, following: int) -> int:
        """A plain instruction that goes on at `following`."""
        if following != len(self._reversed) - 1:
            self._append(_JUMP, 0, 0, len(self._reversed) - 1 - following)
        return self._append(code, 0, 0, value)

    def jump(self, code: int, value: int, yes: int, no: int) -> int:
        """A conditional jump."""
        if yes == no:
            return yes
        yes = self._near(yes, reserve=1)
        no = self._near(no, reserve=0)
        here = len(self._reversed)
        return self._append(code, here - 1 - yes, here - 1 - no, value)

    def _near(self, target: int, reserve: int) -> int:
        here = len(self._reversed)
        if here + reserve - 1 - target <= 255:
            return target
        return self._append(_JUMP, 0, 0, here - 1 - target)

    def finish(self) -> bytes:
        """The program in order."""
        if len(self._reversed) > _LIMIT:
            raise Unsupported(
                f"seccomp: the filter has {len(self._reversed)} instructions, at most {_LIMIT} load"
            )
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in reversed(self._reversed))
