"""The mounts, the root and the devices of a container become steps. Pure.

Everything is put into the new root before the pivot, through a descriptor of it: hooks find it complete, and file systems
may still name things of the host. What has to be written to first is closed (`ro`) only at the end.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from knarr.model.errors import Invalid
from knarr.runtime.defaults import DEVICE_LINKS, DEVICES
from knarr.runtime.plan_namespaces import id_map
from knarr.runtime.plan_steps import Space, Step, clean

_ATIMES = ("noatime", "relatime", "strictatime")
ATTRIBUTES = ("ro", "nosuid", "nodev", "noexec", "nodiratime", "nosymfollow", *_ATIMES)
_CLEARS = {
    "rw": "ro",
    "suid": "nosuid",
    "dev": "nodev",
    "exec": "noexec",
    "diratime": "nodiratime",
    "symfollow": "nosymfollow",
    "atime": "noatime",
    "norelatime": "relatime",
    "nostrictatime": "strictatime",
}
_FLAGS = ("sync", "dirsync", "lazytime", "mand", "iversion", "silent")
_CLEARED_FLAGS = {
    "async": "sync",
    "nolazytime": "lazytime",
    "nomand": "mand",
    "noiversion": "iversion",
    "loud": "silent",
}
_PROPAGATIONS = ("private", "slave", "shared", "unbindable")
PROPAGATIONS = (*_PROPAGATIONS, *(f"r{word}" for word in _PROPAGATIONS))
EXTRAS = ("bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap")
_INSIDE_PROC = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "sys/kernel/ns_last_pid",
        "sys/crypto/fips_enabled",
    )
)
"""What lxcfs emulates, as runc has it (rootfs_linux.go, checkProcMount)."""


_OWNERS = {"sysfs": "network", "proc": "pid", "mqueue": "ipc", "cgroup": "cgroup"}
"""Whose owner may mount it (mount_namespaces(7), user_namespaces(7)): others get the host's, bound."""
_SOURCES = {"sysfs": "/sys", "proc": "/proc", "mqueue": "/dev/mqueue", "cgroup": "/sys/fs/cgroup"}


class Options(NamedTuple):
    """fstab words sorted: attributes set and cleared, those for everything below, propagation in order, the super block's
    flags, the file system's own words, and what is an act rather than a setting (`EXTRAS`)."""

    on: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    recursive: tuple[str, ...] = ()
    recursive_off: tuple[str, ...] = ()
    propagation: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()


_PLAIN, _DEEP, _FLAG, _PROPAGATION, _EXTRA, _NOTHING = range(6)


def _table() -> dict[str, tuple[int, str, bool]]:
    """word → the group it belongs to, the word that it sets or clears, and which of both."""
    table = {"defaults": (_NOTHING, "", True)}
    for word in ATTRIBUTES:
        table[word], table[f"r{word}"] = (_PLAIN, word, True), (_DEEP, word, True)
    for word, other in _CLEARS.items():
        table[word], table[f"r{word}"] = (_PLAIN, other, False), (_DEEP, other, False)
    table |= {word: (_FLAG, word, True) for word in _FLAGS}
    table |= {word: (_FLAG, other, False) for word, other in _CLEARED_FLAGS.items()}
    table |= {word: (_PROPAGATION, word, True) for word in PROPAGATIONS}
    return table | {word: (_EXTRA, word, True) for word in EXTRAS}


_TABLE = _table()
WORDS = tuple(sorted(_TABLE))
"""Every word that is not a file system's own, for `features`."""


