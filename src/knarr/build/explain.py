"""Why a step ran: the parts of its key, and which of them differs from those of the nearest earlier step. Pure.

A key is a digest and tells nothing; `Parts` is what it was made of, kept small: of a file sixteen letters of its content's
digest, of many files only their directories. Values of variables are kept as an image's history keeps them.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from stat import S_IFMT, S_IMODE, S_ISDIR, S_ISLNK
from typing import NamedTuple

import msgspec

from knarr.build.context.entries import Entry
from knarr.build.graph import Vertex
from knarr.build.operations import Exec, File, Operation, Owner, Source

MOST_FILES = 4096
_LONGEST = 60
_PREFIX = re.compile(r"\[(?P<place>[^\]]*)\] ?")
_UNSET: tuple[object, ...] = (None, "", -1, False, ())
_KINDS = {0o040000: "a directory", 0o100000: "a file", 0o120000: "a symbolic link"}


class Listed(NamedTuple):
    """A file that a step depends on, or all that is in a directory."""

    path: str
    kind: int
    mode: int
    owner: str
    content: str
    more: str


class Parts(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a step's key is made of. `place` is its stage and number; `inputs` are (what it is, the name of its contents)."""

    instruction: str
    place: str = ""
    inputs: tuple[tuple[str, str], ...] = ()
    env: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    files: tuple[Listed, ...] = ()
    epoch: str = ""


class Earlier(NamedTuple):
    """What is remembered: whether this very step was built once, and steps that may be like it, the newest first."""

    known: bool
    others: Sequence[Parts] = ()


def parts(
    vertex: Vertex, inputs: Sequence[str], files: Iterable[tuple[str, Entry]], epoch: int | None
) -> Parts:
    """Those of a vertex on inputs named by their contents; `inputs` may be fewer than the vertex has."""
    found = _PREFIX.match(vertex.about.name)
    words = vertex.about.name[found.end() :] if found else vertex.about.name
    command = vertex.operation
    facts = tuple((name, value) for name, value in _facts(command) if value)
    if vertex.platform is not None:
        facts = (*facts, ("platform", str(vertex.platform)))
    return Parts(
        instruction=vertex.about.command or words,
        place=found["place"] if found else "",
        inputs=tuple(zip((_told(edge.vertex) for edge in vertex.inputs), inputs, strict=False)),
        env=command.env if isinstance(command, Exec) else (),
        facts=facts,
        files=bounded([_listed(path, entry) for path, entry in files]),
        epoch="" if epoch is None else str(epoch),
    )


def _told(vertex: Vertex) -> str:
    if isinstance(vertex.operation, Source):
        if vertex.operation.scheme == "docker-image":
            return f"base image {vertex.operation.location}"
        return vertex.operation.identifier.replace("local://", "")
    return vertex.about.name


def _facts(operation: Operation) -> Iterable[tuple[str, str]]:
    match operation:
        case Exec():
            yield "command", " ".join(operation.args)
            yield "working directory", operation.cwd
            yield "user", operation.user
            yield "host name", operation.hostname
            yield "network", operation.network.name.lower()
            yield "security", operation.security.name.lower()
            yield "hosts", " ".join(f"{name}:{address}" for name, address in operation.hosts)
            yield "limits", " ".join(f"{name}={soft}:{hard}" for name, soft, hard in operation.ulimits)
            yield "mounts", " ".join(f"{m.kind.name.lower()}:{m.dest}:{m.selector}" for m in operation.mounts)
            yield (
                "mounts' options",
                str([(m.readonly, m.size, m.cache, m.credential) for m in operation.mounts]),
            )
            yield "secrets", " ".join(f"{each.id}:{each.name}" for each in operation.secrets)
            yield "devices", " ".join(each.name for each in operation.devices)
            yield "parent cgroup", operation.cgroup_parent
        case File():
            for number, action in enumerate(operation.actions, 1):
                kind = type(action.act).__name__.lower()
                for name in action.act.__slots__:
                    value = getattr(action.act, name)
                    if value not in _UNSET:
                        yield f"{name.replace('_', ' ')} of {kind} {number}", _text(name, value)


def _text(name: str, value: object) -> str:
    match value:
        case bytes():
            return hashlib.sha256(value).hexdigest()[:16]
        case Owner():
            return ":".join("" if who is None else who.name or str(who.id) for who in value)
        case int() if name == "mode":
            return f"{value:04o}"
        case tuple():
            return " ".join(map(str, value))
    return str(value)


def _listed(path: str, entry: Entry) -> Listed:
    content = entry.link if S_ISLNK(entry.mode) else entry.digest[:16]
    more = ""
    if entry.xattrs or entry.device != (0, 0):
        more = hashlib.sha256(repr((sorted(entry.xattrs.items()), entry.device)).encode()).hexdigest()[:16]
    return Listed(path, S_IFMT(entry.mode), S_IMODE(entry.mode), f"{entry.uid}:{entry.gid}", content, more)


def bounded(files: Sequence[Listed], most: int = MOST_FILES) -> tuple[Listed, ...]:
    """As many as are kept: of more, what lies deep is told as the directory that it is in."""
    if len(files) <= most:
        return tuple(files)
    parts = [each.path.split("/") for each in files]
    for depth in range(max(map(len, parts)) - 1, 0, -1):
        names = ["/".join(each[:depth]) for each in parts]
        if len(set(names)) <= most:
            return _cut(files, names)
    return _cut(files, [""] * len(files))


