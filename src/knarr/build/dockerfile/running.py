"""RUN: the command, its mounts and secrets, as an exec operation."""

from dataclasses import dataclass, field, replace

from knarr.build import operations as ops
from knarr.build.dockerfile import instructions as i
from knarr.build.dockerfile.building import Building
from knarr.build.dockerfile.contexts import inline
from knarr.build.dockerfile.drafts import ExecDraft, FileDraft, Output
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import base, clean, join, quote
from knarr.build.dockerfile.image import go_list
from knarr.build.dockerfile.mounts import parse_mount
from knarr.build.dockerfile.naming import expanded, heredoc_summary
from knarr.build.dockerfile.parser import chomp, try_heredoc
from knarr.build.dockerfile.units import SCRATCH, Needed, Step, Unit
from knarr.build.graph import About

_SHELL = ["/bin/sh", "-c"]
_SCRIPTS = "/dev/pipes/"
_AGENT = "SSH_AUTH_SOCK"
_ROOT = ops.Mount("/", output=0)
_NETWORKS = {"none": ops.Network.NONE, "host": ops.Network.HOST}
_SECURITY = {"sandbox": ops.Security.SANDBOX, "insecure": ops.Security.INSECURE}
_SHARING = {"private": ops.Sharing.PRIVATE, "locked": ops.Sharing.LOCKED}


@dataclass(slots=True)
class _Given:
    """What is mounted for one command, in the order in which it was asked for."""

    mounts: list[tuple[ops.Mount, Output]] = field(default_factory=list)
    secrets: list[ops.Mount] = field(default_factory=list)
    variables: list[ops.SecretEnvironment] = field(default_factory=list)
    agents: list[ops.Mount] = field(default_factory=list)
    masked: dict[str, str] = field(default_factory=dict)


def with_shell(unit: Unit, words: list[str] | tuple[str, ...]) -> list[str]:
    """A text for the image's shell."""
    return [*(unit.image.shell or _SHELL), " ".join(words)]


def run(unit: Unit, step: Step, command: i.Run, building: Building) -> None:
    """Adds the operation to the stage."""
    mounts = [parse_mount(text, building.expander(unit, command)) for text in command.mounts]
    unit.paths.add("/")
    given = _Given()
    args, note = _arguments(command, given)
    if command.line.shell:
        args = with_shell(unit, args)
    for mount, source in zip(mounts, step.sources, strict=True):
        _mount(unit, mount, source, command, building, given)
    env = unit.state.env
    lexer = building.lexer._replace(raw_quotes=True, keep_unset=True)
    masked = {**{name: value for name, value in env.items() if name not in given.masked}, **given.masked}
    text = expanded(command.said.code + note, lexer, masked if given.masked else env)
    about = About(
        building.step_name(unit, text, unit.state.platform),
        command.said.code,
        command.said.lines,
        ignore_cache=unit.ignore_cache,
        resources=building.options.resources,
    )
    unit.state = unit.state.with_output(_draft(unit, command, args, given, about, building))
    building.record(unit, f"RUN {_history(unit, args, env)} # buildkit", layer=True)


def _draft(
    unit: Unit, command: i.Run, args: list[str], given: _Given, about: About, building: Building
) -> ExecDraft:
    state, options = unit.state, building.options
    env = dict(state.env)
    for index, agent in enumerate(given.agents):
        if not agent.dest:
            given.agents[index] = replace(agent, dest=f"/run/buildkit/ssh_agent.{index}")
    if given.agents and _AGENT not in env:
        env[_AGENT] = given.agents[0].dest
    if options.shm_size > 0:
        given.mounts.append((ops.Mount("/dev/shm", ops.MountKind.TMPFS, size=options.shm_size), None))
    operation = ops.Exec(
        args=tuple(args),
        env=tuple(f"{name}={value}" for name, value in env.items()),
        cwd=state.cwd,
        mounts=(),
        user=state.user,
        hostname=state.hostname,
        cgroup_parent=options.cgroup_parent,
        hosts=options.hosts,
        ulimits=options.ulimits,
        proxy=building.proxy,
        network=_NETWORKS.get(command.network, state.network),
        security=_SECURITY[command.security],
        secrets=tuple(given.variables),
        devices=(*options.devices, *(ops.Device(d.name, optional=not d.required) for d in command.devices)),
    )
    mounts = [(_ROOT, state.output), *given.mounts]
    return ExecDraft(operation, mounts, about, state.platform, (*given.secrets, *given.agents))


