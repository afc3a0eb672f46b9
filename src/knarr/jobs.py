"""What a child of the zygote does that holds no container: archives, and namespaces. Shapes: wire.zygote.

`seal_imports` comes first in whatever meets a container.
"""

import os
import stat
from collections.abc import Callable
from typing import Any

from knarr.kernel import memfd, mounts
from knarr.kernel.fd import RootFd
from knarr.kernel.libc import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE
from knarr.model.errors import Invalid
from knarr.runtime import netns, view
from knarr.runtime.acts_root import make_root
from knarr.runtime.seal import seal_imports
from knarr.snapshots.acting import act
from knarr.snapshots.errors import NoSuchPath
from knarr.snapshots.maketar import TarOptions, maketar
from knarr.snapshots.untar import UntarOptions, untar

Reply = tuple[dict[str, Any], list[int]]


def do(request: dict[str, Any], fds: list[int]) -> Reply:
    """The answer and its descriptors. Raises Invalid, and what the job raises."""
    job = JOBS.get(request["job"])
    if job is None:
        raise Invalid(f"unknown job {request['job']!r} for the zygote")
    return job(request, fds)


def make_owned_netns(request: dict[str, Any], fds: list[int]) -> Reply:
    """A network namespace, and the user namespace that it belongs to."""
    uids, gids = (tuple(tuple(line) for line in request[kind]) for kind in ("uids", "gids"))
    user, fd, route = netns.make_owned(uids, gids, request["user"])
    return {"inode": os.fstat(fd).st_ino}, [user, fd, route.detach()]


def unpack(request: dict[str, Any], fds: list[int]) -> Reply:
    """A tar stream into a directory of the host, which is all that this process sees."""
    seal_imports()
    os.chroot(request["root"])
    os.chdir("/")
    return untar(fds[0], "/", _untar_options(request))._asdict(), []


def archive_put(request: dict[str, Any], fds: list[int]) -> Reply:
    """A tar stream into a container."""
    view.enter(request["view"])
    return untar(fds[0], "/", _untar_options(request))._asdict(), []


def file_act(request: dict[str, Any], fds: list[int]) -> Reply:
    """A build's act on files of a tree."""
    view.enter(request["view"])
    return act("/", request["act"], request["arguments"]), []


def archive_get(request: dict[str, Any], fds: list[int]) -> Reply:
    """A path of a container as a tar stream."""
    view.enter(request["view"])
    return maketar(fds[0], "/", request["path"], TarOptions(**request["options"]))._asdict(), []


def archive_stat(request: dict[str, Any], fds: list[int]) -> Reply:
    """What a path of a container is."""
    view.enter(request["view"])
    path = request["path"]
    with RootFd("/") as root:
        try:
            found = root.stat(path, follow=path.endswith("/"))
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchPath(f"no such file or directory: {path}") from None
    target = os.path.realpath(path) if stat.S_ISLNK(found.st_mode) else ""
    facts = {"name": os.path.basename(path.rstrip("/")) or "/", "size": found.st_size, "mode": found.st_mode}
    return {**facts, "mtime": found.st_mtime_ns, "link_target": target}, []


def read(request: dict[str, Any], fds: list[int]) -> Reply:
    """A small file of a container; it may be larger than a packet."""
    view.enter(request["view"])
    with RootFd("/") as root:
        try:
            data = root.read(request["path"], request["limit"])
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchPath(f"no such file or directory: {request['path']}") from None
    return {}, [memfd.sealed("file", data)]


def mount(request: dict[str, Any], fds: list[int]) -> Reply:
    """mount(2) on the host, by a process that may wait for a file server as long as it takes."""
    source, target, kind, flags, data = (
        request[key] for key in ("source", "target", "kind", "flags", "data")
    )
    mounts.mount(source, target, kind, flags, data or None)
    return {}, []


def mount_root(request: dict[str, Any], fds: list[int]) -> Reply:
    """A snapshot on the host, which nobody may write to unless that is asked for."""
    kind, source, options = request["mount"]
    tree = make_root(kind, source, options)
    if not request["writable"]:
        mounts.mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, attr_set=mounts.MOUNT_ATTR_RDONLY)
    mounts.attach_mount(tree, AT_FDCWD, request["target"])
    return {}, []


def copy_up(request: dict[str, Any], fds: list[int]) -> Reply:
    """One process looks into the container, the other fills the volume."""
    source, sink = os.pipe()
    if os.fork() == 0:
        code = 1
        try:
            os.close(source)
            view.enter(request["view"])
            maketar(sink, "/", request["path"], TarOptions(name=".", follow=True))
            code = 0
        except NoSuchPath:
            code = 0
        finally:
            os._exit(code)
    os.close(sink)
    done = untar(source, request["target"])
    if os.waitstatus_to_exitcode(os.wait()[1]) != 0:
        raise OSError(5, "cannot read what the image has there", request["path"])
    return done._asdict(), []


def _untar_options(request: dict[str, Any]) -> UntarOptions:
    options = dict(request["options"])
    if options.get("owner") is not None:
        options["owner"] = tuple(options["owner"])
    return UntarOptions(**options)


JOBS: dict[str, Callable[[dict[str, Any], list[int]], Reply]] = {
    "owned-netns": make_owned_netns,
    "unpack": unpack,
    "file-act": file_act,
    "archive-get": archive_get,
    "archive-put": archive_put,
    "archive-stat": archive_stat,
    "mount": mount,
    "mount-root": mount_root,
    "read": read,
    "copy-up": copy_up,
}