def _cut(files: Sequence[Listed], names: Sequence[str]) -> tuple[Listed, ...]:
    """One for each of `names`, under which the files are told; a file of that very name, and alone there, is itself."""
    told: dict[str, list[Listed]] = defaultdict(list)
    for each, name in zip(files, names, strict=True):
        told[name].append(each)
    return tuple(
        members[0] if len(members) == 1 and members[0].path == name else _summary(name, members)
        for name, members in told.items()
    )


def _summary(path: str, members: Sequence[Listed]) -> Listed:
    digest = hashlib.sha256(msgspec.msgpack.encode(members)).hexdigest()[:16]
    return Listed(path, 0o040000, 0, "", digest, "")


def why(new: Parts, earlier: Earlier, *, ignored: bool = False) -> str:
    """One sentence: why the step ran. `ignored`: it was told not to ask the cache."""
    if ignored:
        return "the cache was not asked (--no-cache)"
    if earlier.known:
        return "built before, and pruned from the cache since"
    old = nearest(new, earlier.others)
    if old is None:
        return "never built"
    return explain(old, new)


def nearest(new: Parts, others: Sequence[Parts]) -> Parts | None:
    """The one that is most like it; of equals the first. None where nothing says that it was the same step once."""
    best, most = None, 0.0
    for each in others:
        same = each.instruction == new.instruction
        if not same and not (each.place == new.place and each.inputs[:1] == new.inputs[:1]):
            continue
        likeness = 8.0 * same + 4.0 * (each.inputs == new.inputs) + 2.0 * (each.env == new.env)
        likeness += (
            1.0 * (each.place == new.place) + 2.0 * (each.facts == new.facts) + 4.0 * _alike(each, new)
        )
        if likeness > most:
            best, most = each, likeness
    return best


def _alike(old: Parts, new: Parts) -> float:
    ours, theirs = {each.path for each in new.files}, {each.path for each in old.files}
    return len(ours & theirs) / len(ours | theirs) if ours or theirs else 1.0


def explain(old: Parts, new: Parts) -> str:
    """The first part of the key that differs."""
    if old.instruction != new.instruction:
        return f"the instruction is `{_short(new.instruction)}`, was `{_short(old.instruction)}`"
    return (
        _inputs(old, new)
        or _env(_variables(old), _variables(new))
        or _fact(dict(old.facts), dict(new.facts))
        or _files({each.path: each for each in old.files}, {each.path: each for each in new.files})
        or _plain("SOURCE_DATE_EPOCH", old.epoch, new.epoch)
        or "its key is made otherwise than by an earlier version"
    )


def _inputs(old: Parts, new: Parts) -> str:
    for (was, before), (name, now) in zip(old.inputs, new.inputs, strict=False):
        if before == now:
            continue
        if name.startswith("base image "):
            return f"the {name}, was {was.removeprefix('base image ')}"
        if not now.startswith("files:"):
            return f"it is built on other contents of `{_short(name)}`"
    return ""


def _variables(each: Parts) -> Mapping[str, str]:
    return dict(pair.partition("=")[::2] for pair in each.env)


def _env(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    for name in [*new, *(name for name in old if name not in new)]:
        if found := _plain(f"ARG or ENV {name}", old.get(name), new.get(name)):
            return found
    return ""


def _fact(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    for name in [*new, *(name for name in old if name not in new)]:
        if found := _plain(name, old.get(name, ""), new.get(name, "")):
            return found
    return ""


def _plain(name: str, old: str | None, new: str | None) -> str:
    if old == new:
        return ""
    if old is None:
        return f'{name} is new, "{_short(new or "")}"'
    if new is None:
        return f'{name} is no longer set, was "{_short(old)}"'
    return f'{name} is "{_short(new)}", was "{_short(old)}"'


def _files(old: Mapping[str, Listed], new: Mapping[str, Listed]) -> str:
    found = [path for path in sorted({*old, *new}) if old.get(path) != new.get(path)]
    # A directory that came or went says less than what came or went in it.
    outer = {path[:at] for path in found for at, letter in enumerate(path) if letter == "/"}
    inner = [path for path in found if path not in outer]
    if not inner:
        return ""
    text = _file(inner[0], old.get(inner[0]), new.get(inner[0]))
    return text + (f" (and {len(inner) - 1} more)" if len(inner) > 1 else "")


def _file(path: str, old: Listed | None, new: Listed | None) -> str:
    if old is None:
        return f"{path} was added"
    if new is None:
        return f"{path} is gone"
    if old.kind != new.kind:
        return f"{path} is {_kind(new)}, was {_kind(old)}"
    if old.content != new.content:
        if S_ISDIR(new.kind):
            return f"something in {path or 'the context'} has changed"
        return f"{path} {'leads elsewhere' if S_ISLNK(new.kind) else 'has other contents'}"
    if old.mode != new.mode:
        return f"{path} has the mode {new.mode:04o}, had {old.mode:04o}"
    if old.owner != new.owner:
        return f"{path} belongs to {new.owner}, belonged to {old.owner}"
    return f"{path} has other extended attributes"


def _kind(each: Listed) -> str:
    return _KINDS.get(each.kind, "something special")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
