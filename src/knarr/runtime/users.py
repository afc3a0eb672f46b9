"""Docker's `-u user[:group]` and `--group-add`, looked up in the text of a container's passwd and group files. Pure.

Rules and wording of moby/sys/user: a number needs no entry, a name does; the groups of a user are those that list it, but
only when no group was asked for.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from knarr.model.errors import Invalid

_MAX_ID = (1 << 31) - 1


class User(NamedTuple):
    """Who a process is; `groups` are the supplementary ones, its own among them (CVE-2022-36109); `home` is for HOME."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str = "/"


def find_user(wish: str, extra: Sequence[str], passwd: str, group: str) -> User:
    """Raises Invalid with Docker's words."""
    name, _, group_name = wish.partition(":")
    user = _person(name, passwd)
    gids: list[int] = []
    gid = user.gid
    login = _login(name or "0", passwd)
    if group_name:
        gid = _group(
            group_name, group, f"unable to find group {group_name}: no matching entries in group file"
        )
    elif login:
        gids = [
            int(fields[2])
            for fields in _entries(group, 4)
            if login in fields[3].split(",") and fields[2].isdigit()
        ]
    gids += [_group(word, group, f"Unable to find group {word}") for word in extra]
    return User(user.uid, gid, tuple(dict.fromkeys((gid, *gids))), user.home)


def home_of(uid: int, passwd: str) -> str:
    """The home of the first entry with this number; "/" without one."""
    return next((fields[5] or "/" for fields in _entries(passwd, 7) if fields[2] == str(uid)), "/")


def _person(name: str, passwd: str) -> User:
    for fields in _entries(passwd, 7):
        named = fields[0] == name or fields[2] == (name or "0")
        if named and fields[2].isdigit() and fields[3].isdigit():
            return User(int(fields[2]), int(fields[3]), (), fields[5] or "/")
    if not name:
        return User(0, 0, ())
    if not name.isdigit():
        raise Invalid(f"unable to find user {name}: no matching entries in passwd file")
    if int(name) > _MAX_ID:
        raise Invalid(f"uids and gids must be in range 0-{_MAX_ID}")
    return User(int(name), 0, ())


def _login(name: str, passwd: str) -> str:
    return next((fields[0] for fields in _entries(passwd, 7) if name in (fields[0], fields[2])), "")


def _group(name: str, group: str, otherwise: str) -> int:
    for fields in _entries(group, 3):
        if fields[0] == name and fields[2].isdigit():
            return int(fields[2])
    if not name.isdigit():
        raise Invalid(otherwise)
    if int(name) > _MAX_ID:
        raise Invalid(f"uids and gids must be in range 0-{_MAX_ID}")
    return int(name)


def _entries(text: str, fields: int) -> Iterator[list[str]]:
    """Lines of colon-separated fields, short ones filled up, comments and empty lines left out."""
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            found = line.split(":")
            yield found + [""] * (fields - len(found))
