"""Before a process steps into a root that it does not trust, it lets go of everything that could reach across.

The interpreter loads code by path: after chroot(2), setns(2) or pivot_root(2) the same path is the container's file, run with
the host's privileges (the class of CVE-2019-14271). And a descriptor of the host is a way back (CVE-2024-21626).
"""

import codecs
import gc
import sys
from collections.abc import Iterable

from knarr.kernel.process import close_range

for _name in ("ascii", "latin-1", "utf-8"):
    codecs.lookup(_name)


def seal_imports() -> None:
    """From here on `import` finds only what is loaded already."""
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path.clear()
    sys.path_importer_cache.clear()


def keep_only(descriptors: Iterable[int]) -> None:
    """Closes every descriptor above 2 that is not named. No object is collected any more: it could close a number anew."""
    gc.disable()
    first = 3
    for kept in sorted({number for number in descriptors if number > 2}):
        if kept > first:
            close_range(first, kept - 1)
        first = kept + 1
    close_range(first)
