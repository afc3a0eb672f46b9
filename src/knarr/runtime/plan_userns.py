"""A plan in two parts, where an intermediate child comes before the init (`birth`). Pure.

Ahead goes what a user namespace has no right to: the host's mounts and control groups, whatever its ids may reach; the root,
whose layers take the container's ids; a better OOM score; a higher hard limit. The rest is the init's.
"""

from collections.abc import Sequence
from typing import NamedTuple

from knarr.runtime.plan import Step
from knarr.runtime.plan_namespaces import Namespaces

_AHEAD = frozenset(("procfs", "oom-score", "take", "take-cgroups", "idmap"))
_JOINED = frozenset(("join",))
_OTHERWISE = frozenset(("take-root",))


class Parts(NamedTuple):
    """What the intermediate child acts, and what the init acts."""

    ahead: tuple[Step, ...]
    rest: tuple[Step, ...]


def part(steps: Sequence[Step], space: Namespaces) -> Parts:
    """Whoever enters apart has joined everything at birth; only a user namespace has something ahead."""
    rest = tuple(step for step in steps if step.act not in _JOINED)
    if not space.own_user:
        return Parts((), rest)
    ahead: list[Step] = [Step("open-cgroup", "the init may not enter it on its own")]
    for step in rest:
        if step.act in _AHEAD:
            ahead.append(step)
        elif step.act == "root":
            ahead.append(Step("make-root", "the layers take the container's ids", step.arguments[:3]))
        elif step.act == "rlimit":
            name, _, _, hard = step.arguments
            ahead.append(Step("raise-limit", "only the host may raise it", (name, hard)))
    return Parts(tuple(ahead), tuple(step for step in rest if step.act not in _AHEAD | _OTHERWISE))
