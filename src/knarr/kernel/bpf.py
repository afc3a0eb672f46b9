"""bpf(2), only as far as device rules of cgroup v2 need it (BPF_PROG_TYPE_CGROUP_DEVICE).

The program reads struct bpf_cgroup_dev_ctx {access_type: access << 16 | type, major, minor} and returns 1 to allow. Each of
read, write and mknod is decided by the last rule that is about it and the device; what no rule is about is refused.
"""

import ctypes
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from knarr.kernel import numbers
from knarr.kernel.libc import syscall

PROG_LOAD = 5
PROG_ATTACH = 8
PROG_TYPE_CGROUP_DEVICE = 15
CGROUP_DEVICE = 6
ATTACH_ALLOW_MULTI = 2

_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL = 7
_TYPE = {"b": 1, "c": 2, "u": 2}


def _instruction(code: int, dst: int = 0, src: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", code, src << 4 | dst, offset, immediate)


def device_program(rules: Sequence[Mapping[str, Any]]) -> bytes:
    """OCI device rules as BPF instructions. Pure. Raises ValueError for a type that has no rules."""
    out = [
        _instruction(0x61, 2, 1, 0),  # r2 = ctx.access_type
        _instruction(0xBC, 3, 2),  # w3 = w2
        _instruction(0x54, 2, 0, 0, 0xFFFF),  # w2 &= 0xffff: the type
        _instruction(0x74, 3, 0, 0, 16),  # w3 >>= 16: the access that no rule has decided on yet
        _instruction(0x61, 4, 1, 4),  # r4 = ctx.major
        _instruction(0x61, 5, 1, 8),  # r5 = ctx.minor
    ]
    for rule in reversed(rules):
        tests = _tests(rule)
        access = sum(_ACCESS.get(letter, 0) for letter in set(rule.get("access") or "rwm"))
        if not access:
            continue
        verdict = _allow(access) if rule.get("allow") else _refuse(access)
        for number, (register, value) in enumerate(tests, 1):
            past = len(tests) - number + len(verdict)
            out.append(_instruction(0x55, register, 0, past, value))
        out += verdict
        if not tests and access == _ALL:
            # Decides everything; the verifier refuses instructions that nothing leads to ("unreachable insn").
            return b"".join(out)
    out += _return(0)
    return b"".join(out)


def _tests(rule: Mapping[str, Any]) -> list[tuple[int, int]]:
    """(register, value) that must be equal for the rule to be about the device."""
    tests = []
    kind = rule.get("type") or "a"
    if kind not in ("a", *_TYPE):
        raise ValueError(f"no cgroup has rules for devices of type {kind!r}")
    if kind != "a":
        tests.append((2, _TYPE[kind]))
    for register, key in ((4, "major"), (5, "minor")):
        number = rule.get(key)
        if number is not None and number >= 0:
            tests.append((register, number))
    return tests


def _allow(access: int) -> list[bytes]:
    if access == _ALL:
        return _return(1)
    return [
        _instruction(0x54, 3, 0, 0, _ALL & ~access),  # w3 &= what the rule does not grant
        _instruction(0x55, 3, 0, 2, 0),  # go on if anything is left
        *_return(1),
    ]


def _refuse(access: int) -> list[bytes]:
    if access == _ALL:
        return _return(0)
    return [
        _instruction(0xBC, 1, 3),  # w1 = w3
        _instruction(0x54, 1, 0, 0, access),  # w1 &= what the rule refuses
        _instruction(0x15, 1, 0, 2, 0),  # go on if none of it is asked for
        *_return(0),
    ]


def _return(value: int) -> list[bytes]:
    return [_instruction(0xB7, 0, 0, 0, value), _instruction(0x95)]


def attach_devices(cgroup_fd: int, rules: Sequence[Mapping[str, Any]]) -> None:
    """Loads the program of `rules` and attaches it to a v2 cgroup; it lives as long as the cgroup.

    Every attached program must allow an access: a second call can only take more away.
    """
    fd = _load(device_program(rules))
    try:
        attach = struct.pack("=IIII", cgroup_fd, fd, CGROUP_DEVICE, ATTACH_ALLOW_MULTI)
        syscall(numbers.BPF, PROG_ATTACH, ctypes.create_string_buffer(attach, len(attach)), len(attach))
    finally:
        os.close(fd)


def _load(program: bytes) -> int:
    """A log is asked for only after a refusal: one that does not fit its buffer is itself a refusal (ENOSPC)."""
    try:
        return _prog_load(program, None)
    except OSError as error:
        log = ctypes.create_string_buffer(65536)
        try:
            return _prog_load(program, log)
        except OSError:
            said = log.value.decode(errors="replace").strip()
            raise OSError(
                error.errno, f"the kernel refused the device program: {error.strerror} {said}".rstrip()
            ) from None


def _prog_load(program: bytes, log: "ctypes.Array[ctypes.c_char] | None") -> int:
    instructions = ctypes.create_string_buffer(program, len(program))
    license_ = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "=IIQQIIQI",
        PROG_TYPE_CGROUP_DEVICE,
        len(program) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(license_),
        1 if log else 0,
        len(log) if log else 0,
        ctypes.addressof(log) if log else 0,
        0,
    )
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return syscall(numbers.BPF, PROG_LOAD, buffer, len(attributes))
