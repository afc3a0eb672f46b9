"""Archives for ADD: the same bytes each time."""

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
from collections.abc import Callable, Mapping

from tests.clients.builds.case import CAPABILITY

TIME = 883800000
_COMPRESSED: Mapping[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout,
}


def archive(files: Mapping[str, bytes | tarfile.TarInfo], compression: str) -> bytes:
    """Files of a fixed time and owner; an entry of tar's own as it is."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            if isinstance(content, bytes):
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.uid, member.gid = len(content), TIME, 11, 12
                tar.addfile(member, io.BytesIO(content))
            else:
                tar.addfile(content)
    return _COMPRESSED[compression](out.getvalue())


def entry(
    name: str, kind: bytes, *, mode: int = 0o644, link: str = "", capable: bool = False
) -> tarfile.TarInfo:
    """An entry without content."""
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.linkname, member.mtime = kind, mode, link, TIME
    if kind == tarfile.LNKTYPE:
        member.uid, member.gid = 11, 12
    if capable:
        text = CAPABILITY.decode("utf-8", "surrogateescape")
        member.pax_headers = {"SCHILY.xattr.security.capability": text}
    return member


EVERYTHING: Mapping[str, bytes | tarfile.TarInfo] = {
    "t/": entry("t/", tarfile.DIRTYPE, mode=0o2775),
    "t/file": b"content\n",
    "t/same": entry("t/same", tarfile.LNKTYPE, link="t/file"),
    "t/link": entry("t/link", tarfile.SYMTYPE, mode=0o777, link="file"),
    "t/out": entry("t/out", tarfile.SYMTYPE, mode=0o777, link="/etc/passwd"),
    "t/pipe": entry("t/pipe", tarfile.FIFOTYPE, mode=0o600),
    "t/root": entry("t/root", tarfile.REGTYPE, mode=0o4755),
    "t/capable": entry("t/capable", tarfile.REGTYPE, mode=0o755, capable=True),
    "deep/without/parents": b"x",
}
