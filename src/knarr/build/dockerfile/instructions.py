"""Instructions as typed values, as they were written: nothing is expanded yet.

Every one carries `said`: its name as written, its text, its lines and the comments right above it.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from knarr.build.dockerfile.errors import Lines


class Said(NamedTuple):
    """How an instruction stands in the file."""

    name: str
    code: str
    lines: Lines
    comments: tuple[str, ...] = ()


class Pair(NamedTuple):
    """`name=value`; `legacy` when a space stood between them."""

    name: str
    value: str
    legacy: bool = False

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


class Variable(NamedTuple):
    """A declared build argument; `value` is its default."""

    name: str
    value: str | None
    description: str = ""


class Inline(NamedTuple):
    """A heredoc of COPY or ADD: a file and its text."""

    path: str
    text: str
    expand: bool


class Script(NamedTuple):
    """A heredoc of RUN."""

    name: str
    text: str
    chomp: bool


class Mount(NamedTuple):
    """`--mount` of RUN."""

    type: str = "bind"
    source_stage: str = ""
    source: str = ""
    target: str = ""
    readonly: bool = True
    size: int = 0
    id: str = ""
    sharing: str = ""
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None

    @property
    def owned(self) -> bool:
        """Whether an owner or a mode is asked for."""
        return self.uid is not None or self.gid is not None or self.mode is not None


class Device(NamedTuple):
    """`--device` of RUN."""

    name: str
    required: bool = False


class Health(NamedTuple):
    """HEALTHCHECK; durations in nanoseconds, 0 inherits."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Env:
    said: Said
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Label:
    said: Said
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Maintainer:
    said: Said
    author: str


@dataclass(frozen=True, slots=True)
class Arg:
    said: Said
    variables: tuple[Variable, ...]


@dataclass(frozen=True, slots=True)
class Transfer:
    """ADD and COPY. What only one of them has is None or its default in the other."""

    said: Said
    sources: tuple[str, ...]
    inlines: tuple[Inline, ...]
    dest: str
    add: bool
    source_stage: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True, slots=True)
class Onbuild:
    said: Said
    trigger: str


@dataclass(frozen=True, slots=True)
class Workdir:
    said: Said
    path: str


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Words of a JSON array, or one text for the shell."""

    words: tuple[str, ...]
    shell: bool
    scripts: tuple[Script, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    said: Said
    line: CommandLine
    mounts: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    network: str = "default"
    security: str = "sandbox"


@dataclass(frozen=True, slots=True)
class Cmd:
    said: Said
    line: CommandLine


@dataclass(frozen=True, slots=True)
class Entrypoint:
    said: Said
    line: CommandLine


@dataclass(frozen=True, slots=True)
class Healthcheck:
    said: Said
    health: Health


@dataclass(frozen=True, slots=True)
class Expose:
    said: Said
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User:
    said: Said
    user: str


@dataclass(frozen=True, slots=True)
class Volume:
    said: Said
    volumes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopSignal:
    said: Said
    signal: str


@dataclass(frozen=True, slots=True)
class Shell:
    said: Said
    shell: tuple[str, ...]


Command = (
    Env | Label | Maintainer | Arg | Transfer | Onbuild | Workdir | Run | Cmd | Entrypoint
    | Healthcheck | Expose | User | Volume | StopSignal | Shell
)  # fmt: skip


@dataclass(slots=True)
class Stage:
    """FROM and what follows it."""

    said: Said
    base: str
    name: str = ""
    platform: str = ""
    description: str = ""
    commands: list[Command] = field(default_factory=list)
