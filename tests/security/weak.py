"""Deliberate weaknesses, put into a zygote of the tests: each takes one protection out of a walk, or lets an attacker in.

The zygote is knarr's own; a container of it is weakened only by what WEAK in its environment asks for, a JSON list of
[weakness, argument…]. A hook stands around an act of the walk: it may do something first, and decides whether the act
itself is done. Standard library and knarr only: this runs in the zygote's process.
"""

import contextlib
import importlib
import json
import os
import stat
import sys
from collections.abc import Callable
from typing import Any

from knarr import jobs
from knarr.kernel import fd, mounts, process
from knarr.kernel.fd import RootFd
from knarr.kernel.libc import AT_FDCWD
from knarr.runtime import acts_mounts, acts_process, view
from knarr.runtime import walk as walking
from knarr.runtime.shim import ahead
from knarr.runtime.state import Walk
from knarr.snapshots.maketar import TarOptions, maketar

Proceed = Callable[[], None]
Hook = Callable[[Walk, tuple[Any, ...], Proceed, tuple[Any, ...]], None]

_IMPORTS = (sys.meta_path, sys.path_hooks, sys.path)
_KEPT = tuple(list(each) for each in _IMPORTS)
_counts: dict[str, int] = {}


def install() -> None:
    """Wraps every act; called before the zygote begins."""
    for act, original in list(walking.ACTS.items()):
        walking.ACTS[act] = _wrapped(act, original)
    ahead.fill = _in_sight(ahead.fill)
    jobs.JOBS["lazy-import"] = lazy_import
    jobs.JOBS["swapped-get"] = swapped_get
    jobs.JOBS["naive-get"] = naive_get
    jobs.JOBS["naive-read"] = naive_read


def _in_sight(fill: Callable[..., Any]) -> Callable[..., Any]:
    """Who is weakened has the host's mounts around the root, unless "vacant" is among the words: then only those are missing."""

    def filled(order: Any, walk: Walk, *arguments: Any) -> Any:
        steps = fill(order, walk, *arguments)
        asked = json.loads(walk.environment.get("WEAK", "[]"))
        if asked and ["vacant"] not in asked:
            ahead._vacant[:] = [-1]
        return steps

    return filled


