"""The five kinds of operations of a build graph, as values: Source, Exec, File, Merge, Diff.

Field for field BuildKit's solver/pb/ops.proto. Numbers that name an input are indices into the vertex's inputs; `NOTHING`
means the empty file system (as an input) or that nobody wants the result (as an output). In a file operation an index
beyond the inputs names the result of the earlier action `index - number of inputs`.
"""

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

NOTHING = -1
NO_TIME = -1
KEEP_MODE = -1


class Network(enum.IntEnum):
    """What a step sees of the network."""

    SANDBOX = 0
    HOST = 1
    NONE = 2


class Security(enum.IntEnum):
    """Insecure means privileged; it needs the entitlement `security.insecure`."""

    SANDBOX = 0
    INSECURE = 1


class MountKind(enum.IntEnum):
    """What is mounted for a step."""

    BIND = 0
    SECRET = 1
    SSH = 2
    CACHE = 3
    TMPFS = 4


class Sharing(enum.IntEnum):
    """Whether steps that use a cache mount at the same time share it, get their own, or wait."""

    SHARED = 0
    PRIVATE = 1
    LOCKED = 2


@dataclass(frozen=True, slots=True)
class Source:
    """Files from elsewhere: `docker-image://`, `local://`, `git://`, `http(s)://`, `oci-layout://`."""

    identifier: str
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def scheme(self) -> str:
        """What is before `://`."""
        return self.identifier.partition("://")[0]

    @property
    def location(self) -> str:
        """What is after `://`; of an http source the whole identifier is the address."""
        return self.identifier.partition("://")[2]

    def attribute(self, name: str, default: str = "") -> str:
        """An attribute such as `local.followpaths` (a JSON array) or `git.checksum`."""
        return dict(self.attributes).get(name, default)


class Credential(NamedTuple):
    """A secret or an ssh agent, and the file or socket that stands for it. A secret's mode 0 means 0400."""

    id: str
    uid: int = 0
    gid: int = 0
    mode: int = 0
    optional: bool = False


class Cache(NamedTuple):
    """A directory that outlives the build."""

    id: str
    sharing: Sharing = Sharing.SHARED


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a step; the first, at "/", is the root. `output` numbers those whose changes are a result."""

    dest: str
    kind: MountKind = MountKind.BIND
    input: int = NOTHING
    output: int = NOTHING
    selector: str = ""
    readonly: bool = False
    size: int = 0
    cache: Cache | None = None
    credential: Credential | None = None


class SecretEnvironment(NamedTuple):
    """A secret in an environment variable."""

    id: str
    name: str
    optional: bool = False


class Ulimit(NamedTuple):
    """A resource limit; -1 is unlimited."""

    name: str
    soft: int
    hard: int


class Device(NamedTuple):
    """A device by its CDI name."""

    name: str
    optional: bool = False


class Host(NamedTuple):
    """A line of /etc/hosts."""

    name: str
    address: str


class Proxy(NamedTuple):
    """Proxy variables that a step sees and that don't change its digest's meaning; "" is unset."""

    http: str = ""
    https: str = ""
    ftp: str = ""
    none: str = ""
    all: str = ""


@dataclass(frozen=True, slots=True)
class Exec:
    """A command that runs on a root file system."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    mounts: tuple[Mount, ...]
    user: str = ""
    hostname: str = ""
    cgroup_parent: str = ""
    hosts: tuple[Host, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    proxy: Proxy | None = None
    network: Network = Network.SANDBOX
    security: Security = Security.SANDBOX
    secrets: tuple[SecretEnvironment, ...] = ()
    devices: tuple[Device, ...] = ()


class Who(NamedTuple):
    """A user or group: by name, looked up in the passwd or group file of `input`; or by number when `name` is ""."""

    name: str = ""
    id: int = 0
    input: int = NOTHING


class Owner(NamedTuple):
    """Who shall own what is written; None leaves it."""

    user: Who | None
    group: Who | None


@dataclass(frozen=True, slots=True)
class Copy:
    """Copies from the secondary input. `mode_text` is a symbolic mode such as `u+x`."""

    src: str
    dest: str
    owner: Owner | None = None
    mode: int = KEEP_MODE
    mode_text: str = ""
    follow_symlink: bool = False
    contents_only: bool = False
    unpack: bool = False
    create_dest: bool = False
    wildcard: bool = False
    empty_wildcard: bool = False
    timestamp: int = NO_TIME
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    replace: bool = False


@dataclass(frozen=True, slots=True)
class MakeFile:
    """Writes a file."""

    path: str
    mode: int
    data: bytes = field(repr=False)
    owner: Owner | None = None
    timestamp: int = NO_TIME


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Makes a directory."""

    path: str
    mode: int
    parents: bool = False
    owner: Owner | None = None
    timestamp: int = NO_TIME


@dataclass(frozen=True, slots=True)
class Remove:
    """Removes a file or tree."""

    path: str
    allow_missing: bool = False
    wildcard: bool = False


@dataclass(frozen=True, slots=True)
class Symlink:
    """Makes a symbolic link."""

    target: str
    path: str
    owner: Owner | None = None
    timestamp: int = NO_TIME


Act = Copy | MakeFile | MakeDirectory | Remove | Symlink


@dataclass(frozen=True, slots=True)
class Action:
    """One act of a file operation on `input`; `secondary` is what a copy reads."""

    act: Act
    input: int = NOTHING
    secondary: int = NOTHING
    output: int = NOTHING


@dataclass(frozen=True, slots=True)
class File:
    """Acts on files without running anything."""

    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """Lays the inputs over one another, the last on top."""


@dataclass(frozen=True, slots=True)
class Diff:
    """What `upper` has beyond `lower`."""

    lower: int
    upper: int


Operation = Source | Exec | File | Merge | Diff
