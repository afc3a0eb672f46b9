"""A tar stream becomes a tree. Runs in a process of its own: it sets the umask and may change the working directory.

Standard library, kernel and wire only. Memory does not grow with the archive. Every path is resolved under the root's
descriptor (openat2 RESOLVE_IN_ROOT) and every last component is made without following, so no archive reaches outside,
chroot or not. Whiteouts become overlayfs's own form: a 0:0 character device, and trusted.overlay.opaque on a directory.
"""

from typing import NamedTuple


class UntarOptions(NamedTuple):
    """`whiteouts`: the stream is an image layer, `.wh.` names delete. `owner`: every file belongs to this (uid, gid).

    `no_overwrite_dir_non_dir`: refuse to replace a directory by something else, and the reverse. `keep_root`: the
    archive's own top directory (`./`) leaves the mode, owner and times of the target alone. `directory` is where in the
    root the archive's names begin (docker cp's target).
    """

    whiteouts: bool = False
    owner: tuple[int, int] | None = None
    no_overwrite_dir_non_dir: bool = False
    keep_root: bool = False
    directory: str = "/"


DEFAULTS = UntarOptions()


class Unpacked(NamedTuple):
    """`size` is the sum of the regular files' sizes, `entries` the number of members."""

    size: int
    entries: int


def untar(stream: int, root: str | int, options: UntarOptions = DEFAULTS) -> Unpacked:
    """Reads descriptor `stream` to its end and makes the tree under `root` (a path or a directory's descriptor).

    Raises BadArchive for a stream that is malformed or hostile, OSError where the disk fails (ENOSPC). What was made until
    then stays: the caller discards the staging directory.
    """
    raise NotImplementedError
