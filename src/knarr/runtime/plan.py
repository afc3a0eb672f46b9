"""An OCI configuration becomes the list of steps that the container's init walks. Pure: no I/O, no order but its own.

The order is the law: what needs the host (joined namespaces, sources of bind mounts) comes before the pivot, what needs
privilege before it is dropped, the filter last. `walk.py` has one function an act, by the act's name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from knarr.model.errors import Invalid
from knarr.runtime.defaults import DEVICE_LINKS, DEVICES

NAMESPACES = ("mount", "pid", "network", "ipc", "uts", "cgroup", "user", "time")
ATTRIBUTES = frozenset(
    ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "strictatime", "nosymfollow")
)
_CLEARS = {
    "rw": "ro",
    "suid": "nosuid",
    "dev": "nodev",
    "exec": "noexec",
    "atime": "noatime",
    "diratime": "nodiratime",
    "symfollow": "nosymfollow",
}
_PROPAGATIONS = ("private", "slave", "shared", "unbindable")
_IGNORED = frozenset(("bind", "rbind", "defaults", "async", "norelatime", "nostrictatime", "loud"))


class Step(NamedTuple):
    """One act, why it is done, and what `walk` needs to do it."""

    act: str
    reason: str
    arguments: tuple[Any, ...] = ()


class Options(NamedTuple):
    """fstab words sorted: attributes set and cleared (`recursive`: on everything below), propagation, the rest as data."""

    on: tuple[str, ...]
    off: tuple[str, ...]
    recursive: tuple[str, ...]
    propagation: str
    data: tuple[str, ...]


def parse_options(words: Sequence[str]) -> Options:
    """Sorts mount words. A leading r makes an attribute or a propagation recursive (mount_setattr(2))."""
    on: list[str] = []
    off: list[str] = []
    recursive: list[str] = []
    data: list[str] = []
    propagation = ""
    for word in words:
        if word in ATTRIBUTES:
            on.append(word)
        elif word in _CLEARS:
            off.append(_CLEARS[word])
        elif word[:1] == "r" and word[1:] in ATTRIBUTES:
            recursive.append(word[1:])
        elif word.removeprefix("r") in _PROPAGATIONS or word in _PROPAGATIONS:
            propagation = word
        elif word and word not in _IGNORED:
            data.append(word)
    return Options(tuple(on), tuple(off), tuple(recursive), propagation, tuple(data))


def plan_init(
    bundle: Mapping[str, Any], rootfs: Sequence[Sequence[Any]], *, seccomp: bool
) -> tuple[Step, ...]:
    """The whole life of an init up to execve. Raises Invalid.

    New namespaces, and a joined pid namespace, are no steps: they are made or entered by who clones the init.
    """
    linux = bundle.get("linux") or {}
    process = _process(bundle.get("process"))
    new, joined = split_namespaces(linux.get("namespaces") or ())
    mounts = bundle.get("mounts") or ()
    steps = [
        Step("protect", "no process of the container may look into this one"),
        Step("enter-cgroup", "its limits hold from here on"),
        Step("keyring", "the host's keys are not inherited"),
    ]
    steps += [
        Step("join", f"share the {kind} namespace at {path}", (kind, path))
        for kind, path in joined
        if kind != "pid"
    ]
    if "cgroup" in new:
        steps.append(Step("unshare-cgroup", "its own control group is the root that it sees"))
    steps += _sources(mounts)
    steps.append(Step("isolate", "mounts made here stay here"))
    steps += _root(rootfs)
    steps += _mounts(mounts)
    steps += _devices(mounts, linux.get("devices") or (), bool(process.get("terminal")))
    steps += _identity(bundle, linux)
    steps += _limits(process)
    steps += _look_up(process, create=True)
    steps += _closed(bundle, linux)
    steps += _drop(process, seccomp, init=True)
    return tuple(steps)


def plan_exec(process: Mapping[str, Any], *, seccomp: bool) -> tuple[Step, ...]:
    """A process beside the init: it stands in the container's namespaces already."""
    process = _process(process)
    steps = [
        Step("protect", "no process of the container may look into this one"),
        Step("enter-cgroup", "the container's limits hold for it too"),
        Step("keyring", "the host's keys are not inherited"),
        Step("join-container", "it sees what the init sees"),
    ]
    if process.get("terminal"):
        steps.append(Step("terminal", "a pseudo-terminal of the container"))
    steps += _limits(process)
    steps += _look_up(process, create=False)
    steps += _drop(process, seccomp, init=False)
    return tuple(steps)


