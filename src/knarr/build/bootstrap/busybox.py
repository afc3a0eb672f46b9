"""A root of Debian's static busybox: one program, a link for each applet, and the few files that programs expect."""

import io
import subprocess
import tarfile
from pathlib import Path

from knarr.model.errors import Unavailable

PROGRAM = Path("/bin/busybox")
_DIRECTORIES = {
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "run": 0o755,
    "sys": 0o755,
    "tmp": 0o1777,
    "usr": 0o755,
    "usr/bin": 0o755,
    "usr/sbin": 0o755,
    "var": 0o755,
    "var/spool": 0o755,
    "var/spool/mail": 0o755,
    "var/www": 0o755,
}
_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP = """\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
audio:x:29:
www-data:x:33:
users:x:100:
nogroup:x:65534:
"""
_FILES = {"etc/passwd": _PASSWD, "etc/group": _GROUP, "etc/hostname": "", "etc/shells": "/bin/sh\n"}


def make_root(tar: Path) -> int:
    """Writes the root as a tar and returns its date in seconds: the program's own. Raises Unavailable."""
    data = _program()
    moment = int(PROGRAM.stat().st_mtime)
    applets = subprocess.run(
        [str(PROGRAM), "--list"], capture_output=True, text=True, check=True
    ).stdout.split()
    with tarfile.open(tar, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, mode in _DIRECTORIES.items():
            archive.addfile(_member(name, tarfile.DIRTYPE, mode, moment))
        program = _member("bin/busybox", tarfile.REGTYPE, 0o755, moment)
        program.size = len(data)
        archive.addfile(program, io.BytesIO(data))
        for applet in sorted(set(applets) - {"busybox"}):
            link = _member(f"bin/{applet}", tarfile.SYMTYPE, 0o777, moment)
            link.linkname = "busybox"
            archive.addfile(link)
        for name, text in _FILES.items():
            file = _member(name, tarfile.REGTYPE, 0o644, moment)
            file.size = len(text)
            archive.addfile(file, io.BytesIO(text.encode()))
    return moment


def _member(name: str, kind: bytes, mode: int, moment: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = kind, mode, moment
    return member


def _program() -> bytes:
    """The static program. An ELF file that names an interpreter (PT_INTERP, elf(5)) is not static."""
    try:
        data = PROGRAM.read_bytes()
    except FileNotFoundError:
        raise Unavailable("cannot bootstrap busybox: busybox-static is not installed") from None
    if not data.startswith(b"\x7fELF\x02"):
        raise Unavailable(f"cannot bootstrap busybox: {PROGRAM} is not a 64-bit program")
    offset, size, count = (
        int.from_bytes(data[32:40], "little"),
        int.from_bytes(data[54:56], "little"),
        int.from_bytes(data[56:58], "little"),
    )
    kinds = [int.from_bytes(data[offset + n * size : offset + n * size + 4], "little") for n in range(count)]
    if 3 in kinds:
        raise Unavailable("cannot bootstrap busybox: this one is not static; install busybox-static")
    return data
