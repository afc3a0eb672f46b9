"""A tree becomes a tar stream, the same bytes for the same tree. Runs in a process of its own, as untar does.

Names in order of their bytes; pax headers for what ustar cannot hold (sub-second times, xattrs, long names); hard links to
what came before. Every file is opened below its directory's descriptor without following, so a tree that changes meanwhile,
or that its container made to deceive, gives nothing from outside. A file that shrinks while it is read is filled with zeros.
"""

from typing import NamedTuple


class TarOptions(NamedTuple):
    """`name`: what the top entry is called (docker cp: the path's base name); None: its members without it.

    `follow`: if the path's last component is a symbolic link, its target (inside the root) is archived, not the link.
    `whiteouts`: the tree is an overlay's upper: write `.wh.` names for its deletions.
    """

    name: str | None = None
    follow: bool = False
    whiteouts: bool = False


DEFAULTS = TarOptions()


class Archived(NamedTuple):
    """`size` is the sum of the regular files' sizes, `entries` the number of members."""

    size: int
    entries: int


def maketar(out: int, root: str | int, path: str = "/", options: TarOptions = DEFAULTS) -> Archived:
    """Writes `path` inside `root` (a path or a directory's descriptor) to descriptor `out`, with the end-of-archive blocks.

    Raises NoSuchPath, NotADirectory, OSError.
    """
    raise NotImplementedError
