"""What an intermediate child acts of a plan, with the host's privileges, before the init is born in its user namespace.

What it opens the init inherits: trees, the root, the host's /proc. A failure here is raised by whoever bears (`birth.bear`).
"""

import os
from collections.abc import Callable, Sequence

from knarr.runtime import failures
from knarr.runtime.plan import Step
from knarr.runtime.plan_userns import part
from knarr.runtime.state import Walk
from knarr.runtime.walk import act

Prepare = Callable[[Walk], Sequence[Step]]


def walk_prelude(walk: Walk, prepare: Prepare, prefix: str) -> None:
    """Plans, acts the part that comes before the birth, and leaves the rest to the init. Raises as a walk would tell it."""
    try:
        parts = part(prepare(walk), walk.space, privileged=os.geteuid() == 0)
        umask = os.umask(0)
        walk.told += [act(walk, step) for step in parts.ahead]
        os.umask(umask)
        walk.rest = parts.rest
        while walk.mappings:
            os.close(walk.mappings.popitem()[1])
    except OSError as error:
        raise failures.failure(prefix, failures.spoken(error)) from None


def remaining(walk: Walk, prepare: Prepare) -> Prepare:
    """What is left for the init: everything, where nobody came ahead."""

    def rest(_: Walk) -> Sequence[Step]:
        return prepare(walk) if walk.rest is None else walk.rest

    return rest
