"""A plan whose mount namespace is no copy of the host's. Pure.

All that is the host's is held before the namespace changes: trees that are bound, and the root. A plan that needs a path of the
host later than that (hooks, file systems of a device or a server) stays as it was.
"""

from collections.abc import Sequence

from knarr.runtime.plan_steps import Step

_OF_THE_KERNEL = ("proc", "sysfs", "tmpfs", "devpts", "mqueue")
_INSIDE = frozenset(
    (
        *("root", "bind", "cgroup-mount", "device", "link", "pivot", "root-propagation", "close-mount"),
        *("terminal", "console", "hostname", "domainname", "user", "user-ids", "directory"),
        *("readonly", "mask", "readonly-root", "stdio", "cwd", "rlimit", "umask", "no-new-privileges"),
        *("seccomp", "bounding", "identity", "capabilities", "die-with-shim", "command"),
    )
)
"""What meets nothing but the container's root and this process."""


def vacated(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The same, begun in the vacant namespace if it can be: then "vacate" is among its acts."""
    cut = next((number for number, step in enumerate(steps) if step.act == "isolate"), len(steps))
    rest = steps[cut + 1 :]
    if not rest or rest[0].act != "root" or rest[0].arguments[0] == "bind" or not all(map(_inside, rest)):
        return tuple(steps)
    root = rest[0]
    return (
        *steps[:cut],
        Step("make-root", root.reason, root.arguments[:3]),
        Step("vacate", "mounts made here stay here, and the host's stay there"),
        *rest,
    )


def _inside(step: Step) -> bool:
    if step.act in ("mount", "copy-up"):
        _, kind, _, _, label = step.arguments
        return kind in _OF_THE_KERNEL and not label
    return step.act in _INSIDE
