"""The compiler against libseccomp, and against the behaviour that Docker's profile promises."""

import ctypes
import ctypes.util
import random
import struct
import tempfile

import pytest

from knarr.model.errors import Invalid, Unsupported
from knarr.runtime.seccomp import compiler
from knarr.runtime.seccomp.profile import default_profile, read_profile

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0
AUDIT = {"x86_64": 0xC000003E, "x86": 0x40000003, "x32": 0xC000003E, "aarch64": 0xC00000B7, "arm": 0x40000028}
DOCKER_CAPS = ("CAP_CHOWN", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_NET_RAW")


def run(program: bytes, number: int, arch: int, args: tuple[int, ...] = ()) -> int:
    """Interprets a filter as the kernel does."""
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0, *(args + (0,) * 6)[:6])
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator: int = 0
    at = 0
    while True:
        operation, yes, no, value = code[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x06:
            return int(value)
        elif operation == 0x05:
            at += value
        elif operation == 0x15:
            at += yes if accumulator == value else no
        elif operation == 0x25:
            at += yes if accumulator > value else no
        elif operation == 0x35:
            at += yes if accumulator >= value else no
        else:
            raise AssertionError(hex(operation))


def call(program: bytes, name: str, *args: int, arch: str = "x86_64") -> int:
    number = compiler.tables()[arch][name] | (0x40000000 if arch == "x32" else 0)
    return run(program, number, AUDIT[arch], args)


@pytest.fixture(scope="module")
def docker() -> bytes:
    return compiler.compile_default(DOCKER_CAPS, "x86_64", (6, 1))


def test_the_default_profile_allows_everyday_calls(docker: bytes) -> None:
    for name in ("read", "write", "openat", "execve", "futex", "epoll_wait", "chroot", "ptrace", "mseal"):
        assert call(docker, name) == ALLOW, name


def test_the_default_profile_refuses_what_reaches_the_host(docker: bytes) -> None:
    for name in ("mount", "unshare", "setns", "bpf", "keyctl", "reboot", "init_module", "open_by_handle_at"):
        assert call(docker, name) == EPERM, name


def test_clone_is_judged_by_its_flags_and_clone3_falls_back(docker: bytes) -> None:
    assert call(docker, "clone", 0x01200011) == ALLOW
    assert call(docker, "clone", 0x10000000) == EPERM
    assert call(docker, "clone3") == ENOSYS


def test_socket_families(docker: bytes) -> None:
    assert [call(docker, "socket", family) for family in (1, 2, 38, 39, 40, 41)] == [
        ALLOW,
        ALLOW,
        EPERM,
        ALLOW,
        EPERM,
        ALLOW,
    ]


def test_sys_admin_opens_what_needs_it() -> None:
    program = compiler.compile_default(("CAP_SYS_ADMIN",), "x86_64", (6, 1))
    assert call(program, "mount") == call(program, "clone3") == call(program, "unshare") == ALLOW
    assert call(program, "clone", 0x10000000) == ALLOW


def test_calls_newer_than_the_profile_do_not_exist(docker: bytes) -> None:
    assert run(docker, 500, AUDIT["x86_64"]) == ENOSYS
    assert run(docker, 0x40000000 | 600, AUDIT["x86_64"]) == ENOSYS


def test_a_foreign_architecture_is_killed(docker: bytes) -> None:
    assert run(docker, 0, AUDIT["aarch64"]) == KILL


def test_an_old_kernel_gets_no_ptrace() -> None:
    program = compiler.compile_default(DOCKER_CAPS, "x86_64", (4, 4))
    assert call(program, "ptrace") == EPERM


def test_arm_has_its_own_table() -> None:
    program = compiler.compile_default(DOCKER_CAPS, "aarch64", (6, 1))
    assert call(program, "read", arch="aarch64") == call(program, "read", arch="arm") == ALLOW
    assert call(program, "cacheflush", arch="arm") == ALLOW
    assert call(program, "mount", arch="aarch64") == EPERM


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("EQ", 5, {4: 0, 5: 1, 6: 0, 5 + (1 << 32): 0}),
        ("NE", 5, {4: 1, 5: 0, 5 + (1 << 32): 1}),
        ("LT", 1 << 33, {0: 1, (1 << 33) - 1: 1, 1 << 33: 0, 1 << 34: 0}),
        ("LE", 5, {5: 1, 6: 0, 1 << 40: 0}),
        ("GE", (1 << 32) + 7, {7: 0, (1 << 32) + 6: 0, (1 << 32) + 7: 1, 1 << 33: 1}),
        ("GT", 5, {5: 0, 6: 1, 1 << 32: 1}),
    ],
)
def test_comparisons_are_of_64_bits(operator: str, value: int, expected: dict[int, int]) -> None:
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {
                "names": ["read"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 2, "value": value, "op": f"SCMP_CMP_{operator}"}],
            }
        ],
    }
    program = compiler.compile_profile(document, (), "x86_64", (6, 1))
    assert {arg: int(call(program, "read", 0, 0, arg) == ALLOW) for arg in expected} == expected


