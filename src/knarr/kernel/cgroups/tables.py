"""The few forms in which cgroups tell their numbers: one number, flat keyed, nested keyed, pressure (cgroup-v2.rst, "Format").

A file that this kernel or controller lacks reads as nothing.
"""

import errno
import os
from typing import Any

from knarr.kernel.files import read_text

UNLIMITED = (1 << 64) - 1
_MISSING = (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP)


def text(path: str) -> str:
    """The file, "" where it is missing."""
    try:
        return read_text(path, 16 << 20)
    except OSError as error:
        if error.errno in _MISSING:
            return ""
        raise


def number(path: str) -> int:
    """One number; "max" is `UNLIMITED`, a missing file 0."""
    word = text(path).strip()
    return UNLIMITED if word == "max" else int(word) if word.lstrip("-").isdigit() else 0


def flat(path: str) -> dict[str, int]:
    """`KEY VALUE` lines."""
    rows = (line.split() for line in text(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def nested(path: str) -> dict[str, dict[str, str]]:
    """`KEY SUB=VALUE SUB=VALUE` lines."""
    found = {}
    for line in text(path).splitlines():
        key, _, rest = line.partition(" ")
        pairs = (word.partition("=") for word in rest.split())
        found[key] = {name: value for name, equals, value in pairs if equals}
    return found


def cpu_list(path: str) -> list[int]:
    """`0-3,8`"""
    found: list[int] = []
    for part in text(path).strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found


def pressure(path: str) -> dict[str, Any] | None:
    """Pressure stall information; None where the kernel keeps none."""
    rows = nested(path)
    if "some" not in rows:
        return None
    empty = {"avg10": "0", "avg60": "0", "avg300": "0", "total": "0"}
    return {
        kind: {
            name: int(value) if name == "total" else float(value)
            for name, value in {**empty, **rows.get(kind, {})}.items()
        }
        for kind in ("some", "full")
    }


def huge_pages() -> list[str]:
    """The sizes of huge pages that this machine has, as hugetlb's files name them: "2MB"."""
    try:
        names = os.listdir("/sys/kernel/mm/hugepages")
    except FileNotFoundError:
        return []
    sizes = sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) for name in names)
    return [
        f"{size >> 20}GB" if size >= 1 << 20 else f"{size >> 10}MB" if size >= 1 << 10 else f"{size}KB"
        for size in sizes
    ]


def rdma(directory: str, file: str) -> list[dict[str, Any]]:
    """rdma.current or rdma.max."""
    return [
        {
            "device": device,
            "hca_handles": _rdma_number(values.get("hca_handle", "0")),
            "hca_objects": _rdma_number(values.get("hca_object", "0")),
        }
        for device, values in nested(f"{directory}/{file}").items()
    ]


def _rdma_number(word: str) -> int:
    return (1 << 32) - 1 if word == "max" else int(word)
