"""Instructions, one after another, on a stage: what each does to its files, its variables and its image's configuration."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from knarr.build import operations as ops
from knarr.build.dockerfile import checks
from knarr.build.dockerfile import instructions as i
from knarr.build.dockerfile.building import Building, normalise
from knarr.build.dockerfile.copying import copy
from knarr.build.dockerfile.drafts import FileDraft, owner
from knarr.build.dockerfile.errors import DockerfileError, Lines, located
from knarr.build.dockerfile.golike import clean, parse_bool
from knarr.build.dockerfile.image import PATH, go_list, go_quoted_list, health_json, health_text
from knarr.build.dockerfile.linting import (
    NOT_IN_ENVIRONMENT,
    check_legacy,
    check_once,
    check_secret,
    check_shell_form,
)  # fmt: skip
from knarr.build.dockerfile.naming import expanded
from knarr.build.dockerfile.ports import parse_port
from knarr.build.dockerfile.running import run, with_shell
from knarr.build.dockerfile.units import Declared, Step, Unit
from knarr.build.dockerfile.values import check_signal
from knarr.build.graph import About


def dispatch(unit: Unit, building: Building) -> None:
    """All instructions of a stage."""
    _begin(unit, building)
    for step in unit.steps:
        said = step.command.said
        unit.triggered = step.triggered
        with located(said.lines):
            _DISPATCHERS[type(step.command)](
                unit, step, step.command, building.with_lint(building.lint.for_comments(said.comments))
            )
    for name in sorted(NOT_IN_ENVIRONMENT):
        values = [building.arguments.get(name), *(v.value for v in unit.variables if v.name == name)]
        chosen = [value for value in values if value is not None]
        if chosen and _includes(chosen[-1], unit.label):
            unit.scans.add(name)


def _includes(value: str, label: str) -> bool:
    flag = parse_bool(value)
    return label in value.split(",") if flag is None else flag


def _begin(unit: Unit, building: Building) -> None:
    """What the image of the base says for the steps on it."""
    unit.begin()
    unit.dispatched = True
    image, options = unit.image, building.options
    unit.platform = unit.platform or building.target
    if not any(variable.partition("=")[0] == "PATH" for variable in image.env):
        image.env = [*image.env, f"PATH={PATH}"]
    env = dict(unit.state.env)
    for variable in image.env:
        name, _, value = variable.partition("=")
        env.pop(name, None)
        env[name] = value
    unit.state = replace(unit.state, env=env, hostname=options.hostname or unit.state.hostname)
    if image.workdir:
        _enter(unit, image.workdir)
    if image.user:
        unit.state = replace(unit.state, user=image.user)
    unit.state = replace(unit.state, network=options.network)


def _enter(unit: Unit, path: str) -> None:
    unit.image.workdir = normalise(unit.image.workdir, path)
    unit.state = replace(unit.state, cwd=unit.image.workdir)


def _env(unit: Unit, step: Step, command: i.Env, building: Building) -> None:
    expand = building.expander(unit, command)
    pairs = [i.Pair(expand(pair.name), expand(pair.value), pair.legacy) for pair in command.pairs]
    for pair in pairs:
        if pair.legacy:
            check_legacy(command.said, building.lint)
        check_secret("ENV", pair.name, command.said.lines, building.lint)
        unit.state = unit.state.with_env(pair.name, pair.value)
        unit.image.set_env(pair.name, pair.value)
    building.record(unit, " ".join(["ENV", *map(str, pairs)]))


def _label(unit: Unit, step: Step, command: i.Label, building: Building) -> None:
    expand = building.expander(unit, command)
    pairs = [i.Pair(expand(pair.name), expand(pair.value), pair.legacy) for pair in command.pairs]
    for pair in pairs:
        if pair.legacy:
            check_legacy(command.said, building.lint)
    unit.image.labels = {**(unit.image.labels or {}), **{pair.name: pair.value for pair in pairs}}
    building.record(unit, " ".join(["LABEL", *map(str, pairs)]))


def _maintainer(unit: Unit, step: Step, command: i.Maintainer, building: Building) -> None:
    unit.image.author = command.author
    building.record(unit, f"MAINTAINER {command.author}")


def _arg(unit: Unit, step: Step, command: i.Arg, building: Building) -> None:
    texts: list[str] = []
    for variable in command.variables:
        variable, inherited = _declared(unit, variable, command, building)
        if variable.value is not None and variable.name not in NOT_IN_ENVIRONMENT:
            unit.state = unit.state.with_env(variable.name, variable.value)
        if not inherited:
            declared = Declared(variable, variable.value or "", command.said.lines)
            unit.outline.arguments[variable.name] = declared
        unit.outline.used[variable.name] = None
        unit.variables = [*unit.variables, variable]
        texts.append(variable.name if variable.value is None else f"{variable.name}={variable.value}")
    building.record(unit, f"ARG {' '.join(texts)}")


def _declared(
    unit: Unit, variable: i.Variable, command: i.Arg, building: Building
) -> tuple[i.Variable, bool]:
    """The variable with its value, and whether that comes from before the first FROM."""
    name, value = variable.name, variable.value
    check_secret("ARG", name, command.said.lines, building.lint)
    if name in building.given:
        return variable._replace(value=building.given[name]), False
    if value is None:
        inherited = name in building.arguments
        return variable._replace(value=building.arguments.get(name)), inherited
    return variable._replace(value=building.expander(unit, command)(value)), False


def _workdir(unit: Unit, step: Step, command: i.Workdir, building: Building) -> None:
    path = building.expander(unit, command)(command.path)
    if not unit.workdir_set and not path.startswith("/"):
        message = f'Relative workdir "{path}" can have unexpected results if the base image changes'
        building.lint.run(checks.WORKDIR_RELATIVE_PATH, command.said.lines, message)
    unit.workdir_set = True
    _enter(unit, path)
    layer = unit.state.cwd != "/"
    if layer:
        _make_workdir(unit, command, building)
    building.record(unit, f"WORKDIR {unit.state.cwd}", layer=layer)


def _make_workdir(unit: Unit, command: i.Workdir, building: Building) -> None:
    state, platform = unit.state, unit.target_platform()
    text = expanded(command.said.code, building.lexer, state.env)
    about = About(building.step_name(unit, text, platform), "", command.said.lines)
    time = ops.NO_TIME if building.epoch is None else building.epoch * 10**9
    act = ops.MakeDirectory(
        clean(normalise("/", state.cwd)), 0o755, parents=True, owner=owner(unit.image.user), timestamp=time
    )
    unit.state = state.with_output(FileDraft(state.output, [(act, None)], about))


def _user(unit: Unit, step: Step, command: i.User, building: Building) -> None:
    unit.image.user = building.expander(unit, command)(command.user)
    unit.state = replace(unit.state, user=unit.image.user)
    building.record(unit, f"USER {unit.image.user}")


def _volume(unit: Unit, step: Step, command: i.Volume, building: Building) -> None:
    expand = building.expander(unit, command)
    volumes = [expand(volume) for volume in command.volumes]
    if not all(volumes):
        raise DockerfileError("VOLUME specified can not be an empty string")
    unit.image.volumes = {**(unit.image.volumes or {}), **{volume: {} for volume in volumes}}
    building.record(unit, f"VOLUME {go_list(volumes)}")


def _expose(unit: Unit, step: Step, command: i.Expose, building: Building) -> None:
    lines = command.said.lines
    words = [word for port in command.ports for word in building.lexer.words(port, unit.state.env)]
    ports: list[str] = []
    for word in words:
        ports += parse_port(word, _casing(building, lines), _format(building, lines))
    unit.image.ports = {**(unit.image.ports or {}), **{port: {} for port in ports}}
    building.record(unit, f"EXPOSE {go_list(ports)}")


def _casing(building: Building, lines: Lines) -> Callable[[str], None]:
    return lambda text: building.lint.run(
        checks.EXPOSE_PROTO_CASING,
        lines,
        f"Defined protocol '{text}' in EXPOSE instruction should be lowercase",
    )


def _format(building: Building, lines: Lines) -> Callable[[str], None]:
    return lambda text: building.lint.run(
        checks.EXPOSE_INVALID_FORMAT,
        lines,
        f"EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'",
    )


def _words(unit: Unit, command: i.Cmd | i.Entrypoint, kind: str, building: Building) -> list[str]:
    check_once(command.said, kind, unit.once, building.lint)
    line = command.line
    if not line.shell:
        return list(line.words)
    if not unit.image.shell:
        check_shell_form(command.said, building.lint)
    return with_shell(unit, line.words)


def _cmd(unit: Unit, step: Step, command: i.Cmd, building: Building) -> None:
    unit.image.cmd = _words(unit, command, "cmd", building)
    unit.image.args_escaped = True
    building.record(unit, f"CMD {go_quoted_list(unit.image.cmd)}")


def _entrypoint(unit: Unit, step: Step, command: i.Entrypoint, building: Building) -> None:
    unit.image.entrypoint = _words(unit, command, "entrypoint", building)
    if "cmd" not in unit.once:
        unit.image.cmd = None
    building.record(unit, f"ENTRYPOINT {go_quoted_list(unit.image.entrypoint)}")


def _healthcheck(unit: Unit, step: Step, command: i.Healthcheck, building: Building) -> None:
    check_once(command.said, "healthcheck", unit.once, building.lint)
    unit.image.health = health_json(command.health)
    building.record(unit, f"HEALTHCHECK {health_text(command.health)}")


def _stop_signal(unit: Unit, step: Step, command: i.StopSignal, building: Building) -> None:
    signal = building.expander(unit, command)(command.signal)
    check_signal(signal)
    unit.image.stop_signal = signal
    building.record(unit, f"STOPSIGNAL {signal}")


def _shell(unit: Unit, step: Step, command: i.Shell, building: Building) -> None:
    unit.image.shell = list(command.shell)
    building.record(unit, f"SHELL {go_list(command.shell)}")


def _onbuild(unit: Unit, step: Step, command: i.Onbuild, building: Building) -> None:
    unit.image.onbuild = [*unit.image.onbuild, command.trigger]


_DISPATCHERS: dict[type, Callable[[Unit, Step, Any, Building], None]] = {
    i.Env: _env, i.Label: _label, i.Maintainer: _maintainer, i.Arg: _arg, i.Transfer: copy, i.Onbuild: _onbuild,
    i.Workdir: _workdir, i.Run: run, i.Cmd: _cmd, i.Entrypoint: _entrypoint, i.Healthcheck: _healthcheck,
    i.Expose: _expose, i.User: _user, i.Volume: _volume, i.StopSignal: _stop_signal, i.Shell: _shell,
}  # fmt: skip
