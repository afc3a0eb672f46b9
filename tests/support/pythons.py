"""A root with this interpreter and a shell in it: a base for images of Python programs, without any package's help."""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.daemons import busybox_tar

_NATIVE = frozenset(
    (
        *("_bisect", "_blake2", "_contextvars", "_csv", "_datetime", "_hashlib", "_heapq", "_json", "_md5"),
        *("_opcode", "_pickle", "_posixsubprocess", "_queue", "_random", "_sha1", "_sha256", "_sha512"),
        *("_socket", "_struct", "array", "binascii", "fcntl", "math", "select", "unicodedata", "zlib"),
    )
)
_LEFT_OUT = {
    "__pycache__",
    "test",
    "tests",
    "site-packages",
    "dist-packages",
    "idlelib",
    "ensurepip",
    "tkinter",
    "lib2to3",
}


def python_tar(directory: Path) -> Path:
    """The archive of a root in which `python` and `sh` run."""
    path = directory / "python.tar"
    shutil.copy(busybox_tar(directory), path)
    program = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("usr/bin/python")
        link.type, link.linkname = tarfile.SYMTYPE, str(program)
        tar.addfile(link)
        tar.add(library, str(library).lstrip("/"), filter=_chosen)
        native = [each for each in library.glob("lib-dynload/*.so") if each.name.partition(".")[0] in _NATIVE]
        for each in {program, *native, *_libraries(program, *native)}:
            tar.add(each.resolve(), str(each).lstrip("/"))
    return path


def _chosen(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(entry.name).name
    return None if name in _LEFT_OUT or name.startswith("config-") or name.endswith(".a") else entry


def _libraries(*programs: Path) -> Iterator[Path]:
    """What ldd(1) finds for them."""
    done = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        for word in line.split():
            if word.startswith("/") and not word.endswith(":"):
                yield Path(word)
