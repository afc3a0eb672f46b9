"""Which plans begin in the vacant mount namespace, and what they hold of the host before."""

from typing import Any

import pytest

from knarr.runtime import defaults
from knarr.runtime.plan import Step, plan_init
from knarr.runtime.plan_vacant import vacated

OVERLAY = [["overlay", "overlay", ["lowerdir=/a:/b", "upperdir=/c", "workdir=/d"]]]
SPACES = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "cgroup")]


def plan(rootfs: Any = OVERLAY, **changes: Any) -> tuple[Step, ...]:
    """Of a container as the engine makes it, with changes."""
    linux = {"namespaces": SPACES, "maskedPaths": list(defaults.MASKED_PATHS), **changes.pop("linux", {})}
    bind = {"type": "bind", "source": "/volume", "destination": "/data", "options": ["rbind", "rslave"]}
    bundle = {
        "process": {"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "terminal": True},
        "mounts": [*defaults.mounts(), bind, *changes.pop("mounts", ())],
        "linux": linux,
        **changes,
    }
    return plan_init(bundle, rootfs, seccomp=True)


def acts(steps: tuple[Step, ...]) -> list[str]:
    return [step.act for step in steps]


def test_what_is_the_hosts_is_held_before_it_goes_out_of_sight() -> None:
    before, after = plan(), vacated(plan())
    names = acts(after)
    assert "isolate" not in names
    where = names.index("vacate")
    assert names[where - 1] == "make-root"
    assert names[where + 1] == "root"
    assert not {"take", "take-cgroups", "procfs", "join"} & set(names[where:])
    made, root = after[where - 1], after[where + 1]
    assert made.arguments == root.arguments[:3]
    rest = [step for step in after if step.act not in ("make-root", "vacate")]
    assert rest == [step for step in before if step.act != "isolate"]


@pytest.mark.parametrize(
    "steps",
    [
        plan(hooks={"createContainer": [{"path": "/bin/true"}]}),
        plan(mounts=[{"type": "ext4", "source": "/dev/sdb", "destination": "/disk"}]),
        plan(mounts=[{"type": "overlay", "source": "o", "destination": "/o", "options": ["lowerdir=/x:/y"]}]),
        plan(rootfs=[["bind", "/image", ["rbind"]]]),
        plan(linux={"mountLabel": "system_u:object_r:container_file_t:s0"}),
        plan_init(
            {"process": {"args": ["true"], "cwd": "/"}, "root": {"path": "/image"}},
            [["bind", "/image", ["rbind"]]],
            seccomp=False,
        ),
    ],
    ids=["hooks", "a disk", "an overlay", "a bound root", "labels", "no mount namespace"],
)
def test_a_plan_that_needs_the_host_later_stays_as_it_was(steps: tuple[Step, ...]) -> None:
    assert vacated(steps) == steps
