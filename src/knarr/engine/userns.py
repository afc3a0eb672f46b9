"""Which containers have a user namespace, and whose ids it maps: --userns, --userns-remap, ranges of a container's own.

A mapping is (inside, outside, count). The rules are dockerd's where dockerd has any; "private" and "auto" are knarr's
(docs/userns.md). Pure but for what begins with `read`.
"""

import grp
import hashlib
import logging
import pwd
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from knarr.kernel.files import read_text
from knarr.model.container import ContainerSpec
from knarr.model.errors import Conflict, Invalid
from knarr.runtime.plan_namespaces import parse_map

log = logging.getLogger(__name__)

Mapping = tuple[tuple[int, int, int], ...]

SIZE = 65536
"""Of a container's own range: every id of 16 bits."""
MODES = ("", "host", "private", "auto")
OWNER = "knarr"
"""Whose lines of /etc/subuid and /etc/subgid are for containers of "auto"."""
_CONTAINERS = ((0x80000, 0x70000000 - 0x80000),)
"""The ids that systemd leaves to containers (systemd's UIDS-GIDS.md): used where /etc/subuid says nothing."""
_DEFAULT = "dockremap"
_OPTION = "userns="


class Ids(NamedTuple):
    """The mappings of one user namespace; none is the host's own."""

    uids: Mapping = ()
    gids: Mapping = ()


NO_IDS = Ids()


class SubId(NamedTuple):
    """A line of subuid(5)."""

    name: str
    first: int
    size: int


def mode_of(spec: ContainerSpec) -> str:
    """HostConfig.UsernsMode, or what --security-opt says: the docker CLI lets nothing but "host" through as --userns."""
    for option in spec.security_options:
        if option.startswith(_OPTION) and not spec.userns_mode:
            return option[len(_OPTION) :]
    return spec.userns_mode


def is_mapped(mode: str, remapped: bool) -> bool:
    """Whether a container has a user namespace; `remapped`: the daemon gives one to each that does not say "host"."""
    return mode in ("private", "auto") or (not mode and remapped)


def has_own_range(mode: str, remapped: bool) -> bool:
    """Whether its ids are nobody else's."""
    return mode == "auto" or (mode == "private" and not remapped)


def check(spec: ContainerSpec, remapped: bool) -> None:
    """Raises Invalid with dockerd's words for what a user namespace excludes."""
    mode = mode_of(spec)
    if mode not in MODES:
        raise Invalid(f"invalid user namespace mode: {mode}")
    if not is_mapped(mode, remapped):
        return
    if spec.privileged:
        raise Invalid(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace "
            "when running privileged mode"
        )
    if spec.network_mode == "host":
        raise Invalid("cannot share the host's network namespace when user namespaces are enabled")
    if spec.pid_mode == "host":
        raise Invalid("cannot share the host PID namespace when user namespaces are enabled")


def parse_subids(text: str) -> Iterator[SubId]:
    """The lines that are well-formed."""
    for line in text.splitlines():
        fields = line.partition("#")[0].strip().split(":")
        if len(fields) == 3 and fields[0] and fields[1].isdigit() and fields[2].isdigit() and int(fields[2]):
            yield SubId(fields[0], int(fields[1]), int(fields[2]))


def ranges(text: str, names: AbstractSet[str], kind: str) -> Mapping:
    """All ranges of whoever goes by `names`, one after another from id 0. Raises Invalid."""
    lines = []
    inside = 0
    for entry in parse_subids(text):
        if entry.name in names:
            lines.append((inside, entry.first, entry.size))
            inside += entry.size
    if not lines:
        named = next(iter(sorted(names, key=str.isdigit)))
        raise Invalid(
            f'no {kind} ranges found for user "{named}": add a line such as "{named}:100000:65536" to /etc/{kind}'
        )
    return tuple(lines)


def areas(subuids: str, subgids: str) -> tuple[tuple[int, int], ...]:
    """(first, count) of the ids that containers' own ranges may be of: the same for users and groups."""
    uids, gids = list(parse_subids(subuids)), list(parse_subids(subgids))
    mine = [entry[1:] for entry in uids if entry.name == OWNER]
    if mine:
        return _common(mine, [entry[1:] for entry in gids if entry.name == OWNER])
    return _without(_CONTAINERS, [entry[1:] for entry in (*uids, *gids)])


