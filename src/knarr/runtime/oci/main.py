"""knarr-oci's entry point. What will likely meet a container starts again before more is loaded; `front` decides for certain."""

import os
import sys

from knarr.runtime.oci import interpreter


def main() -> int:
    """The exit code."""
    argv = sys.argv
    if not interpreter.MEET_CONTAINERS.isdisjoint(argv) and "--zygote" not in argv:
        interpreter.get_out_of_reach(argv)
    from knarr.runtime.oci import front

    return front.answer(argv, os.environ, pid=os.getpid())
