"""A plan in two parts, where an intermediate child comes before the init (`birth`). Pure.

Ahead goes what a user namespace has no right to: the host's mounts and control groups, whatever its ids may reach; the root,
whose layers take the container's ids; a better OOM score; a higher hard limit. The rest is the init's.
"""

from collections.abc import Sequence
from typing import NamedTuple

from knarr.runtime.plan_namespaces import Namespaces
from knarr.runtime.plan_steps import Step

_AHEAD = frozenset(("procfs", "oom-score", "take", "take-spare", "take-cgroups", "idmap"))
_JOINED = frozenset(("join",))
_OTHERWISE = frozenset(("take-root", "net-device"))
"""The root is made ahead; devices of the host's network are moved by who bears the init."""


class Parts(NamedTuple):
    """What the intermediate child acts, and what the init acts."""

    ahead: tuple[Step, ...]
    rest: tuple[Step, ...]


def part(steps: Sequence[Step], space: Namespaces, *, privileged: bool = True) -> Parts:
    """Whoever enters apart has joined everything at birth. Without a privilege that it would lose, the init acts all itself."""
    rest = tuple(step for step in steps if step.act not in _JOINED)
    if not space.own_user or not privileged:
        return Parts((), rest)
    ahead: list[Step] = [Step("open-cgroup", "the init may not enter it on its own")]
    kept: list[Step] = []
    built = False
    for step in rest:
        built = built or step.act in ("isolate", "enter-root")
        if step.act in _AHEAD and not built:
            ahead.append(step)
            continue
        if step.act == "root":
            ahead.append(Step("make-root", "the layers take the container's ids", step.arguments[:3]))
        if step.act not in _OTHERWISE:
            kept.append(step)
    return Parts((*ahead, *raised(steps)), tuple(kept))


def beside(steps: Sequence[Step], space: Namespaces) -> tuple[Step, ...]:
    """An exec's plan in the container's `space`: what only the host may do comes before it is joined, its keyring after."""
    if not space.own_user:
        return tuple(steps)
    made: list[Step] = []
    for step in steps:
        if step.act == "join-container":
            made += raised(steps)
        if step.act != "keyring":
            made.append(step)
        if step.act == "join-container":
            made += [each for each in steps if each.act == "keyring"]
    return tuple(made)


def raised(steps: Sequence[Step]) -> tuple[Step, ...]:
    """For each limit that is set in a user namespace: only the host may raise a hard one."""
    return tuple(
        Step("raise-limit", "only the host may raise it", (step.arguments[1], step.arguments[3]))
        for step in steps
        if step.act == "rlimit"
    )
