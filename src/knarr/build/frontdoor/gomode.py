"""Go's FileMode, as fsutil's packets have it, and st_mode."""

import functools
import stat

_KINDS = {
    1 << 31: stat.S_IFDIR,
    1 << 27: stat.S_IFLNK,
    1 << 26 | 1 << 21: stat.S_IFCHR,
    1 << 26: stat.S_IFBLK,
    1 << 25: stat.S_IFIFO,
    1 << 24: stat.S_IFSOCK,
    0: stat.S_IFREG,
}
_KIND_OF = {kind: bits for bits, kind in _KINDS.items()}
_BITS = ((1 << 23, stat.S_ISUID), (1 << 22, stat.S_ISGID), (1 << 20, stat.S_ISVTX))
_KIND_MASK = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21


@functools.lru_cache(256)
def to_mode(go: int) -> int:
    """st_mode of a FileMode; an unknown kind is taken for a regular file."""
    mode = _KINDS.get(go & _KIND_MASK, stat.S_IFREG) | go & 0o777
    for bit, unix in _BITS:
        if go & bit:
            mode |= unix
    return mode


def from_mode(mode: int) -> int:
    """The FileMode of an st_mode."""
    go = _KIND_OF[stat.S_IFMT(mode)] | mode & 0o777
    for bit, unix in _BITS:
        if mode & unix:
            go |= bit
    return go