def vacant(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """No weakness: see `_in_sight`."""
    proceed()


def _wrapped(act: str, original: Callable[..., None]) -> Callable[..., None]:
    def run(walk: Walk, *arguments: Any) -> None:
        asked = json.loads(walk.environment.get("WEAK", "[]"))
        if not asked:
            original(walk, *arguments)
            return
        count = _counts[act] = _counts.get(act, -1) + 1

        def proceed(rest: list[Any]) -> None:
            if not rest:
                original(walk, *arguments)
                return
            (name, *given), *others = rest
            WEAKNESSES[name](act, count, walk, arguments, lambda: proceed(others), given)

        proceed(asked)

    return run


def unsealed(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """Imports work again: the walk as it would be without `seal_imports`."""
    _unseal()
    proceed()


def late_import(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """A module that nobody loaded is wanted late; what it says goes to /said of the container."""
    proceed()
    if act == "stdio":
        walk.root.write("/said", _import(given[0]).encode())


def dumpable(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """The process can be looked into."""
    proceed()
    process.prctl(process.PR_SET_DUMPABLE, 1)


def pause(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """Before its last act the process says its number in /tmp/ready, and waits until somebody writes to the FIFO /tmp/go."""
    if act == "command":
        walk.root.write("/tmp/ready.new", str(os.getpid()).encode())
        os.rename("/tmp/ready.new", "/tmp/ready")
        os.close(walk.root.open("/tmp/go", os.O_RDONLY))
    proceed()


def leak(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """A directory of the host stays open as descriptor N."""
    number, path = given
    if act == "protect":
        os.dup2(os.open(path, os.O_RDONLY), number)
    proceed()


def leak_through(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """Nothing is closed at execve."""
    for module in (walking, acts_process):
        vars(module)["close_range"] = lambda *arguments, **named: None
    proceed()


def naive_cwd(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """chdir(2) by string."""
    if act == "cwd":
        os.chdir(arguments[0])
    else:
        proceed()


def naive_command(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """Whatever is there is executed."""
    if act == "command":
        walk.executable = arguments[0]
    else:
        proceed()


def without(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """These acts are left out, or one with its first argument: "device /dev/x"."""
    first = arguments[0] if arguments else ""
    if act not in given and f"{act} {first}" not in given:
        proceed()


def swap(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """The attacker's moment: right before the nth act of a kind, `path` becomes a symbolic link to `target`."""
    wanted, nth, path, target = given
    if (act, count) == (wanted, nth):
        parent, name = walk.root.open_parent(path)
        if _exists(parent, name):
            os.rename(name, f"{name}.away", src_dir_fd=parent, dst_dir_fd=parent)
        os.symlink(target, name, dir_fd=parent)
        os.close(parent)
    proceed()


def cover(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """The attacker's moment: right before the nth act of a kind, a tmpfs with links hides the directory `path`."""
    wanted, nth, path, links = given
    if (act, count) == (wanted, nth):
        place = walk.root.mkdirs(path)
        tree = mounts.new_mount("tmpfs", "tmpfs", [], 0)
        mounts.attach_mount(tree, place)
        for name, target in links.items():
            os.symlink(target, name, dir_fd=tree)
    proceed()


def swap_after_look(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """The attacker's moment: right after the walk saw that nothing is at `path`, a link to `target` is there."""
    path, target = given

    def openat2(directory: int, name: str, *rest: Any) -> int:
        try:
            return fd.openat2(directory, name, *rest)
        except FileNotFoundError:
            if name == path:
                parent, last = walk.root.open_parent(path)
                os.symlink(target, last, dir_fd=parent)
                os.close(parent)
            raise

    vars(acts_mounts)["openat2"] = openat2
    proceed()


def naive_bind(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """The place of a bind mount is a string below the root's directory on the host: every link on the way is followed.

    `given`: what is to be put somewhere else than the plan would allow, {destination: place}.
    """
    if act != "bind":
        proceed()
        return
    number, destination, *_ = arguments
    tree = walk.trees.pop(number)
    elsewhere = dict(*given).get(destination, destination)
    place = f"/proc/self/fd/{walk.root.fileno()}{elsewhere}"
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        os.makedirs(place, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
    mounts.attach_mount(tree, AT_FDCWD, os.path.realpath(place))
    os.close(tree)


def naive_mount(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """procfs is mounted wherever a link leads."""
    if act == "mount" and arguments[1] == "proc":
        mounts.attach_mount(mounts.new_mount("proc", "proc", [], 0), walk.root.mkdirs(arguments[0]))
    else:
        proceed()


def naive_mask(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """A masked file is covered by whatever /dev/null is."""
    if act != "mask":
        proceed()
        return
    with RootFd("/") as root:
        try:
            place = root.open(arguments[0], os.O_PATH)
        except FileNotFoundError:
            return
        if stat.S_ISREG(os.fstat(place).st_mode):
            null = root.open("/dev/null", os.O_PATH)
            mounts.attach_mount(mounts.bind_tree("", dirfd=null, recursive=False), place)


def naive_console(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """The terminal is bound by the path that it should have, onto whatever /dev/console leads to."""
    if act != "console":
        proceed()
        return
    with RootFd("/") as root:
        place = acts_mounts.make_file(root, "/dev/console")
        mounts.attach_mount(mounts.bind_tree("/dev/pts/0"), place)


def naive_proc(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """A setting is written late, to a path below the container's /proc, whatever that is by then."""
    wanted, path, text = given
    if act == "stdio":
        walk.root.write(path, text.encode())
    if act != wanted:
        proceed()


def groups(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """The supplementary groups lack the process's own."""
    if act == "identity":
        walk.user = walk.user._replace(groups=())
    proceed()


def naive_user(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """A number may be somebody's name, and wraps as a 32-bit integer that nobody checked."""
    if act != "user":
        proceed()
        return
    people = [line.split(":") for line in walk.root.read("/etc/passwd").decode().splitlines()]
    named = [int(fields[2]) for fields in people if fields[0] == arguments[0]]
    number = [*named, int(arguments[0])][0] & 0xFFFFFFFF
    walk.user = walk.user._replace(uid=number, gid=0, groups=(0,))


def descriptors(act: str, count: int, walk: Walk, arguments: Any, proceed: Proceed, given: Any) -> None:
    """Before the last act: what is open, and whether it is on a mount of the container's, in its /descriptors."""
    if act == "command":
        with open("/proc/self/mountinfo") as file:
            own = {line.split()[0] for line in file}
        found = {}
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # the one that listed them
                target = os.readlink(f"/proc/self/fd/{number}")
                with open(f"/proc/self/fdinfo/{number}") as file:
                    mount = next(line.split()[1] for line in file if line.startswith("mnt_id"))
                found[number] = [target, mount in own]
        walk.root.write("/descriptors", json.dumps(found).encode())
    proceed()


WEAKNESSES: dict[str, Callable[[str, int, Walk, Any, Proceed, Any], None]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        unsealed, late_import, dumpable, pause, leak, leak_through, naive_cwd, naive_command, without, swap, swap_after_look,
        cover, naive_bind, naive_mount, naive_mask, naive_console, naive_proc, groups, naive_user, descriptors, vacant,
    )
}  # fmt: skip


# jobs ------------------------------------------------------------------------------------------------------------------


def _unseal() -> None:
    for present, kept in zip(_IMPORTS, _KEPT, strict=True):
        present[:] = kept  # type: ignore[index]
    sys.path_importer_cache.clear()


def _import(name: str) -> str:
    try:
        return str(importlib.import_module(name).__dict__.get("SAID", "the host's own module"))
    except ImportError as error:
        return f"refused: {error}"


def lazy_import(request: dict[str, Any], fds: list[int]) -> jobs.Reply:
    """A job that stands in a container's root and wants a module that nobody loaded."""
    view.enter(request["view"])
    if request["unsealed"]:
        _unseal()
    return {"said": _import(request["module"])}, []


def swapped_get(request: dict[str, Any], fds: list[int]) -> jobs.Reply:
    """docker cp from a container that moves a link into the way right after the job has stepped in."""
    view.enter(request["view"])
    os.rename(request["replaced"], request["replaced"] + ".away")
    os.symlink(request["target"], request["replaced"])
    return maketar(fds[0], "/", request["path"], TarOptions(**request["options"]))._asdict(), []


def naive_read(request: dict[str, Any], fds: list[int]) -> jobs.Reply:
    """A small file of a container, read where its devices work."""
    vars(view)["_without_devices"] = lambda: None
    return jobs.read({**request, "limit": 1}, fds)


def naive_get(request: dict[str, Any], fds: list[int]) -> jobs.Reply:
    """The same, as it was before 2018: the path is resolved, found harmless, and then used by name on the host."""
    base = f"/proc/{request['view']['pid']}/root"
    path = base + request["path"]
    assert not os.path.islink(base + request["replaced"])
    os.rename(base + request["replaced"], base + request["replaced"] + ".away")
    os.symlink(request["target"], base + request["replaced"])
    with open(path, "rb") as file:
        return {"read": file.read().decode()}, []


def _exists(parent: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    return True