def _arguments(command: i.Run, given: _Given) -> tuple[list[str], str]:
    """The words to run, and what to add to the step's name."""
    line = command.line
    if not line.scripts:
        return list(line.words), ""
    if len(line.words) != 1 or not line.shell:
        raise DockerfileError(f"parsing produced an invalid run command: {go_list(line.words)}")
    script = line.scripts[0]
    if try_heredoc(line.words[0]) is None:
        # Several heredocs, or one among other words: the shell gets all as it was written.
        return [line.words[0] + "".join(f"\n{script.text}{script.name}" for script in line.scripts)], ""
    text = chomp(script.text) if script.chomp else script.text
    note = f" ({heredoc_summary(script.text)})"
    if not text.startswith("#!"):
        return [text], note
    file = inline(script.name if script.name.startswith("/") else f"/{script.name}", text, 0o755)
    given.mounts.append((ops.Mount(_SCRIPTS, selector="/", readonly=True), file))
    return [join(_SCRIPTS, script.name)], note


def _history(unit: Unit, args: list[str], env: dict[str, str]) -> str:
    """The command behind the build arguments that it sees."""
    seen = {variable.name: env.get(variable.name, variable.value or "") for variable in unit.variables}
    count = [f"|{len(seen)}"] if seen else []
    return " ".join([*count, *(f"{name}={value}" for name, value in seen.items()), *args])


def _mount(
    unit: Unit, mount: i.Mount, source: Unit, command: i.Run, building: Building, given: _Given
) -> None:
    stage = mount.source_stage or (SCRATCH if mount.type == "cache" else "")
    output: Output = building.context
    if stage:
        output = source.state.output
        if not source.dispatched:
            raise DockerfileError(
                f"cannot mount from stage {quote(stage)} to {quote(mount.target)}, stage needs to be defined before current command"
            )
    if mount.type == "secret":
        _secret(unit, mount, command, given)
    elif mount.type == "ssh":
        _agent(unit, mount, command, given)
    else:
        given.mounts.append(_bound(unit, mount, output, building))
        paths = source.paths if stage else unit.context_paths
        paths.add(join("/", mount.source))


def _bound(unit: Unit, mount: i.Mount, output: Output, building: Building) -> tuple[ops.Mount, Output]:
    target = mount.target
    if not clean(target).startswith("/"):
        target = join("/", unit.state.cwd, target)
    if target == "/":
        raise DockerfileError(f"invalid mount target {quote(target)}")
    selector = join("/", mount.source)
    selector = "" if selector == "/" else selector
    kind, size, cache = ops.MountKind.BIND, 0, None
    if mount.type == "tmpfs":
        kind, output, size = ops.MountKind.TMPFS, None, mount.size
    elif mount.type == "cache":
        name = f"{building.options.cache_namespace}/{mount.id or clean(mount.target)}"
        kind, cache = ops.MountKind.CACHE, ops.Cache(name, _SHARING.get(mount.sharing, ops.Sharing.SHARED))
    if not selector and mount.owned:
        output, selector = _owned_directory(mount, output), "/cache"
    made = ops.Mount(target, kind, selector=selector, readonly=mount.readonly, size=size, cache=cache)
    return made, output


def _owned_directory(mount: i.Mount, output: Output) -> FileDraft:
    who = ops.Owner(ops.Who(id=mount.uid or 0), ops.Who(id=mount.gid or 0))
    mode = 0o755 if mount.mode is None else mount.mode & 0o777
    return FileDraft(
        output,
        [(ops.MakeDirectory("/cache", mode, owner=who), None)],
        About("[internal] setting cache mount permissions"),
    )


def _credential(mount: i.Mount, id: str, mode: int) -> ops.Credential:
    mode = mount.mode if mount.mode is not None else mode
    return ops.Credential(id, mount.uid or 0, mount.gid or 0, mode, optional=not mount.required)


def _secret(unit: Unit, mount: i.Mount, command: i.Run, given: _Given) -> None:
    name = mount.source or mount.id
    if not name:
        if not mount.target:
            raise DockerfileError("one of source, target required")
        name = base(mount.target)
    unit.outline.secrets.setdefault(name, Needed(mount.required, command.said.lines))
    if mount.env is not None:
        given.variables.append(ops.SecretEnvironment(name, mount.env, optional=not mount.required))
        given.masked.pop(mount.env, None)
        given.masked[mount.env] = "****"
    target = mount.target or ("" if mount.env is not None else f"/run/secrets/{base(name)}")
    if target:
        credential = _credential(mount, name, 0o400)
        given.secrets.append(ops.Mount(target, ops.MountKind.SECRET, output=0, credential=credential))


def _agent(unit: Unit, mount: i.Mount, command: i.Run, given: _Given) -> None:
    if mount.source:
        raise DockerfileError("ssh does not support source")
    unit.outline.agents.setdefault(mount.id or "default", Needed(mount.required, command.said.lines))
    credential = _credential(mount, mount.id, 0o600)
    given.agents.append(ops.Mount(mount.target, ops.MountKind.SSH, output=0, credential=credential))