def _process(process: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not process or not process.get("args"):
        raise Invalid("no command specified")
    if not str(process.get("cwd") or "").startswith("/"):
        raise Invalid(f"cwd must be an absolute path: {process.get('cwd')!r}")
    return process


def split_namespaces(
    entries: Sequence[Mapping[str, Any]],
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The kinds to make, and those to join with their paths. Raises Invalid."""
    new, joined = [], []
    for entry in entries:
        kind, path = entry.get("type"), entry.get("path")
        if kind not in NAMESPACES:
            raise Invalid(f"unknown namespace type {kind!r}")
        if path:
            joined.append((kind, path))
        else:
            new.append(kind)
    if "mount" not in new:
        raise Invalid("a container needs a mount namespace of its own")
    return tuple(new), tuple(joined)


def _is_bind(mount: Mapping[str, Any]) -> bool:
    options = mount.get("options") or ()
    return mount.get("type") == "bind" or "bind" in options or "rbind" in options


def _sources(mounts: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Before `isolate`: a tree cloned now is still a peer of the host's mount, which rshared and rslave need."""
    steps = [
        Step(
            "take",
            f"hold {mount['source']} of the host for {mount['destination']}",
            (number, mount["source"], mount["destination"], "bind" not in (mount.get("options") or ())),
        )
        for number, mount in enumerate(mounts)
        if _is_bind(mount)
    ]
    if any(mount.get("type") == "cgroup" for mount in mounts):
        steps.append(Step("take-cgroups", "hold the container's own control groups"))
    return steps


def _root(rootfs: Sequence[Sequence[Any]]) -> list[Step]:
    if len(rootfs) != 1:
        raise Invalid(f"a root is one mount, not {len(rootfs)}")
    kind, source, options = rootfs[0]
    return [
        Step("root", f"the image's layers become / ({kind})", (kind, source, tuple(options))),
        Step("pivot", "the host's files go out of reach"),
    ]


def _mounts(mounts: Sequence[Mapping[str, Any]]) -> list[Step]:
    steps = []
    for number, mount in enumerate(mounts):
        destination = mount["destination"]
        if not destination.startswith("/"):
            raise Invalid(
                f"invalid mount config: invalid mount path: '{destination}' mount path must be absolute"
            )
        options = parse_options(mount.get("options") or ())
        if _is_bind(mount):
            steps.append(Step("bind", f"{mount['source']} of the host", (number, destination, options)))
        elif mount["type"] == "cgroup":
            steps.append(Step("cgroup-mount", "the container's own control groups", (destination, options)))
        else:
            source = mount.get("source") or mount["type"]
            steps.append(
                Step("mount", f"a {mount['type']} of its own", (destination, mount["type"], source, options))
            )
    return steps


def _devices(
    mounts: Sequence[Mapping[str, Any]], devices: Sequence[Mapping[str, Any]], terminal: bool
) -> list[Step]:
    """The usual nodes, unless /dev is the host's (then it has them), the asked ones, and the terminal."""
    steps = []
    if not any(mount["destination"].rstrip("/") == "/dev" and _is_bind(mount) for mount in mounts):
        asked = {device["path"] for device in devices}
        steps += [
            Step("device", "every program counts on it", (path, "c", major, minor, 0o666, 0, 0))
            for path, major, minor in DEVICES
            if path not in asked
        ]
        steps += [Step("link", "every program counts on it", (target, path)) for target, path in DEVICE_LINKS]
    steps += [
        Step(
            "device",
            "asked for",
            (
                device["path"],
                device.get("type", "c"),
                device.get("major", 0),
                device.get("minor", 0),
                device.get("fileMode") or 0o666,
                device.get("uid") or 0,
                device.get("gid") or 0,
            ),
        )
        for device in devices
    ]
    if terminal:
        steps.append(Step("terminal", "a pseudo-terminal of the container, /dev/console with it"))
        steps.append(Step("console", "programs write to /dev/console"))
    return steps


def _identity(bundle: Mapping[str, Any], linux: Mapping[str, Any]) -> list[Step]:
    steps = []
    if bundle.get("hostname"):
        steps.append(Step("hostname", "its name in its UTS namespace", (bundle["hostname"],)))
    if bundle.get("domainname"):
        steps.append(Step("domainname", "its NIS domain", (bundle["domainname"],)))
    steps += [
        Step("sysctl", "asked for", (name, str(value))) for name, value in (linux.get("sysctl") or {}).items()
    ]
    return steps


def _limits(process: Mapping[str, Any]) -> list[Step]:
    steps = []
    if process.get("oomScoreAdj") is not None:
        steps.append(Step("oom-score", "how likely the kernel picks it", (int(process["oomScoreAdj"]),)))
    steps += [
        Step("rlimit", "asked for", (limit["type"], int(limit["soft"]), int(limit["hard"])))
        for limit in process.get("rlimits") or ()
    ]
    return steps


def _look_up(process: Mapping[str, Any], *, create: bool) -> list[Step]:
    user = process.get("user") or {}
    steps = []
    if user.get("name") is not None or "uid" not in user:
        words = (user.get("name") or "", tuple(user.get("groups") or ()))
        steps.append(Step("user", "looked up in the container's own /etc/passwd and /etc/group", words))
    else:
        ids = (int(user["uid"]), int(user.get("gid") or 0), tuple(user.get("additionalGids") or ()))
        steps.append(Step("user-ids", "asked for", ids))
    if create and process["cwd"] != "/":
        steps.append(
            Step("directory", "the working directory is made if the image lacks it", (process["cwd"],))
        )
    return steps


def _closed(bundle: Mapping[str, Any], linux: Mapping[str, Any]) -> list[Step]:
    """What must stay writable until here is closed: after the devices, sysctls and the working directory."""
    steps = [
        Step("readonly", "the kernel's settings are the host's", (path,))
        for path in linux.get("readonlyPaths") or ()
    ]
    steps += [
        Step("mask", "it tells too much of the host", (path,)) for path in linux.get("maskedPaths") or ()
    ]
    if (bundle.get("root") or {}).get("readonly"):
        steps.append(Step("readonly-root", "asked for"))
    return steps


def _drop(process: Mapping[str, Any], seccomp: bool, *, init: bool) -> list[Step]:
    """Without no_new_privs a filter needs CAP_SYS_ADMIN, so it loads before the capabilities go (seccomp(2))."""
    guarded = bool(process.get("noNewPrivileges"))
    sets = {name: tuple(names or ()) for name, names in (process.get("capabilities") or {}).items()}
    steps = [
        Step("stdio", "standard input, output and error belong to its user"),
        Step("cwd", "where it starts", (process["cwd"],)),
    ]
    if guarded:
        steps.append(Step("no-new-privileges", "set-uid programs give nothing"))
    elif seccomp:
        steps.append(Step("seccomp", "system calls that reach the host are refused"))
    steps.append(Step("bounding", "no program can gain more", (sets.get("bounding", ()),)))
    steps.append(Step("identity", "from here on it is its user"))
    words = tuple(sets.get(name, ()) for name in ("effective", "permitted", "inheritable", "ambient"))
    steps.append(Step("capabilities", "what it may do", words))
    if init:
        steps.append(Step("die-with-shim", "without its shim nobody would answer for the container"))
    steps.append(Step("command", "found, as its user, before it is promised", (process["args"][0],)))
    if guarded and seccomp:
        steps.append(Step("seccomp", "system calls that reach the host are refused"))
    return steps