def parse_options(words: Sequence[str]) -> Options:
    """Sorts mount words; of two that contradict each other the later wins.

    A leading r makes an attribute or a propagation recursive (mount_setattr(2)).
    """
    groups: tuple[dict[str, bool], ...] = ({}, {}, {}, {}, {}, {})
    data: list[str] = []
    for word in words:
        known = _TABLE.get(word)
        if known is None:
            data += [part for part in word.split(",") if part] if "," in word else [word] if word else []
            continue
        group, name, on = known
        values = groups[group]
        if name in values:
            del values[name]
        if on and name in _ATIMES:
            for other in _ATIMES:
                values.pop(other, None)
        values[name] = on
    return Options(
        _turned(groups[_PLAIN], on=True),
        _turned(groups[_PLAIN], on=False),
        _turned(groups[_DEEP], on=True),
        _turned(groups[_DEEP], on=False),
        tuple(groups[_PROPAGATION]),
        _turned(groups[_FLAG], on=True),
        tuple(data),
        tuple(groups[_EXTRA]),
    )


def _turned(values: Mapping[str, bool], *, on: bool) -> tuple[str, ...]:
    return tuple([name for name, value in values.items() if value is on]) if values else ()


_known: dict[tuple[str, ...], Options] = {}


def _parsed(words: tuple[str, ...]) -> Options:
    """What an init rehearses before it is asked for anything, it need not sort again."""
    options = _known.get(words)
    if options is None:
        options = _known[words] = parse_options(words)
    return options


class Mounts:
    """What is to be mounted and where, before it is ordered into a plan. Raises Invalid."""

    def __init__(self, bundle: Mapping[str, Any], rootfs: Sequence[Sequence[Any]], space: Space):
        if len(rootfs) != 1:
            raise Invalid(f"a root is one mount, not {len(rootfs)}")
        self._linux: Mapping[str, Any] = bundle.get("linux") or {}
        self._space = space
        self._root_kind, self._root_source, self._root_words = rootfs[0]
        self._propagation = self._linux.get("rootfsPropagation") or ""
        if self._propagation and self._propagation not in PROPAGATIONS:
            raise Invalid(f"rootfsPropagation={self._propagation} is not supported")
        self._home = clean(self._root_source) if self._root_kind == "bind" else ""
        self._private = self._propagation.endswith("private")
        label = self._linux.get("mountLabel") or ""
        self._mounts = [
            _Mount(number, entry, self._inside(entry), self._own_source(entry), label)
            for number, entry in enumerate(bundle.get("mounts") or ())
        ]
        self._user = space.has("user")
        self._foreign = self._not_owned() if self._user else frozenset()

    def _inside(self, entry: Mapping[str, Any]) -> str:
        """The destination in the container; one that is spelled with the root's own path on the host counts as well."""
        path = clean(str(entry.get("destination") or ""))
        if self._home and self._home != "/" and path.startswith(f"{self._home}/"):
            path = path[len(self._home) :]
        return path

    def _own_source(self, entry: Mapping[str, Any]) -> str:
        """A source that is in the new root, where an earlier mount may have made it, as the container will name it."""
        if self._home in ("", "/"):
            return ""
        source = clean(str(entry.get("source") or "/"))
        return (source[len(self._home) :] or "/") if f"{source}/".startswith(f"{self._home}/") else ""

    def _not_owned(self) -> frozenset[int]:
        """Mounts of namespaces that the container's user namespace need not own."""
        return frozenset(
            mount.number
            for mount in self._mounts
            if mount.kind in _OWNERS and _OWNERS[mount.kind] not in self._space.new
        )

    def sources(self) -> Iterator[Step]:
        """Before `isolate`: a tree cloned now is still a peer of the host's mount, which rshared and rslave need."""
        for mount in self._mounts:
            if mount.bind and not mount.own:
                yield from mount.hold()
            elif mount.number in self._foreign:
                source = _SOURCES[mount.kind]
                yield Step(
                    "take-spare", f"the host's own, if {mount.kind} is refused", (mount.number, source)
                )
        if any(mount.kind == "cgroup" for mount in self._mounts):
            yield Step("take-cgroups", "hold the container's own control groups")
        if self._root_kind == "bind" and self._space.has("mount"):
            yield Step("take-root", "hold the root", (self._root_source, "rbind" in self._root_words))

    def root(self) -> Iterator[Step]:
        """The root where the container will have it, with nothing on it."""
        if not self._space.has("mount"):
            if self._root_kind != "bind":
                raise Invalid("a root that is mounted needs a mount namespace of its own")
            yield Step("enter-root", "the root, in the runtime's own mount namespace", (self._root_source,))
            return
        yield Step("isolate", "mounts made here stay here", ("rprivate" if self._private else "rslave",))
        reason = f"the image's layers become / ({self._root_kind})"
        words = (self._root_kind, self._root_source, tuple(self._root_words))
        yield Step("root", reason, (*words, self._propagation in ("slave", "rslave")))

    def leave(self, *, no_pivot: bool) -> Iterator[Step]:
        """The host goes out of reach."""
        if not self._space.has("mount"):
            yield Step("chroot", "the host's files go out of sight")
        elif no_pivot:
            if self._private:
                raise Invalid("rootfsPropagation of [r]private is not safe without pivot_root")
            yield Step("move-root", "asked for: no pivot_root")
        else:
            yield Step("pivot", "the host's files go out of reach")

    def mounts(self) -> Iterator[Step]:
        """In the order of the configuration."""
        default = "rprivate" if self._private else "rslave"
        for mount in self._mounts:
            for step in mount.steps(default):
                if mount.number in self._foreign and step.act in ("mount", "cgroup-mount"):
                    words = (mount.number, step.act, *step.arguments)
                    step = Step("mount-or-bind", step.reason, words)
                yield step

    def devices(self) -> Iterator[Step]:
        """The usual nodes, unless /dev is the host's (then it has them), and the asked ones."""
        asked = [device for device in self._linux.get("devices") or () if device.get("path")]
        act = "device-bind" if self._user else "device"
        if not any(mount.path == "/dev" and mount.bind for mount in self._mounts):
            paths = {clean(device["path"]) for device in asked}
            for path, major, minor in DEVICES:
                if path not in paths:
                    yield Step(act, "every program counts on it", (path, "c", major, minor, 0o666, 0, 0))
            for target, path in DEVICE_LINKS:
                yield Step("link", "every program counts on it", (target, path))
        for device in asked:
            if clean(device["path"]) != "/dev/ptmx":
                yield Step(act, "asked for", _node(device))

    def propagation(self) -> Iterator[Step]:
        """Last of all mounting: what is unbindable cannot be bound."""
        if self._propagation.endswith(("shared", "unbindable")):
            yield Step("root-propagation", "asked for", (self._propagation,))

    def closing(self) -> Iterator[Step]:
        """Read-only mounts that had to take files first."""
        for mount in self._mounts:
            if mount.closed_late:
                yield Step("close-mount", "asked for read-only", (mount.path,))


