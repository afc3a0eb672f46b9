"""What is true of a process of a container, its init or another, becomes steps. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from knarr.model.errors import Invalid
from knarr.runtime.plan_checks import numbers
from knarr.runtime.plan_seccomp import filter_flags, has_notify
from knarr.runtime.plan_steps import Step

RLIMITS = {
    f"RLIMIT_{name}": number
    for number, name in enumerate(
        (
            "CPU",
            "FSIZE",
            "DATA",
            "STACK",
            "CORE",
            "RSS",
            "NPROC",
            "NOFILE",
            "MEMLOCK",
            "AS",
            "LOCKS",
            "SIGPENDING",
            "MSGQUEUE",
            "NICE",
            "RTPRIO",
            "RTTIME",
        )
    )
}
"""asm-generic/resource.h, which x86 and ARM use."""

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
PERSONALITIES = {"LINUX": 0x0000, "LINUX32": 0x0008}
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}
_NO_NODES, _SOME_NODES = ("MPOL_DEFAULT", "MPOL_LOCAL"), ("MPOL_PREFERRED",)
_INFINITY = (1 << 64) - 1


def checked(process: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A process that can be started at all."""
    if not process or not process.get("args"):
        raise Invalid("no command specified")
    if not str(process.get("cwd") or "").startswith("/"):
        raise Invalid(f"cwd must be an absolute path: {process.get('cwd')!r}")
    return process


def refused(linux: Mapping[str, Any]) -> Iterator[Step]:
    """What is asked for and never done: the act says whether the kernel lacks it, or we."""
    if linux.get("intelRdt") is not None:
        yield Step("intel-rdt", "asked for")


def host_writes(process: Mapping[str, Any]) -> Iterator[Step]:
    """What is written through the host's own procfs, before anything of the container's is in sight."""
    if process.get("oomScoreAdj") is not None:
        yield Step("oom-score", "how likely the kernel picks it", (int(process["oomScoreAdj"]),))


def labels(process: Mapping[str, Any]) -> Iterator[Step]:
    """Profiles of security modules, which execve(2) puts into force."""
    if process.get("apparmorProfile"):
        yield Step("apparmor", "asked for", (str(process["apparmorProfile"]),))
    if process.get("selinuxLabel"):
        yield Step("selinux", "asked for", (str(process["selinuxLabel"]),))


def scheduling(process: Mapping[str, Any], linux: Mapping[str, Any]) -> Iterator[Step]:
    """When, where and how it runs; nothing of it is changed unless it is asked for."""
    if process.get("scheduler"):
        yield Step("scheduler", "asked for", _scheduler(process["scheduler"]))
    if process.get("ioPriority"):
        yield Step("io-priority", "asked for", _io_priority(process["ioPriority"]))
    if linux.get("personality"):
        yield from _personality(linux["personality"])
    if linux.get("memoryPolicy") is not None:
        yield Step("memory-policy", "asked for", _memory_policy(linux["memoryPolicy"]))


def affinity(process: Mapping[str, Any], moment: str) -> Iterator[Step]:
    """execCPUAffinity: `initial` before the container's cgroup is entered, `final` afterwards."""
    wish = str((process.get("execCPUAffinity") or {}).get(moment) or "")
    if wish:
        cpus = numbers(wish, f"bad CPUAffinity.{moment.capitalize()}")
        yield Step("affinity", f"asked for ({moment})", (cpus, moment == "initial"))


def look_up(process: Mapping[str, Any], *, create: bool) -> Iterator[Step]:
    """Who it is, and where it starts."""
    user = process.get("user") or {}
    if user.get("name") is not None or "uid" not in user:
        words = (user.get("name") or "", tuple(user.get("groups") or ()))
        yield Step("user", "looked up in the container's own /etc/passwd and /etc/group", words)
    else:
        ids = (int(user["uid"]), int(user.get("gid") or 0), tuple(user.get("additionalGids") or ()))
        yield Step("user-ids", "asked for", ids)
    if create and process["cwd"] != "/":
        reason = "the working directory is made if the image lacks it"
        yield Step("directory", reason, (process["cwd"],))


