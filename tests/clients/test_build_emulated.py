"""Steps of other platforms: by the kernel's handlers (binfmt_misc) where there are any, an error that says so where not."""

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import Daemon

BINFMT = Path("/proc/sys/fs/binfmt_misc")
QEMU = shutil.which("qemu-aarch64-static")
_ARM64, _S390X, _NOTHING = 183, 22, 0xFEBA
_NAME = "knarr-test-arm64"
_MAGIC = rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# write(1, "on arm64\n", 9); exit(0)
_CODE = struct.pack(
    "<8I", 0xD2800020, 0x100000E1, 0xD2800122, 0xD2800808, 0xD4000001, 0xD2800000, 0xD2800BA8, 0xD4000001
)
_TEXT = b"on arm64\n"


def program(machine: int) -> bytes:
    """An ELF file of one segment for a machine."""
    body = _CODE + _TEXT
    base, size = 0x400000, 64 + 56
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, base + size, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    total = size + len(body)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, total, total, 0x1000) + body


@pytest.fixture
def handler() -> Iterator[None]:
    """The kernel gives programs of arm64 to qemu."""
    if QEMU is None:
        pytest.skip("qemu-user-static is not installed")
    mounted = (BINFMT / "register").exists()
    if not mounted:
        subprocess.run(["mount", "-t", "binfmt_misc", "none", str(BINFMT)], check=True)
    entry = BINFMT / _NAME
    try:
        rule = b":%s:M::%s:%s:%s:F" % (_NAME.encode(), _MAGIC, _MASK, QEMU.encode())
        (BINFMT / "register").write_bytes(rule)
        yield
    finally:
        if entry.exists():
            entry.write_text("-1")
        if not mounted:
            subprocess.run(["umount", str(BINFMT)], check=True)


def build(daemon: Daemon, place: Path, machine: int, platform: str) -> str:
    """A build whose step is a program for `machine`; what it told."""
    (place / "program").write_bytes(program(machine))
    (place / "program").chmod(0o755)
    (place / "Dockerfile").write_text('FROM scratch\nCOPY program /\nRUN ["/program"]\n')
    done = daemon.docker("build", "--progress=plain", f"--platform={platform}", str(place), check=False)
    return done.stderr


@pytest.mark.usefixtures("handler")
def test_a_step_of_another_platform(daemon: Daemon, tmp_path: Path, peer: bool) -> None:
    assert "on arm64" in build(daemon, tmp_path, _ARM64, "linux/arm64")
    if not peer:  # dockerd looks for handlers when it starts
        assert "linux/arm64" in daemon.docker("buildx", "inspect").stdout


def test_a_step_that_nothing_can_run(daemon: Daemon, tmp_path: Path) -> None:
    told = build(daemon, tmp_path, _NOTHING, "linux/s390x")
    assert "exec format error" in told
    assert "did not complete successfully: exit code:" in told


def test_the_platform_is_named(daemon: Daemon, tmp_path: Path, peer: bool) -> None:
    if peer:
        pytest.skip("dockerd does not name it")
    if (BINFMT / "qemu-s390x").exists():
        pytest.skip("programs of s390x run here")
    told = build(daemon, tmp_path, _S390X, "linux/s390x")
    assert "exec format error: programs of linux/s390x do not run here" in told
