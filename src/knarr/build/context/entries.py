"""One file of a context, and how two of them are told apart."""

import stat
from collections.abc import Mapping

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`mode` is st_mode; `mtime` ns; `link` a symbolic link's target; `digest` the SHA-256 (hex) of a regular file's
    content; `device` (major, minor). `path` is relative, without a leading or trailing slash; `same` the path of an earlier
    file that this is another name of."""

    path: str
    mode: int
    size: int = 0
    mtime: int = 0
    uid: int = 0
    gid: int = 0
    link: str = ""
    digest: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = {}
    same: str = ""

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_regular(self) -> bool:
        return stat.S_ISREG(self.mode)


Index = Mapping[str, Entry]
