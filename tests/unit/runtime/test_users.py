"""-u and --group-add against passwd and group files, as moby/sys/user reads them."""

import pytest

from knarr.model.errors import Invalid
from knarr.runtime.users import User, find_user, home_of

PASSWD = "# a comment\nroot:x:0:0:root:/root:/bin/sh\n\nweb:x:33:34:web:/srv/web:/bin/sh\nshort:x:40:41\nodd:x:a:b::/:\n"
GROUP = "root:x:0:\nweb:x:34:\naudio:x:29:web,root\nlog:x:4:\n1000:x:77:\n"


@pytest.mark.parametrize(
    ("wish", "extra", "user"),
    [
        ("", [], User(0, 0, (29,), "/root")),
        ("web", [], User(33, 34, (29,), "/srv/web")),
        ("33", [], User(33, 34, (29,), "/srv/web")),
        ("web:log", [], User(33, 4, (), "/srv/web")),
        ("web:1234", ["audio", "9", "9"], User(33, 1234, (29, 9), "/srv/web")),
        ("5555", [], User(5555, 0, (), "/")),
        ("5555:log", ["log"], User(5555, 4, (4,), "/")),
        ("short", [], User(40, 41, (), "/")),
        (":log", [], User(0, 4, (), "/root")),
    ],
)
def test_found(wish: str, extra: list[str], user: User) -> None:
    """Its own group is among the supplementary ones, first (CVE-2022-36109)."""
    groups = tuple(dict.fromkeys((user.gid, *user.groups)))
    assert find_user(wish, extra, PASSWD, GROUP) == user._replace(groups=groups)


@pytest.mark.parametrize(
    ("wish", "extra", "words"),
    [
        ("nobody", [], "unable to find user nobody: no matching entries in passwd file"),
        ("odd", [], "unable to find user odd: no matching entries in passwd file"),
        ("web:none", [], "unable to find group none: no matching entries in group file"),
        ("web", ["none"], "unable to find group none: no matching entries in group file"),
        ("4294967296", [], "uids and gids must be in range 0-2147483647"),
        ("web:4294967296", [], "uids and gids must be in range 0-2147483647"),
    ],
)
def test_not_found(wish: str, extra: list[str], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        find_user(wish, extra, PASSWD, GROUP)


@pytest.mark.parametrize(
    ("wish", "user"),
    [
        ("1000", User(1000, 0, (0,))),
        ("0001000:0", User(1000, 0, (0,))),
        ("33:77", User(33, 77, (77,))),
        ("33:\u0660", None),
        ("²", None),
        ("big", None),
    ],
)
def test_a_number_is_never_a_name(wish: str, user: User | None) -> None:
    """CVE-2016-3697; and no id out of range slips in by a file (CVE-2024-40635)."""
    passwd, group = "1000:x:0:0::/:\nbig:x:4294967296:0::/:\n", "77:x:0:\n"
    if user is None:
        with pytest.raises(Invalid):
            find_user(wish, [], passwd, group)
    else:
        assert find_user(wish, [], passwd, group) == user


def test_without_files_numbers_and_root_are_known() -> None:
    assert find_user("", [], "", "") == User(0, 0, (0,))
    assert find_user("7:8", [], "", "") == User(7, 8, (8,))
    assert (home_of(33, PASSWD), home_of(99, PASSWD)) == ("/srv/web", "/")
