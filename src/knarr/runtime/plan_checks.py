"""What a configuration must not ask for: said before anything is made, in runc's words. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from knarr.model.errors import Invalid
from knarr.runtime.plan_steps import Space

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_IPC_SYSCTLS = frozenset(
    f"kernel.{name}"
    for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)
_OUR_MAJOR = "1"
_MOST_CPUS = 64 << 10


def check_bundle(bundle: Any) -> None:
    """The parts of config.json that everything else takes for granted. Unknown fields are nobody's business."""
    if not isinstance(bundle, Mapping):
        raise Invalid("config.json is not an object")
    check_version(bundle.get("ociVersion"))
    for name in ("process", "root", "linux", "hooks", "annotations"):
        if not isinstance(bundle.get(name) or {}, Mapping):
            raise Invalid(f"{name} is not an object")
    if not isinstance(bundle.get("mounts") or [], Sequence):
        raise Invalid("mounts is not a list")


def check_hooks(hooks: Mapping[str, Any]) -> None:
    """Their form. Raises Invalid."""
    for name in HOOKS:
        for number, hook in enumerate(hooks.get(name) or ()):
            if not str(hook.get("path") or "").startswith("/"):
                raise Invalid(f"{name} hook #{number}: path must be absolute: {hook.get('path')!r}")
            timeout = hook.get("timeout")
            if timeout is not None and (not isinstance(timeout, int) or timeout <= 0):
                raise Invalid(f"{name} hook #{number}: timeout must be greater than zero: {timeout!r}")


def check_version(version: Any) -> None:
    """Semantic versioning: what we read is version 1 of the specification."""
    core = str(version or "").partition("+")[0].partition("-")[0].split(".")
    if len(core) != 3 or not all(part.isascii() and part.isdigit() for part in core):
        raise Invalid(f"ociVersion {version!r} is not a version")
    if core[0] != _OUR_MAJOR:
        raise Invalid(
            f"ociVersion {version} is not supported: this is version {_OUR_MAJOR} of the specification"
        )


def check_space(bundle: Mapping[str, Any], linux: Mapping[str, Any], space: Space) -> None:
    """What needs a namespace that the container does not have."""
    for field in ("hostname", "domainname"):
        if bundle.get(field) and not space.has("uts"):
            raise Invalid(f"unable to set {field} without a private UTS namespace")
    if (linux.get("maskedPaths") or linux.get("readonlyPaths")) and not space.has("mount"):
        raise Invalid("unable to restrict sys entries without a private MNT namespace")
    if (bundle.get("root") or {}).get("readonly") and not space.has("mount"):
        raise Invalid("unable to make the root read-only without a private MNT namespace")
    if linux.get("netDevices"):
        check_devices(linux["netDevices"], space)


def check_devices(devices: Mapping[str, Mapping[str, Any]], space: Space) -> None:
    """Names as the kernel takes them (net/core/dev.c, dev_valid_name)."""
    if not space.has("network"):
        raise Invalid("unable to move network devices without a NET namespace")
    for name, device in devices.items():
        for word in (name, (device or {}).get("name") or name):
            if not 0 < len(word) < 16 or word in (".", "..") or set(word) & set("/: \t\n"):
                raise Invalid(f'invalid network device name "{word}"')


def sysctls(wishes: Mapping[str, Any], space: Space) -> Iterator[tuple[str, str, str]]:
    """(name, path below /proc/sys, value) of each. One that is the host's own is refused."""
    for wish, value in wishes.items():
        name = _dotted(wish)
        _check_sysctl(name, space)
        path = name.translate(str.maketrans("./", "/."))
        if {"", ".", ".."} & set(path.split("/")):
            raise Invalid(f'invalid sysctl name "{wish}"')
        yield name, path, str(value)


def _dotted(name: str) -> str:
    """sysctl(8) takes both separators: the first one tells which it is."""
    first = next((letter for letter in name if letter in "./"), ".")
    return name if first == "." else name.translate(str.maketrans("./", "/."))


def _check_sysctl(name: str, space: Space) -> None:
    if name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
        if not space.has("ipc"):
            raise Invalid(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
    elif name.startswith("net."):
        if not space.has("network"):
            raise Invalid(f'sysctl "{name}" not allowed in host network namespace')
    elif name == "kernel.hostname" and space.has("uts"):
        raise Invalid(f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field')
    elif name.startswith("user."):
        if not space.has("user"):
            raise Invalid(f"setting ucounts without a user namespace not allowed: {name}")
    elif not (name == "kernel.domainname" and space.has("uts")):
        raise Invalid(f'sysctl "{name}" is not in a separate kernel namespace')


def numbers(text: str, what: str) -> tuple[int, ...]:
    """A list such as "0-3,7" (cpuset(7), "List format")."""
    found: set[int] = set()
    for part in filter(None, (word.strip() for word in text.split(","))):
        first, dash, last = part.partition("-")
        ends = (first, last if dash else first)
        if not all(end.isascii() and end.isdigit() and len(end) < 10 for end in ends):
            raise Invalid(f'{what}: invalid list "{text}"')
        low, high = int(ends[0]), int(ends[1])
        if low > high:
            raise Invalid(f"{what}: invalid range: {part}")
        if high > _MOST_CPUS:
            raise Invalid(f"{what}: values larger than {_MOST_CPUS} are not supported")
        found.update(range(low, high + 1))
    if text.strip() and not found:
        raise Invalid(f'{what}: no members found in set "{text}"')
    return tuple(sorted(found))
