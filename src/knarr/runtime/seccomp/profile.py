"""A profile as Docker writes it becomes rules: pure.

Docker's form has `includes` and `excludes` (capabilities, architectures, kernel version) on each entry and an `archMap`;
the OCI form has `architectures` and no conditions. Both are read. Facts: moby/profiles seccomp, runtime-spec
config-linux.md "Seccomp".
"""

import json
import os
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, NamedTuple

from knarr.kernel.files import read_text
from knarr.model.errors import Invalid
from knarr.runtime.plan_seccomp import NOTIFY

_ALLOW, _LOG, _TRACE, _NOTIFY = 0x7FFF0000, 0x7FFC0000, 0x7FF00000, 0x7FC00000
_ERRNO, _TRAP = 0x00050000, 0x00030000
KILL_THREAD, KILL_PROCESS = 0x00000000, 0x80000000
ACTIONS = {
    "SCMP_ACT_ALLOW": _ALLOW,
    "SCMP_ACT_LOG": _LOG,
    "SCMP_ACT_TRACE": _TRACE,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_TRAP": _TRAP,
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    NOTIFY: _NOTIFY,
}
OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
_EPERM = 1

_MACHINES = {"x86_64": ("x86_64", "amd64"), "aarch64": ("aarch64", "arm64")}
_SCMP = {
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X86": "x86",
    "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_ARM": "arm",
}
_FOREIGN = [
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PPC",
    "PPC64",
    "PPC64LE",
    "S390",
    "S390X",
    "PARISC",
    "PARISC64",
    "RISCV64",
    "LOONGARCH64",
    "M68K",
    "SH",
    "SHEB",
]
ARCHITECTURES = (*_SCMP, *(f"SCMP_ARCH_{name}" for name in _FOREIGN))
"""Those without a table of ours never run here: no call of theirs can come."""


class Condition(NamedTuple):
    """A comparison of one argument; for MASKED_EQ `value` is the mask and `other` what must remain."""

    argument: int
    operator: str
    value: int
    other: int = 0


class Rule(NamedTuple):
    """System calls by name, what is done with them, and the conditions that must all hold."""

    names: tuple[str, ...]
    action: int
    conditions: tuple[Condition, ...] = ()


class Profile(NamedTuple):
    """What the compiler is given: `architectures` by our table's names, the machine's own first."""

    default: int
    architectures: tuple[str, ...]
    rules: tuple[Rule, ...]


@cache
def default_profile() -> Mapping[str, Any]:
    """Docker's default profile, in Docker's form."""
    text = read_text(f"{os.path.dirname(__file__)}/default.json")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def read_profile(
    document: Mapping[str, Any], capabilities: Collection[str], machine: str, kernel: tuple[int, int]
) -> Profile:
    """The rules that apply with these bounding `capabilities` on this machine (`uname -m`) and kernel. Raises Invalid."""
    if machine not in _MACHINES:
        raise Invalid(f"seccomp: no system call table for {machine}")
    native, docker_name = _MACHINES[machine]
    try:
        _refuse_deaf(document)
        otherwise = document.get("defaultAction", "")
        default = _action(otherwise, _own_errno(document, "defaultErrnoRet", otherwise))
        rules = [
            rule
            for entry in document.get("syscalls") or ()
            if _applies(entry, capabilities, docker_name, kernel)
            for rule in _rules(entry)
        ]
        return Profile(default, _architectures(document, native), tuple(rules))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Invalid(f"seccomp: malformed profile: {error!r}") from None


def _refuse_deaf(document: Mapping[str, Any]) -> None:
    """The descriptor that the agent needs is told by write(2)."""
    if document.get("defaultAction") == NOTIFY:
        raise Invalid("seccomp: SCMP_ACT_NOTIFY cannot be used as default action")
    for entry in document.get("syscalls") or ():
        if entry.get("action") == NOTIFY and "write" in (entry.get("names") or (entry.get("name"),)):
            raise Invalid("seccomp: SCMP_ACT_NOTIFY cannot be used for the write syscall")


def _action(name: str, errno: int | None) -> int:
    if name not in ACTIONS:
        raise Invalid(f"seccomp: action {name!r} is not supported")
    action = ACTIONS[name]
    return action | ((_EPERM if errno is None else errno) & 0xFFFF) if action in (_ERRNO, _TRACE) else action


def _own_errno(entry: Mapping[str, Any], key: str, action: str) -> int | None:
    """An errno that is asked for belongs to an action that returns one."""
    errno: int | None = entry.get(key)
    if errno is not None and ACTIONS.get(action) not in (_ERRNO, _TRACE):
        raise Invalid(f"seccomp: {key} is set, but {action} returns no errno")
    return errno


def _architectures(document: Mapping[str, Any], native: str) -> tuple[str, ...]:
    named = list(document.get("architectures") or ())
    for name in named:
        if name not in ARCHITECTURES:
            raise Invalid(f"seccomp: architecture {name!r} is not known")
    for entry in document.get("archMap") or ():
        if _SCMP.get(entry["architecture"]) == native:
            named += entry.get("subArchitectures") or ()
    others = [_SCMP[name] for name in named if name in _SCMP and _SCMP[name] != native]
    return tuple(dict.fromkeys([native, *others]))


def _applies(
    entry: Mapping[str, Any], capabilities: Collection[str], architecture: str, kernel: tuple[int, int]
) -> bool:
    wanted, refused = entry.get("includes") or {}, entry.get("excludes") or {}
    return not (
        (wanted.get("arches") and architecture not in wanted["arches"])
        or (wanted.get("caps") and not any(cap in capabilities for cap in wanted["caps"]))
        or (wanted.get("minKernel") and kernel < _version(wanted["minKernel"]))
        or architecture in (refused.get("arches") or ())
        or any(cap in capabilities for cap in refused.get("caps") or ())
        or (refused.get("minKernel") and kernel >= _version(refused["minKernel"]))
    )


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor.partition(".")[0] or 0)


def _rules(entry: Mapping[str, Any]) -> list[Rule]:
    """Usually one; several where one argument is compared twice, which runc and Docker read as alternatives."""
    errno = _own_errno(entry, "errnoRet", entry["action"])
    action = _action(entry["action"], errno)
    names = tuple(entry.get("names") or (entry["name"],))
    conditions = tuple(_condition(argument) for argument in entry.get("args") or ())
    if len({condition.argument for condition in conditions}) < len(conditions):
        return [Rule(names, action, (condition,)) for condition in conditions]
    return [Rule(names, action, conditions)]


def _condition(argument: Mapping[str, Any]) -> Condition:
    operator = str(argument["op"]).removeprefix("SCMP_CMP_")
    if operator not in OPERATORS:
        raise Invalid(f"seccomp: operator {argument['op']!r} is not known")
    index = int(argument["index"])
    if not 0 <= index < 6:
        raise Invalid(f"seccomp: a system call has no argument {index}")
    mask = (1 << 64) - 1
    return Condition(
        index, operator, int(argument["value"]) & mask, int(argument.get("valueTwo") or 0) & mask
    )
