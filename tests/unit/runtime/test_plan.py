"""Plans: what is asked for becomes steps, in the order that the kernel needs."""

import json
from typing import Any

import pytest

from knarr.model.errors import Invalid
from knarr.runtime import caps, defaults
from knarr.runtime.plan import Options, Step, parse_options, plan_exec, plan_init, split_namespaces
from knarr.runtime.plan_vacant import vacated
from knarr.runtime.walk import ACTS
from knarr.wire.shim import folded

USERNS = ("device-bind", "take-spare", "raise-limit", "open-cgroup", "mount-or-bind", "idmap", "make-root")
IDS = [{"containerID": 0, "hostID": 1, "size": 1}]
ROOT = [["overlay", "overlay", ["lowerdir=/a:/b", "upperdir=/u", "workdir=/w"]]]


def bundle(**changes: Any) -> dict[str, Any]:
    process = {
        "args": ["true"],
        "cwd": "/srv",
        "user": {"name": "web"},
        "env": [],
        "capabilities": {"bounding": ["CAP_KILL"]},
        **changes.pop("process", {}),
    }
    linux = {
        "namespaces": [{"type": kind} for kind in ("mount", "pid", "cgroup", "uts")],
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        **changes.pop("linux", {}),
    }
    return {"process": process, "linux": linux, "mounts": defaults.mounts(), "hostname": "box", **changes}


def acts(steps: tuple[Step, ...]) -> list[str]:
    return [step.act for step in steps]


def everything() -> dict[str, Any]:
    """Asks for everything that a plan can hold beside what excludes it."""
    joined = [
        {"type": "mount"},
        {"type": "network", "path": "/run/netns/a"},
        {"type": "cgroup"},
        {"type": "uts"},
        {"type": "pid", "path": "/p"},
    ]
    mounts = [
        {"destination": "/x", "type": "bind", "source": "/host", "options": ["rbind", "ro"]},
        {"destination": "t", "type": "tmpfs", "options": ["tmpcopyup"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]},
        {"destination": "/ro", "type": "tmpfs", "options": ["ro"]},
        {"destination": "/x", "type": "bind", "options": ["remount", "ro"]},
    ]
    process = {
        "terminal": True,
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
        "oomScoreAdj": 5,
        "apparmorProfile": "guarded",
        "selinuxLabel": "a:b:c:d",
        "scheduler": {"policy": "SCHED_BATCH", "nice": 3},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "execCPUAffinity": {"initial": "0", "final": "0-1"},
        "user": {"name": "web", "umask": 0o77},
    }
    linux = {
        "namespaces": joined,
        "sysctl": {"net.core.somaxconn": 1},
        "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}],
        "netDevices": {"eth7": {}},
        "rootfsPropagation": "shared",
        "personality": {"domain": "LINUX32"},
        "memoryPolicy": {"mode": "MPOL_DEFAULT"},
        "intelRdt": {},
    }
    hook = [{"path": "/bin/hook"}]
    return bundle(
        process=process,
        linux=linux,
        mounts=[*defaults.mounts(), *mounts],
        root={"readonly": True},
        domainname="example",
        hooks={"prestart": hook, "createContainer": hook, "startContainer": hook},
    )


def bare() -> dict[str, Any]:
    """Of a container that shares the runtime's mount namespace, and has a network of its own."""
    return bundle(
        linux={"namespaces": [{"type": "uts"}, {"type": "network"}], "maskedPaths": [], "readonlyPaths": []}
    )


