"""The namespaces of a container as values: kinds to make, kinds to join, id mappings, clock offsets. Pure.

Out of OCI's `linux`, refused in runc's words (libcontainer/configs/validate). A mapping is (inside, outside, count), as a
line of /proc/PID/uid_map has it (user_namespaces(7)).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from knarr.model.errors import Invalid
from knarr.runtime.plan_steps import split_namespaces

IdMap = tuple[tuple[int, int, int], ...]

CLOCKS = ("monotonic", "boottime")
_END = 1 << 32
_SECOND = 1_000_000_000
_MOST_LINES = 340
"""user_namespaces(7), since Linux 4.15."""


class Namespaces(NamedTuple):
    """The kinds that are made with the process, those that it joins (kind, path), and what is written into them."""

    new: tuple[str, ...] = ()
    joined: tuple[tuple[str, str], ...] = ()
    uids: IdMap = ()
    gids: IdMap = ()
    offsets: tuple[tuple[str, int, int], ...] = ()

    @property
    def own_user(self) -> bool:
        """Whether its user namespace is not the one that it is made in."""
        return "user" in self.new or any(kind == "user" for kind, _ in self.joined)

    @property
    def apart(self) -> bool:
        """Whether an intermediate child must enter them first."""
        return self.own_user or "time" in self.new


def namespaces(linux: Mapping[str, Any]) -> Namespaces:
    """Out of OCI's `linux`. Raises Invalid."""
    new, joined = split_namespaces(linux.get("namespaces") or ())
    uids, gids = id_map(linux.get("uidMappings")), id_map(linux.get("gidMappings"))
    offsets = _offsets(linux.get("timeOffsets") or {})
    space = Namespaces(new, joined, uids, gids, offsets)
    _check(space)
    return space


def _check(space: Namespaces) -> None:
    if "user" in space.new and not (space.uids or space.gids):
        raise Invalid(
            "user namespaces enabled, but no namespace path to join nor mappings to apply specified"
        )
    if (space.uids or space.gids) and not space.own_user:
        raise Invalid("user namespace mappings specified, but user namespace isn't enabled in the config")
    if space.offsets and "time" not in space.new:
        if any(kind == "time" for kind, _ in space.joined):
            raise Invalid(
                "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one"
            )
        raise Invalid("time namespace offsets specified, but time namespace isn't enabled in the config")


def id_map(entries: Sequence[Mapping[str, Any]] | None) -> IdMap:
    """OCI's uidMappings or gidMappings. Raises Invalid for what the kernel would refuse without a reason."""
    lines = []
    for entry in entries or ():
        line = (entry.get("containerID", 0), entry.get("hostID", 0), entry.get("size", 0))
        if not all(isinstance(number, int) and 0 <= number < _END for number in line) or not line[2]:
            raise Invalid(f"invalid id mapping: {spelled((line,))}")
        lines.append(line)
    if len(lines) > _MOST_LINES:
        raise Invalid(f"invalid id mapping: {len(lines)} ranges are more than {_MOST_LINES}")
    for column, side in ((0, "container"), (1, "host")):
        end = 0
        for line in sorted(lines, key=lambda each: each[column]):
            if line[column] < end or line[column] + line[2] > _END:
                raise Invalid(f"invalid id mapping: {side} IDs overlap: {spelled(lines)}")
            end = line[column] + line[2]
    return tuple(lines)


def spelled(mapping: Sequence[tuple[int, int, int]]) -> str:
    """As /proc/PID/uid_map takes it."""
    return ", ".join(" ".join(map(str, line)) for line in mapping)


def parse_map(text: str) -> IdMap:
    """What /proc/PID/uid_map gives."""
    lines = (line.split() for line in text.splitlines())
    return tuple((int(inside), int(outside), int(count)) for inside, outside, count in lines)


def outside(mapping: IdMap, inside: int) -> int | None:
    """The id that the parent namespace knows an id by; None if it is not mapped."""
    for first, other, count in mapping:
        if first <= inside < first + count:
            return other + inside - first
    return None


def is_same(one: IdMap, other: IdMap) -> bool:
    """Whether two mappings say the same, however they are cut into lines."""
    return _joined_up(one) == _joined_up(other)


def _joined_up(mapping: IdMap) -> IdMap:
    """Sorted, neighbours that continue each other as one."""
    made: list[tuple[int, int, int]] = []
    for first, other, count in sorted(mapping):
        if made and made[-1][0] + made[-1][2] == first and made[-1][1] + made[-1][2] == other:
            made[-1] = (made[-1][0], made[-1][1], made[-1][2] + count)
        else:
            made.append((first, other, count))
    return tuple(made)


def _offsets(entries: Mapping[str, Any]) -> tuple[tuple[str, int, int], ...]:
    made = []
    for clock, offset in entries.items():
        if clock not in CLOCKS:
            raise Invalid(f"invalid time offset: {clock!r} is none of {', '.join(CLOCKS)}")
        seconds, nanoseconds = offset.get("secs", 0), offset.get("nanosecs", 0)
        if not isinstance(seconds, int) or not 0 <= nanoseconds < _SECOND:
            raise Invalid(f"invalid time offset of {clock}: {seconds} s {nanoseconds} ns")
        made.append((clock, seconds, nanoseconds))
    return tuple(made)
