"""Docker's `-u user[:group]` and `--group-add`, looked up in the text of a container's passwd and group files. Pure.

Rules and wording of moby/sys/user: a number needs no entry, a name does, and a number is never taken for a name
(CVE-2016-3697); the groups of a user are those that list it, but only when no group was asked for.
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
            _id(fields[2])
            for fields in _entries(group, 4)
            if login in fields[3].split(",") and _is_number(fields[2])
        ]
    gids += [
        _group(word, group, f"unable to find group {word}: no matching entries in group file")
        for word in extra
    ]
    return User(user.uid, gid, tuple(dict.fromkeys((gid, *gids))), user.home)


def home_of(uid: int, passwd: str) -> str:
    """The home of the first entry with this number; "/" without one."""
    return next((fields[5] or "/" for fields in _entries(passwd, 7) if fields[2] == str(uid)), "/")


def _person(name: str, passwd: str) -> User:
    for fields in _entries(passwd, 7):
        if _is(name or "0", fields) and _is_number(fields[2]) and _is_number(fields[3]):
            return User(_id(fields[2]), _id(fields[3]), (), fields[5] or "/")
    if not name:
        return User(0, 0, ())
    if not _is_number(name):
        raise Invalid(f"unable to find user {name}: no matching entries in passwd file")
    return User(_id(name), 0, ())


def _is(wish: str, fields: list[str]) -> bool:
    return _same(wish, fields[2]) if _is_number(wish) else fields[0] == wish


def _same(wish: str, number: str) -> bool:
    return _is_number(number) and number.lstrip("0") == wish.lstrip("0")


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit()


def _id(word: str) -> int:
    if len(word) > 32 or int(word) > _MAX_ID:
        raise Invalid(f"uids and gids must be in range 0-{_MAX_ID}")
    return int(word)


def _login(name: str, passwd: str) -> str:
    return next((fields[0] for fields in _entries(passwd, 7) if _is(name, fields)), "")


def _group(name: str, group: str, otherwise: str) -> int:
    if _is_number(name):
        return _id(name)
    for fields in _entries(group, 3):
        if fields[0] == name and _is_number(fields[2]):
            return _id(fields[2])
    raise Invalid(otherwise)


def _entries(text: str, fields: int) -> Iterator[list[str]]:
    """Lines of colon-separated fields, short ones filled up, comments and empty lines left out."""
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            found = line.split(":")
            yield found + [""] * (fields - len(found))