def _common(
    ones: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    found = []
    for first, count in ones:
        for other, size in others:
            start, end = max(first, other), min(first + count, other + size)
            if start < end:
                found.append((start, end - start))
    return tuple(found)


def _without(
    wholes: Sequence[tuple[int, int]], holes: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    left = list(wholes)
    for hole, size in holes:
        pieces = []
        for first, count in left:
            pieces += [(first, min(hole, first + count) - first), (max(hole + size, first), 0)]
            pieces[-1] = (pieces[-1][0], first + count - pieces[-1][0])
        left = [piece for piece in pieces if piece[1] > 0]
    return tuple(left)


def choose(container_id: str, areas: Sequence[tuple[int, int]], taken: AbstractSet[int]) -> int:
    """The first id of a free range. Where it is looked for depends on the container, so that daemons seldom meet. Raises Conflict."""
    blocks = [count // SIZE for _, count in areas]
    total = sum(blocks)
    begin = int.from_bytes(hashlib.sha256(container_id.encode()).digest()[:8])
    for step in range(min(total, len(taken) * 2 + 1)):
        number = (begin + step) % total
        first = _block(number, areas, blocks)
        if not any(first - SIZE < other < first + SIZE for other in taken):
            return first
    raise Conflict(
        f"no range of {SIZE} ids is free for a container of its own: see /etc/subuid and /etc/subgid, user {OWNER}"
    )


def _block(number: int, areas: Sequence[tuple[int, int]], blocks: Sequence[int]) -> int:
    for (first, _), count in zip(areas, blocks, strict=True):
        if number < count:
            return first + number * SIZE
        number -= count
    raise AssertionError("unreachable")


def own_ids(first: int) -> Ids:
    """Of a range that begins there."""
    line = ((0, first, SIZE),)
    return Ids(line, line)


def read_areas() -> tuple[tuple[int, int], ...]:
    """Of this host. Blocking."""
    return areas(_text("/etc/subuid"), _text("/etc/subgid"))


def read_remap(setting: str) -> Ids | None:
    """--userns-remap: "default", user, user:group, uid or uid:gid. None where it turns nothing on. Blocking. Raises Invalid."""
    if not setting:
        return None
    parts = setting.split(":")
    if len(parts) > 2 or not parts[0]:
        raise Invalid(f'Invalid user/group specification in --userns-remap: "{setting}"')
    names = _names(parts[0])
    if "root" in names:
        log.warning("User namespaces: root cannot be remapped with itself; user namespaces are OFF")
        return None
    if len(parts) == 2:
        _check_group(parts[1])
    return Ids(ranges(_text("/etc/subuid"), names, "subuid"), ranges(_text("/etc/subgid"), names, "subgid"))


def _names(word: str) -> set[str]:
    """The name and the number; a user that has ranges need not exist."""
    if word == "default":
        word = _DEFAULT
    try:
        found = pwd.getpwuid(int(word)) if word.isdigit() else pwd.getpwnam(word)
    except (KeyError, OverflowError):
        known = {entry.name for entry in parse_subids(_text("/etc/subuid"))}
        if word == _DEFAULT or word in known:
            return {word}
        if word.isdigit():
            raise Invalid(f"Uid {word} has no entry in /etc/passwd") from None
        raise Invalid(f'Error during uid lookup for "{word}": no matching entries in passwd file') from None
    return {found.pw_name, str(found.pw_uid)}


def _check_group(word: str) -> None:
    try:
        grp.getgrgid(int(word)) if word.isdigit() else grp.getgrnam(word)
    except (KeyError, OverflowError):
        if word.isdigit():
            raise Invalid(f"Gid {word} has no entry in /etc/group") from None
        raise Invalid(
            f'Error during groupname lookup for "{word}": no matching entries in group file'
        ) from None


def read_map(pid: int) -> Ids:
    """The mappings that a process lives under, in the host's numbers; none for the host's own."""
    ids = Ids(*(parse_map(read_text(f"/proc/{pid}/{kind}_map")) for kind in ("uid", "gid")))
    return Ids() if ids.uids == ((0, 0, 0xFFFFFFFF),) else ids


def _text(path: str) -> str:
    try:
        return read_text(path)
    except FileNotFoundError:
        return ""
