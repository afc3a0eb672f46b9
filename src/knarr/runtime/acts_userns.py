"""Acts that make a user namespace fit for its container, with the host's privilege. Named in `plan_mounts` and `plan_userns`."""

import os
import resource
from collections.abc import Sequence
from typing import Any

from knarr.kernel import mounts
from knarr.kernel.process import prlimit
from knarr.model.errors import Invalid, Unavailable
from knarr.runtime import acts_mounts, acts_root, mapped_root
from knarr.runtime.acts_root import ROOT
from knarr.runtime.idmap import map_tree, user_namespace
from knarr.runtime.plan_mounts import Options
from knarr.runtime.plan_namespaces import IdMap, outside
from knarr.runtime.state import Walk


def idmap(walk: Walk, number: int, source: str, uids: IdMap, gids: IdMap, recursive: bool) -> None:
    """Maps a taken tree: by its own mappings, or without any by the container's."""
    map_tree(walk.trees[number], _namespace(walk, uids, gids), source, recursive=recursive)


def idmap_own(walk: Walk, number: int, source: str, uids: IdMap, gids: IdMap, recursive: bool) -> None:
    """The same for a tree of the new root. In a user namespace no file system of the host may be mapped: the parent does it."""
    if not walk.space.own_user:
        idmap(walk, number, source, uids, gids, recursive)
        return
    walk.tell({"map": [source, uids, gids, recursive]}, [walk.trees[number]])
    if not walk.control.recv(1):
        raise Unavailable(f"{source} was not mapped")


def make_root(walk: Walk, kind: str, source: str, words: Sequence[str]) -> None:
    """The root before there is a container. The word "idmap" asks for the container's ids on files that keep theirs on disk."""
    if "idmap" not in words:
        walk.trees[ROOT] = acts_root.make_root(kind, source, words)
        return
    owner = (outside(walk.space.uids, 0), outside(walk.space.gids, 0))
    if owner[0] is None or owner[1] is None:
        raise Invalid("User namespaces enabled, but no root user found")
    namespace = _namespace(walk, (), ())
    walk.trees[ROOT] = mapped_root.make(kind, source, words, namespace, (owner[0], owner[1]), walk.run_dir)


def _namespace(walk: Walk, uids: IdMap, gids: IdMap) -> int:
    """A user namespace of these mappings, made once."""
    key = (uids, gids)
    if key not in walk.mappings:
        walk.mappings[key] = user_namespace(uids, gids) if uids or gids else _own(walk)
    return walk.mappings[key]


def _own(walk: Walk) -> int:
    space = walk.space
    path = dict(space.joined).get("user")
    if path is not None:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if not space.own_user:
        raise Invalid("id-mapped mounts must have both uid and gid mappings specified")
    return user_namespace(space.uids, space.gids)


def open_cgroup(walk: Walk) -> None:
    """Who has no right to enter writes through descriptors of one who has: the kernel asks for the opener's."""
    if walk.cgroup is None:
        return
    name = "tasks" if walk.cgroup.version == 1 else "cgroup.procs"
    for directory in dict.fromkeys(walk.cgroup.paths().values()):
        walk.entries.append(os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CLOEXEC))


def take_spare(walk: Walk, number: int, source: str) -> None:
    """For a mount that may be refused. A host need not have mounted its message queues (mq_overview(7))."""
    try:
        walk.trees[number] = mounts.bind_tree(source)
    except FileNotFoundError:
        if source.endswith("mqueue"):
            walk.trees[number] = mounts.new_mount("mqueue", "mqueue", [])


def mount_or_bind(walk: Walk, number: int, act: str, *words: Any) -> None:
    """A file system that belongs to a namespace whose owner the container's root may not be: then it gets the host's, bound."""
    spare = walk.trees.pop(number, -1)
    try:
        if act == "mount":
            acts_mounts.mount(walk, *words)
        else:
            acts_mounts.cgroup_mount(walk, *words)
    except PermissionError:
        if spare < 0:
            raise
        options: Options = words[1] if act == "cgroup-mount" else words[3]
        walk.trees[number] = spare
        acts_mounts.bind(walk, number, words[0], _as_bound(options))
    else:
        if spare >= 0:
            os.close(spare)


def _as_bound(options: Options) -> Options:
    """What makes it read-only holds for everything below it, too."""
    return Options(on=options.on, recursive=tuple({"ro"} & {*options.on}), propagation=("rprivate",))


def raise_limit(walk: Walk, number: int, hard: int) -> None:
    """Only the hard limit: a low soft one would bind the walk. What may not be raised the walk's own act tells of."""
    soft, present = resource.getrlimit(number)
    wanted = -1 if hard >= 1 << 63 else hard
    if present >= 0 and not 0 <= wanted <= present:
        try:
            prlimit(0, number, soft, wanted)
        except (PermissionError, ValueError):
            return
