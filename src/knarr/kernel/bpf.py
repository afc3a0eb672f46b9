"""bpf(2), only as far as device rules of cgroup v2 need it (BPF_PROG_TYPE_CGROUP_DEVICE).

The program reads struct bpf_cgroup_dev_ctx {access_type: access << 16 | type, major, minor} and returns 1 to allow. Rules
are tried from the last to the first, as the last match wins on version 1; nothing matching is refused.
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
_TYPE = {"b": 1, "c": 2}


def _instruction(code: int, dst: int = 0, src: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", code, src << 4 | dst, offset, immediate)


def device_program(rules: Sequence[Mapping[str, Any]]) -> bytes:
    """OCI device rules as BPF instructions. Pure."""
    out = [
        _instruction(0x61, 2, 1, 0),  # r2 = ctx.access_type
        _instruction(0xBC, 3, 2),  # w3 = w2
        _instruction(0x54, 2, 0, 0, 0xFFFF),  # w2 &= 0xffff: the type
        _instruction(0x74, 3, 0, 0, 16),  # w3 >>= 16: the access
        _instruction(0x61, 4, 1, 4),  # r4 = ctx.major
        _instruction(0x61, 5, 1, 8),  # r5 = ctx.minor
    ]
    for rule in reversed(rules):
        out += _rule(rule)
    out += [_instruction(0xB7, 0, 0, 0, 0), _instruction(0x95)]
    return b"".join(out)


def _rule(rule: Mapping[str, Any]) -> list[bytes]:
    """Tests that jump past the rule's two last instructions, "r0 = allow; exit", where they do not match."""
    tests: list[tuple[int, int, int]] = []  # (jump code when it does not match, register, value)
    kind = rule.get("type") or "a"
    if kind != "a":
        tests.append((0x55, 2, _TYPE[kind]))
    for register, key in ((4, "major"), (5, "minor")):
        number = rule.get(key)
        if number is not None and number >= 0:
            tests.append((0x55, register, number))
    access = sum(_ACCESS[letter] for letter in set(rule.get("access") or "rwm"))
    body: list[bytes] = []
    if access != 7:
        # w1 = w3 & access; no match unless w1 == w3: everything asked for must be in the rule.
        body += [_instruction(0xBC, 1, 3), _instruction(0x54, 1, 0, 0, access)]
    remaining = len(tests) + len(body) + (1 if body else 0) + 2
    out = []
    for code, register, value in tests:
        remaining -= 1
        out.append(_instruction(code, register, 0, remaining, value))
    out += body
    if body:
        out.append(_instruction(0x5D, 1, 3, 2))
    out += [_instruction(0xB7, 0, 0, 0, 1 if rule.get("allow") else 0), _instruction(0x95)]
    return out


def attach_devices(cgroup_fd: int, rules: Sequence[Mapping[str, Any]]) -> None:
    """Loads the program of `rules` and attaches it to a v2 cgroup; it lives as long as the cgroup."""
    program = device_program(rules)
    instructions = ctypes.create_string_buffer(program, len(program))
    license_ = ctypes.create_string_buffer(b"Apache-2.0")
    log = ctypes.create_string_buffer(65536)
    attributes = struct.pack(
        "=IIQQIIQI",
        PROG_TYPE_CGROUP_DEVICE,
        len(program) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(license_),
        1,
        len(log),
        ctypes.addressof(log),
        0,
    )
    try:
        fd = syscall(
            numbers.BPF, PROG_LOAD, ctypes.create_string_buffer(attributes, len(attributes)), len(attributes)
        )
    except OSError as error:
        said = log.value.decode(errors="replace").strip()
        raise OSError(
            error.errno, f"the kernel refused the device program: {error.strerror} {said}".rstrip()
        ) from None
    try:
        attach = struct.pack("=IIII", cgroup_fd, fd, CGROUP_DEVICE, ATTACH_ALLOW_MULTI)
        syscall(numbers.BPF, PROG_ATTACH, ctypes.create_string_buffer(attach, len(attach)), len(attach))
    finally:
        os.close(fd)