def drop(
    process: Mapping[str, Any], seccomp: Mapping[str, Any] | None, *, die_with_shim: bool
) -> Iterator[Step]:
    """Without no_new_privs a filter needs CAP_SYS_ADMIN, so it loads before the capabilities go (seccomp(2)).

    Limits come late: a small one would stop the walk itself.
    """
    guarded = bool(process.get("noNewPrivileges"))
    sets = {name: tuple(names or ()) for name, names in (process.get("capabilities") or {}).items()}
    yield Step("stdio", "standard input, output and error belong to its user")
    yield Step("cwd", "where it starts", (process["cwd"],))
    yield from _rlimits(process)
    umask = (process.get("user") or {}).get("umask")
    if umask is not None:
        yield Step("umask", "asked for", (int(umask) & 0o777,))
    if guarded:
        yield Step("no-new-privileges", "set-uid programs give nothing")
    elif seccomp is not None:
        yield _filter(seccomp)
    yield Step("bounding", "no program can gain more", (sets.get("bounding", ()),))
    yield Step("identity", "from here on it is its user")
    words = tuple(sets.get(name, ()) for name in ("effective", "permitted", "inheritable", "ambient"))
    yield Step("capabilities", "what it may do", words)
    if die_with_shim:
        yield Step("die-with-shim", "without its shim nobody would answer for the container")
    yield Step("command", "found, as its user, before it is promised", (process["args"][0],))
    if guarded and seccomp is not None:
        yield _filter(seccomp)


def _filter(seccomp: Mapping[str, Any]) -> Step:
    words = (filter_flags(seccomp), has_notify(seccomp))
    return Step("seccomp", "system calls that reach the host are refused", words)


def _rlimits(process: Mapping[str, Any]) -> Iterator[Step]:
    seen: set[str] = set()
    for limit in process.get("rlimits") or ():
        name = str(limit.get("type") or "")
        if name not in RLIMITS:
            raise Invalid(f"invalid rlimit type: {name}")
        if name in seen:
            raise Invalid(f"rlimit type {name} is set twice")
        seen.add(name)
        soft, hard = (int(limit.get(word) or 0) & _INFINITY for word in ("soft", "hard"))
        if soft > hard:
            raise Invalid(f"{name}: the soft limit {soft} is above the hard limit {hard}")
        yield Step("rlimit", "asked for", (name, RLIMITS[name], soft, hard))


def _scheduler(wish: Mapping[str, Any]) -> tuple[int, ...]:
    """(policy, flags, nice, priority, runtime, deadline, period), checked as runc does (validator.go, scheduler)."""
    policy = str(wish.get("policy") or "")
    if not policy:
        raise Invalid("scheduler policy is required")
    if policy not in POLICIES:
        raise Invalid(f"invalid scheduler policy: {policy}")
    nice, priority = int(wish.get("nice") or 0), int(wish.get("priority") or 0)
    if policy in ("SCHED_OTHER", "SCHED_BATCH") and not -20 <= nice <= 19:
        raise Invalid(f"invalid scheduler.nice: {nice} when scheduler.policy is {policy}")
    if priority and policy not in ("SCHED_FIFO", "SCHED_RR"):
        raise Invalid("scheduler.priority can only be specified for SchedFIFO or SchedRR policy")
    times = tuple(int(wish.get(name) or 0) for name in ("runtime", "deadline", "period"))
    if any(times) and policy != "SCHED_DEADLINE":
        raise Invalid("scheduler runtime/deadline/period can only be specified for SchedDeadline policy")
    return (
        POLICIES[policy],
        _sum(wish.get("flags"), SCHEDULER_FLAGS, "scheduler flag"),
        nice,
        priority,
        *times,
    )


def _sum(names: Any, table: Mapping[str, int], what: str) -> int:
    total = 0
    for name in names or ():
        if name not in table:
            raise Invalid(f"invalid {what}: {name}")
        total |= table[name]
    return total


def _io_priority(wish: Mapping[str, Any]) -> tuple[int, int]:
    name, priority = wish.get("class"), int(wish.get("priority") or 0)
    if not 0 <= priority <= 7:
        raise Invalid(f"invalid ioPriority.Priority: {priority}")
    if name not in IO_CLASSES:
        raise Invalid(f'invalid ioPriority.Class: "{name or ""}"')
    return IO_CLASSES[name], priority


def _personality(wish: Mapping[str, Any]) -> Iterator[Step]:
    domain = str(wish.get("domain") or "")
    if domain not in PERSONALITIES:
        raise Invalid(f"invalid personality domain {domain}")
    if wish.get("flags"):
        yield Step("warn", "the specification names none", ("ignoring unsupported personality flags",))
    yield Step("personality", "asked for", (PERSONALITIES[domain],))


def _memory_policy(wish: Mapping[str, Any]) -> tuple[int, tuple[int, ...]]:
    mode = str(wish.get("mode") or "")
    if mode not in MEMORY_MODES:
        raise Invalid(f'invalid memory policy mode "{mode}"')
    nodes = numbers(str(wish.get("nodes") or ""), "invalid memory policy nodes")
    if nodes and mode in _NO_NODES:
        raise Invalid(f"memory policy mode requires 0 nodes but got {len(nodes)}")
    if not nodes and mode not in _NO_NODES + _SOME_NODES:
        raise Invalid("memory policy mode requires at least one node but got 0")
    return MEMORY_MODES[mode] | _sum(wish.get("flags"), MEMORY_FLAGS, "memory policy flag"), nodes