class _Mount:
    """One entry of `mounts`, read and checked."""

    def __init__(self, number: int, entry: Mapping[str, Any], path: str, own: str, label: str):
        self.number, self.path, self.own = number, path, own
        self._wish = str(entry.get("destination") or "")
        self.options = _parsed(tuple(entry.get("options") or ()))
        kind = str(entry.get("type") or "")
        self.bind = kind == "bind" or "bind" in self.options.extras or "rbind" in self.options.extras
        self.kind = "bind" if self.bind else kind
        self._remount = "remount" in self.options.extras
        self.bind = self.bind and not self._remount
        self._source = str(entry.get("source") or kind)
        self._below = (str(entry["subpath"]),) if entry.get("subpath") else ()
        self._label = label
        self._uids, self._gids = id_map(entry.get("uidMappings")), id_map(entry.get("gidMappings"))
        self._mapped = bool({"idmap", "ridmap"} & {*self.options.extras} or self._uids or self._gids)
        self._check()
        late = "ro" in self.options.on and not self.bind and not self._remount
        self.closed_late = late and (kind == "tmpfs" or path == "/dev")
        if self.closed_late:
            self.options = self.options._replace(on=tuple(word for word in self.options.on if word != "ro"))

    def _check(self) -> None:
        place = self._wish
        if not place:
            raise Invalid("a mount needs a destination")
        if not self.kind and not self._remount:
            raise Invalid(f"mount {place} has no type")
        if self.bind and self.options.data:
            words = ",".join(self.options.data)
            raise Invalid(
                f"invalid mount {place}: bind mounts cannot have any filesystem-specific options applied: {words}"
            )
        if self._mapped and not self.bind:
            raise Invalid(f"invalid mount {place}: id-mapped mounts are only supported for bind-mounts")
        if bool(self._uids) != bool(self._gids):
            raise Invalid(
                f"invalid mount {place}: id-mapped mounts must have both uid and gid mappings specified"
            )
        if "tmpcopyup" in self.options.extras and self.kind != "tmpfs":
            raise Invalid(f"invalid mount {place}: tmpcopyup is an option of tmpfs, not of {self.kind}")
        try:
            check_place(self.path, self.kind)
        except Invalid as error:
            raise Invalid(f'error mounting "{self._source}" to rootfs at "{place}": {error}') from None

    def hold(self) -> Iterator[Step]:
        """Holds the tree that is bound, its owners mapped if that is asked for."""
        reason = f"hold {self._source} of the host for {self._wish}"
        recursive = "bind" not in self.options.extras
        act, source = ("take-own", self.own) if self.own else ("take", self._source)
        yield Step(act, reason, (self.number, source, self._wish, recursive, *self._below))
        if self._mapped:
            deep = "ridmap" in self.options.extras
            words = (self.number, self._source, self._uids, self._gids, deep)
            act = "idmap-own" if self.own else "idmap"
            yield Step(act, "its files belong to other ids than on disk", words)

    def steps(self, propagation: str) -> Iterator[Step]:
        """What is done for it at its turn."""
        if not self._wish.startswith("/"):
            warning = f'mount "{self._wish}": relative destination path is **deprecated**, using it as relative to /'
            yield Step("warn", "old configurations have those", (warning,))
        if self._remount:
            yield Step("remount", "asked for", (self.path, self.kind, self._source, self.options))
            return
        if self.bind:
            if self.own:
                yield from self.hold()
            options = self.options
            if not options.propagation:
                options = options._replace(propagation=(propagation,))
            yield Step("bind", f"{self._source} of the host", (self.number, self.path, options))
        elif self.kind == "cgroup":
            yield Step("cgroup-mount", "the container's own control groups", (self.path, self.options))
        elif "tmpcopyup" in self.options.extras:
            yield Step("copy-up", f"a tmpfs with what is at {self.path}", self._words())
        else:
            yield Step("mount", f"a {self.kind} of its own", self._words())

    def _words(self) -> tuple[Any, ...]:
        label = "" if self.kind in ("proc", "sysfs", "mqueue") else self._label
        return (self.path, self.kind, self._source, self.options, label)


