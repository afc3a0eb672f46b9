"""Devices of the host, by looking: numbers and owners for --device, all of them for --privileged, block devices of limits."""

import os
import stat
from collections.abc import Iterator, Sequence

from knarr.engine.ocilimits import Node
from knarr.model.container import DeviceMapping, Resources
from knarr.model.errors import Invalid

_SKIPPED = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"))
_USUAL = frozenset(
    f"/dev/{name}"
    for name in (
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "console",
        "ptmx",
        "core",
        "stdin",
        "stdout",
        "stderr",
    )
)


def nodes(mappings: Sequence[DeviceMapping], *, privileged: bool) -> tuple[Node, ...]:
    """Raises Invalid for a device that is none."""
    found = list(_all("/dev", "")) if privileged else []
    for mapping in mappings:
        found += _mapped(mapping)
    return tuple(found)


def numbers(resources: Resources) -> dict[str, tuple[int, int]]:
    """(major, minor) of every device in block I/O limits. Raises Invalid."""
    limits = (
        *resources.blkio_weight_devices,
        *resources.blkio_read_bps,
        *resources.blkio_write_bps,
        *resources.blkio_read_iops,
        *resources.blkio_write_iops,
    )
    found = {}
    for path in {limit.path for limit in limits}:
        try:
            device = os.stat(path).st_rdev
        except OSError as error:
            raise Invalid(f"cannot limit {path}: {(error.strerror or '').lower()}") from error
        found[path] = (os.major(device), os.minor(device))
    return found


def _mapped(mapping: DeviceMapping) -> list[Node]:
    target = mapping.container or mapping.host
    try:
        host = os.path.realpath(mapping.host, strict=True)
        if os.path.isdir(host):
            return list(_all(host, target, mapping.permissions))
        node = _node(host, target, mapping.permissions)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise Invalid(
            f'error gathering device information while adding custom device "{mapping.host}": {reason}'
        ) from error
    if node is None:
        raise Invalid(
            f'error gathering device information while adding custom device "{mapping.host}": not a device node'
        )
    return [node]


def _node(host: str, target: str, permissions: str = "rwm") -> Node | None:
    found = os.stat(host)
    kind = "c" if stat.S_ISCHR(found.st_mode) else "b" if stat.S_ISBLK(found.st_mode) else ""
    if not kind:
        return None
    return Node(
        path=target,
        kind=kind,
        major=os.major(found.st_rdev),
        minor=os.minor(found.st_rdev),
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        permissions=permissions,
        source=host,
    )


def _all(root: str, target: str, permissions: str = "rwm") -> Iterator[Node]:
    """Every device below `root`, without terminals' and the usual nodes when it is all of /dev."""
    for directory, names, files in os.walk(root):
        if directory == "/dev":
            names[:] = [name for name in names if name not in _SKIPPED]
        for name in files:
            path = f"{directory}/{name}"
            if path in _USUAL or os.path.islink(path):
                continue
            try:
                node = _node(path, target + path[len(root) :] if target else path, permissions)
            except FileNotFoundError:
                continue
            if node is not None:
                yield node
