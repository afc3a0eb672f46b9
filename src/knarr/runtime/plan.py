"""An OCI configuration becomes the list of steps that the container's init walks. Pure: no I/O, no order but its own.

The order is the law: what needs the host (its procfs, joined namespaces, sources of bind mounts) comes first, the whole root
is built before the pivot (hooks find it so), what needs privilege before it is dropped, the filter last. `walk.py` has one
function an act, by the act's name.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from knarr.runtime import plan_process as of
from knarr.runtime.plan_checks import check_hooks, check_space, check_version, sysctls
from knarr.runtime.plan_mounts import Mounts
from knarr.runtime.plan_mounts import Options as Options
from knarr.runtime.plan_mounts import parse_options as parse_options
from knarr.runtime.plan_steps import NAMESPACES as NAMESPACES
from knarr.runtime.plan_steps import Space
from knarr.runtime.plan_steps import Step as Step
from knarr.runtime.plan_steps import split_namespaces as split_namespaces

_PROTECT = Step("protect", "no process of the container may look into this one")
_KEYRING = Step("keyring", "the host's keys are not inherited")
_PROCFS = Step("procfs", "the host's own, before anything of the container's is in sight")


def plan_init(
    bundle: Mapping[str, Any],
    rootfs: Sequence[Sequence[Any]],
    *,
    seccomp: bool,
    die_with_shim: bool = True,
    no_pivot: bool = False,
    no_keyring: bool = False,
) -> tuple[Step, ...]:
    """The whole life of an init up to execve. Raises Invalid, Unsupported.

    `seccomp`: there is a compiled filter. New namespaces, and a joined pid namespace, are no steps: they are made or entered
    by who clones the init.
    """
    linux = bundle.get("linux") or {}
    process = of.checked(bundle.get("process"))
    space = split_namespaces(linux.get("namespaces") or ())
    _check(bundle, linux, space)
    mounts = Mounts(bundle, rootfs, space)
    steps = [_PROTECT, *of.refused(linux), Step("enter-cgroup", "its limits hold from here on")]
    if not no_keyring:
        steps.append(_KEYRING)
    steps += _through_procfs([*of.host_writes(process)])
    steps += mounts.sources()
    steps += _joins(space, linux)
    if "cgroup" in space.new:
        steps.append(Step("unshare-cgroup", "its own control group is the root that it sees"))
    steps += _through_procfs(_sysctls(linux, space), steps)
    if "network" in space.new:
        steps.append(Step("loopback", "a new network namespace has it, but down"))
    steps += _net_devices(linux)
    steps += mounts.root()
    steps += mounts.mounts()
    steps += mounts.devices()
    steps += _hooks(bundle.get("hooks") or {})
    steps += _through_procfs([*of.labels(process)], steps)
    steps += mounts.leave(no_pivot=no_pivot)
    if process.get("terminal"):
        steps.append(Step("terminal", "a pseudo-terminal of the container, /dev/console with it"))
        steps.append(Step("console", "programs write to /dev/console"))
    steps += _names(bundle)
    steps += of.look_up(process, create=True)
    steps += mounts.closing()
    steps += _closed(bundle, linux)
    steps += mounts.propagation()
    steps += of.scheduling(process, linux)
    steps += of.drop(process, _filter(linux, seccomp), die_with_shim=die_with_shim)
    return tuple(steps)


def plan_exec(
    process: Mapping[str, Any],
    *,
    seccomp: bool,
    linux: Mapping[str, Any] | None = None,
    no_keyring: bool = False,
) -> tuple[Step, ...]:
    """A process beside the init: it stands in the container's namespaces already. `linux` is the container's."""
    process = of.checked(process)
    linux = linux or {}
    steps = [_PROTECT, *of.affinity(process, "initial")]
    steps.append(Step("enter-cgroup", "the container's limits hold for it too"))
    if not no_keyring:
        steps.append(_KEYRING)
    steps += _through_procfs([*of.host_writes(process), *of.labels(process)])
    steps.append(Step("join-container", "it sees what the init sees"))
    steps += of.affinity(process, "final")
    if process.get("terminal"):
        steps.append(Step("terminal", "a pseudo-terminal of the container"))
    steps += of.look_up(process, create=False)
    steps += of.scheduling(process, linux)
    steps += of.drop(process, _filter(linux, seccomp), die_with_shim=False)
    return tuple(steps)


def _check(bundle: Mapping[str, Any], linux: Mapping[str, Any], space: Space) -> None:
    if "ociVersion" in bundle:
        check_version(bundle["ociVersion"])
    check_space(bundle, linux, space)
    if bundle.get("hooks"):
        check_hooks(bundle["hooks"])


def _filter(linux: Mapping[str, Any], seccomp: bool) -> Mapping[str, Any] | None:
    return (linux.get("seccomp") or {}) if seccomp else None


def _through_procfs(writes: Sequence[Step], before: Sequence[Step] = ()) -> Iterator[Step]:
    """Opens the host's /proc first, unless that is done already."""
    if writes and _PROCFS not in before:
        yield _PROCFS
    yield from writes


def _joins(space: Space, linux: Mapping[str, Any]) -> Iterator[Step]:
    """The mount namespace last: the paths of the others are the runtime's."""
    foreign = any(str(name).startswith(("net.", "net/")) for name in linux.get("sysctl") or ())
    for kind, path in sorted(space.joined, key=lambda join: join[0] == "mount"):
        if kind != "pid":
            reason = f"share the {kind} namespace at {path}"
            yield Step("join", reason, (kind, path, foreign and kind == "network"))


def _sysctls(linux: Mapping[str, Any], space: Space) -> list[Step]:
    found = sysctls(linux.get("sysctl") or {}, space)
    return [Step("sysctl", "asked for", words) for words in found]


def _net_devices(linux: Mapping[str, Any]) -> Iterator[Step]:
    for name, device in (linux.get("netDevices") or {}).items():
        yield Step("net-device", "moved from the host", (name, (device or {}).get("name") or name))


def _hooks(hooks: Mapping[str, Any]) -> Iterator[Step]:
    """Hooks of the runtime's namespaces are the parent's, those of the container's our own."""
    names = [name for name in ("prestart", "createRuntime") if hooks.get(name)]
    if names:
        yield Step("parent-hooks", "they prepare the host for the container", (tuple(names),))
    if hooks.get("createContainer"):
        yield Step("create-hooks", "they prepare the container", (tuple(hooks["createContainer"]),))
    if hooks.get("startContainer"):
        yield Step("start-hooks", "run when the gate opens", (tuple(hooks["startContainer"]),))


def _names(bundle: Mapping[str, Any]) -> Iterator[Step]:
    if bundle.get("hostname"):
        yield Step("hostname", "its name in its UTS namespace", (bundle["hostname"],))
    if bundle.get("domainname"):
        yield Step("domainname", "its NIS domain", (bundle["domainname"],))


def _closed(bundle: Mapping[str, Any], linux: Mapping[str, Any]) -> Iterator[Step]:
    """What must stay writable until here is closed: after the devices, hooks and the working directory."""
    for path in linux.get("readonlyPaths") or ():
        yield Step("readonly", "the kernel's settings are the host's", (path,))
    for path in dict.fromkeys(linux.get("maskedPaths") or ()):
        yield Step("mask", "it tells too much of the host", (path,))
    if (bundle.get("root") or {}).get("readonly"):
        yield Step("readonly-root", "asked for")