def check_place(path: str, kind: str) -> None:
    """Nothing may stand in for /proc, nor in it: what the kernel says there is believed (CVE-2019-16884). Raises Invalid.

    `path` is resolved. What is bound onto /proc itself must be a procfs, which only the act can see.
    """
    if path == "/":
        raise Invalid('mountpoint "/" is on the top of rootfs')
    if path == "/proc" and kind not in ("proc", "bind"):
        raise Invalid('"/proc" cannot be mounted because it is not of type proc')
    if path.startswith("/proc/") and path not in _INSIDE_PROC:
        raise Invalid(f'"{path}" cannot be mounted because it is inside /proc')


def _node(device: Mapping[str, Any]) -> tuple[Any, ...]:
    path, kind = str(device["path"]), str(device.get("type") or "c")
    if kind not in ("c", "b", "u", "p"):
        raise Invalid(f"{kind} is not a valid device type for device {path}")
    numbers = [int(device.get(name) or 0) for name in ("major", "minor")]
    if kind != "p" and min(numbers) < 0:
        raise Invalid(f"device {path} has no number: {numbers[0]}:{numbers[1]}")
    mode = device.get("fileMode")
    mode = 0o666 if mode is None else int(mode) & 0o7777
    owner = [int(device.get(name) or 0) for name in ("uid", "gid")]
    return (path, "c" if kind == "u" else kind, *numbers, mode, *owner)