def test_every_step_has_an_act_and_a_reason() -> None:
    guarded = bundle(process={"noNewPrivileges": True, "user": {"uid": 1, "gid": 2}})
    steps = plan_init(everything(), ROOT, seccomp=True) + plan_init(guarded, ROOT, seccomp=True)
    steps += vacated(plan_init(bundle(), ROOT, seccomp=True))
    steps += plan_init(everything(), [["bind", "/image", ["rbind"]]], seccomp=True, no_pivot=True)
    mapped = {"options": ["rbind", "idmap"], "uidMappings": IDS, "gidMappings": IDS}
    own = [{"destination": "/own", "type": "bind", "source": "/image/x", **mapped}]
    steps += plan_init(bundle(mounts=own), [["bind", "/image", ["rbind"]]], seccomp=True)
    steps += plan_init(bare(), [["bind", "/image", ["rbind"]]], seccomp=False)
    steps += plan_exec({**everything()["process"], "noNewPrivileges": True}, seccomp=True)
    steps += tuple(Step(act, "userns") for act in USERNS)
    assert {step.act for step in steps} == set(ACTS)
    assert all(step.reason for step in steps)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("procfs", "oom-score"),
        ("procfs", "take"),
        ("enter-cgroup", "unshare-cgroup"),
        ("take", "join"),
        ("join", "sysctl"),
        ("join", "isolate"),
        ("join", "net-device"),
        ("take", "isolate"),
        ("isolate", "root"),
        ("root", "mount"),
        ("mount", "device"),
        ("device", "parent-hooks"),
        ("parent-hooks", "create-hooks"),
        ("create-hooks", "apparmor"),
        ("create-hooks", "pivot"),
        ("remount", "pivot"),
        ("pivot", "root-propagation"),
        ("mask", "root-propagation"),
        ("console", "root-propagation"),
        ("pivot", "terminal"),
        ("terminal", "console"),
        ("console", "close-mount"),
        ("sysctl", "readonly"),
        ("directory", "readonly-root"),
        ("directory", "close-mount"),
        ("device", "mask"),
        ("user", "stdio"),
        ("readonly-root", "stdio"),
        ("scheduler", "identity"),
        ("rlimit", "identity"),
        ("seccomp", "bounding"),
        ("bounding", "identity"),
        ("identity", "capabilities"),
        ("capabilities", "command"),
    ],
)
def test_the_order_is_the_law(earlier: str, later: str) -> None:
    order = acts(plan_init(everything(), ROOT, seccomp=True))
    assert len(order) - 1 - order[::-1].index(earlier) < order.index(later)


def test_with_no_new_privileges_the_filter_is_last() -> None:
    order = acts(plan_init(bundle(process={"noNewPrivileges": True}), ROOT, seccomp=True))
    assert order[-1] == "seccomp"
    assert order.index("no-new-privileges") < order.index("identity")


def test_an_exec_makes_no_mounts() -> None:
    order = acts(plan_exec(bundle()["process"], seccomp=False))
    assert order[:4] == ["protect", "enter-cgroup", "keyring", "join-container"]
    assert not {"mount", "pivot", "directory", "seccomp"} & set(order)


def test_a_bound_dev_gets_no_devices() -> None:
    mounts = [{"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}]
    assert "device" not in acts(plan_init(bundle(mounts=mounts), ROOT, seccomp=False))


def test_options_are_sorted() -> None:
    options = parse_options(["rw", "nosuid", "rbind", "size=1m", "rslave", "rro", "noswap", "defaults"])
    assert options == Options(
        on=("nosuid",),
        off=("ro",),
        recursive=("ro",),
        propagation=("rslave",),
        data=("size=1m", "noswap"),
        extras=("rbind",),
    )


def test_namespaces() -> None:
    assert split_namespaces(everything()["linux"]["namespaces"]) == (
        ("mount", "cgroup", "uts"),
        (("network", "/run/netns/a"), ("pid", "/p")),
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"process": {"args": []}}, "no command specified"),
        ({"process": {"cwd": "srv"}}, "cwd must be an absolute path"),
        (
            {"linux": {"namespaces": [{"type": "uts"}]}},
            "restrict sys entries without a private MNT namespace",
        ),
        ({"linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}}, "duplicated ns 'pid'"),
        ({"linux": {"namespaces": [{"type": "moon"}]}}, "unknown namespace type 'moon'"),
        ({"linux": {"namespaces": [{"type": "mount"}]}}, "hostname without a private UTS namespace"),
        ({"ociVersion": "2.0.0"}, "ociVersion 2.0.0 is not supported"),
    ],
)
def test_bad_bundles(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        plan_init(bundle(**changes), ROOT, seccomp=False)


def test_a_root_is_one_mount() -> None:
    with pytest.raises(Invalid, match="a root is one mount, not 0"):
        plan_init(bundle(), [], seccomp=False)


def test_an_order_travels_with_what_the_shim_needs_beside_the_bundle() -> None:
    rootfs = {"mounts": [["bind", "/", []]]}
    order = folded({"id": "x", "bundle": bundle(), "rootfs": rootfs})
    assert order == {"id": "x", "terminal": False, "plan": order["plan"]}
    assert json.loads(order["plan"]) == {"bundle": bundle(), "rootfs": rootfs}
    chores = folded({"id": "x", "bundle": everything(), "rootfs": rootfs})["chores"]
    assert set(chores["hooks"]) == {"prestart", "createContainer", "startContainer"}


def test_capability_bits() -> None:
    assert caps.bits(["CAP_CHOWN", "CAP_KILL", "CAP_UNHEARD_OF"]) == 0b100001
    assert caps.bits(caps.DEFAULT) == 0xA80425FB