def test_two_arguments_must_both_hold_and_one_compared_twice_is_an_alternative() -> None:
    def argument(index: int, value: int) -> dict[str, object]:
        return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}

    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 13,
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [argument(0, 1), argument(1, 2)]},
            {"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [argument(0, 1), argument(0, 2)]},
        ],
    }
    program = compiler.compile_profile(document, (), "x86_64", (6, 1))
    assert call(program, "read", 1, 2) == ALLOW
    assert call(program, "read", 1, 3) == 0x0005000D
    assert [call(program, "write", fd) == ALLOW for fd in (1, 2, 3)] == [True, True, False]


def test_a_profile_that_allows_by_default_does_not_hide_new_calls() -> None:
    document = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}],
    }
    program = compiler.compile_profile(document, (), "x86_64", (6, 1))
    assert run(program, 900, AUDIT["x86_64"]) == ALLOW
    assert call(program, "mkdir") == EPERM


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"defaultAction": "SCMP_ACT_NOTIFY"},
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"}],
        },
        {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 3},
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 3}],
        },
        {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_MOON"]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"]}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": 3},
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "args": [{}]}],
        },
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {
                    "names": ["read"],
                    "action": "SCMP_ACT_KILL",
                    "args": [{"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}],
                }
            ],
        },
    ],
)
def test_malformed_profiles_are_invalid(document: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="seccomp"):
        compiler.compile_profile(document, (), "x86_64", (6, 1))


def test_an_unknown_machine_and_an_endless_profile_are_refused() -> None:
    with pytest.raises(Invalid):
        compiler.compile_default((), "vax", (6, 1))
    arguments = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in range(3000)]
    document = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "args": arguments}],
    }
    with pytest.raises(Unsupported, match="instructions"):
        compiler.compile_profile(document, (), "x86_64", (6, 1))


def libseccomp(caps: tuple[str, ...]) -> bytes:
    """The same rules, compiled by libseccomp."""
    lib = ctypes.CDLL("libseccomp.so.2")
    lib.seccomp_init.restype = ctypes.c_void_p
    profile = read_profile(default_profile(), caps, "x86_64", (6, 1))
    operators = ("", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")

    class Compare(ctypes.Structure):
        _fields_ = (
            ("arg", ctypes.c_uint),
            ("op", ctypes.c_int),
            ("a", ctypes.c_uint64),
            ("b", ctypes.c_uint64),
        )

    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(profile.default)))
    for token in (0x40000003, 0x4000003E):
        assert lib.seccomp_arch_add(context, ctypes.c_uint32(token)) == 0
    for rule in profile.rules:
        compares = (Compare * 6)(
            *[Compare(c.argument, operators.index(c.operator), c.value, c.other) for c in rule.conditions]
        )
        for name in rule.names:
            number = lib.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                continue
            lib.seccomp_rule_add_array(
                context, ctypes.c_uint32(rule.action), number, len(rule.conditions), compares
            )
    with tempfile.TemporaryFile() as file:
        assert lib.seccomp_export_bpf(context, file.fileno()) == 0
        lib.seccomp_release(context)
        file.seek(0)
        return file.read()


@pytest.mark.skipif(not ctypes.util.find_library("seccomp"), reason="libseccomp2 is not installed")
@pytest.mark.parametrize("caps", [DOCKER_CAPS, ("CAP_SYS_ADMIN", "CAP_BPF", "CAP_SYS_NICE")])
def test_it_agrees_with_libseccomp(caps: tuple[str, ...]) -> None:
    """Every call that libseccomp knows, with chosen and random arguments, on the three ABIs of x86-64."""
    ours, theirs = compiler.compile_default(caps, "x86_64", (6, 1)), libseccomp(caps)
    lib = ctypes.CDLL("libseccomp.so.2")
    chance = random.Random(1)
    for arch, token in (("x86_64", 0xC000003E), ("x86", 0x40000003), ("x32", 0x4000003E)):
        for name in compiler.tables()[arch]:
            if lib.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(token), name.encode()) < 0:
                continue
            for first in (0, 8, 38, 39, 40, 41, 0x7E020000, 0x10000000, 0xFFFFFFFF, chance.getrandbits(32)):
                args = (first, chance.getrandbits(32))
                number = compiler.tables()[arch][name] | (0x40000000 if arch == "x32" else 0)
                mine = run(ours, number, AUDIT[arch], args)
                assert mine == run(theirs, number, AUDIT[arch], args), (arch, name, args)


def test_the_program_is_short_enough_to_load_fast(docker: bytes) -> None:
    assert len(docker) // 8 < 1000


def test_an_agent_is_asked() -> None:
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_RISCV64"],
        "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"},
            {"names": ["rmdir"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 7},
        ],
    }
    program = compiler.compile_profile(document, (), "x86_64", (6, 1))
    assert call(program, "mkdir") == 0x7FC00000
    assert call(program, "rmdir") == EPERM
    assert call(program, "read") == 0x7FF00007
    assert call(program, "open") == 0x00050026
