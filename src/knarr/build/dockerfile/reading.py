"""Nodes to instructions and stages: what each instruction accepts, in BuildKit's words where it doesn't."""

import re
from collections.abc import Callable

from knarr.build.dockerfile import checks
from knarr.build.dockerfile import instructions as i
from knarr.build.dockerfile.checks import Linter
from knarr.build.dockerfile.errors import DockerfileError, located
from knarr.build.dockerfile.flags import Flags
from knarr.build.dockerfile.golike import SPACES, int_error, parse_int, quote, trim
from knarr.build.dockerfile.instructions import Command, Pair, Said, Stage, Variable
from knarr.build.dockerfile.mounts import parse_device, stage_of
from knarr.build.dockerfile.nodes import Node, Tree
from knarr.build.dockerfile.parser import chomp, try_heredoc
from knarr.model.durations import parse_duration
from knarr.model.errors import Invalid

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*\Z", re.ASCII)
_ONBUILD = re.compile(r"[\t\n\f\r ]*ONBUILD[\t\n\f\r ]*", re.IGNORECASE)
_TRANSFER = {"chown": "text", "chmod": "text", "link": "bool", "exclude": "list"}
_COPY = {**_TRANSFER, "from": "text", "parents": "bool"}
_ADD = {**_TRANSFER, "keep-git-dir": "bool", "checksum": "text", "unpack": "bool"}
_RUN = {"device": "list", "mount": "list", "network": "text", "security": "text"}
_HEALTH = dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), "text")
_MILLISECOND = 1_000_000


def read(tree: Tree, lint: Linter) -> tuple[list[Stage], list[i.Arg]]:
    """The stages, and the ARGs before the first."""
    stages: list[Stage] = []
    arguments: list[i.Arg] = []
    for node in tree.nodes:
        try:
            found = read_node(node, lint)
        except DockerfileError as error:
            raise error.wrapped(f"dockerfile parse error on line {node.start}") from None
        if isinstance(found, Stage):
            stages.append(found)
        elif stages:
            stages[-1].commands.append(found)
        elif isinstance(found, i.Arg):
            arguments.append(found)
        else:
            raise DockerfileError("no build stage in current context", node.lines)
    return stages, arguments


def read_command(node: Node) -> Command:
    """An instruction that is triggered, so no FROM."""
    found = read_node(node, Linter(silent=True))
    if isinstance(found, Stage):
        raise DockerfileError("*instructions.Stage is not a command type", node.lines)
    return found


def read_node(node: Node, lint: Linter) -> Command | Stage:
    """The instruction of a node."""
    lint = lint.for_comments(node.comments)
    with located(node.lines):
        reader = _READERS.get(node.value.lower())
        if reader is None:
            raise DockerfileError(f"unknown instruction: {node.value}").suggesting(
                node.value, [name.upper() for name in _READERS], case=False
            )
        said = Said(node.value, trim(node.original), node.lines, tuple(node.comments))
        return reader(node, said, lint)


def _flags(node: Node, kinds: dict[str, str] | None = None) -> Flags:
    return Flags(node.flags, kinds or {})


def _at_least_one(words: list[str], name: str) -> None:
    if not words:
        raise DockerfileError(f"{name} requires at least one argument")


def _exactly_one(node: Node, name: str) -> str:
    words = node.words()
    if len(words) != 1:
        raise DockerfileError(f"{name} requires exactly one argument")
    _flags(node)
    return words[0]


def _pairs(node: Node, name: str) -> tuple[Pair, ...]:
    _flags(node)
    words = node.words()
    _at_least_one(words, name)
    pairs = tuple(
        Pair(key, value, not mark)
        for key, value, mark in zip(words[::3], words[1::3], words[2::3], strict=True)
    )
    if not all(pair.name for pair in pairs):
        raise DockerfileError(f"{name} names can not be blank")
    return pairs


def _env(node: Node, said: Said, lint: Linter) -> i.Env:
    return i.Env(said, _pairs(node, "ENV"))


def _label(node: Node, said: Said, lint: Linter) -> i.Label:
    return i.Label(said, _pairs(node, "LABEL"))


def _maintainer(node: Node, said: Said, lint: Linter) -> i.Maintainer:
    lint.run(
        checks.MAINTAINER_DEPRECATED,
        node.lines,
        "Maintainer instruction is deprecated in favor of using label",
    )
    return i.Maintainer(said, _exactly_one(node, "MAINTAINER"))


def _arg(node: Node, said: Said, lint: Linter) -> i.Arg:
    words = node.words()
    _at_least_one(words, "ARG")
    variables: list[Variable] = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals and not name:
            raise DockerfileError("ARG names can not be blank")
        variables.append(Variable(name, value if equals else None, described(node.comments, name)))
    _check_description("ARG", [variable.name for variable in variables], node, lint)
    return i.Arg(said, tuple(variables))


def described(comments: list[str], name: str) -> str:
    """What a comment says of a name: `# name description`."""
    if name:
        for comment in comments:
            if comment.startswith(f"{name} "):
                return comment[len(name) + 1 :]
    return ""


def _check_description(instruction: str, names: list[str], node: Node, lint: Linter) -> None:
    if not node.comments or node.comments[-1].partition(" ")[0] in names:
        return
    example = names[0] if len(names) == 1 else "<arg_key>"
    message = f"Comment for {instruction} should follow the format: `# {example} <description>`"
    lint.run(checks.INVALID_DEFINITION_DESCRIPTION, node.lines, message)


def _from(node: Node, said: Said, lint: Linter) -> Stage:
    words = node.words()
    if len(words) == 3 and words[2] != words[2].lower():
        lint.run(checks.STAGE_NAME_CASING, node.lines, f"Stage name '{words[2]}' should be lowercase")
    if len(words) >= 3 and not _same_case(node.value, words[1]):
        message = f"'{words[1]}' and '{node.value}' keywords' casing do not match"
        lint.run(checks.FROM_AS_CASING, node.lines, message)
    name = _stage_name(words)
    platform = _flags(node, {"platform": "text"}).text("platform")
    stage = Stage(said, words[0], name, platform, described(node.comments, name))
    if name:
        _check_description("FROM", [name], node, lint)
    return stage


def _same_case(keyword: str, other: str) -> bool:
    if keyword == keyword.lower():
        return other == other.lower()
    return keyword != keyword.upper() or other == other.upper()


def _stage_name(words: list[str]) -> str:
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.match(name):
            raise DockerfileError(
                f"invalid name for build stage: {quote(words[2])}, name can't start with a number or contain symbols"
            )
        return name
    if len(words) != 1:
        raise DockerfileError("FROM requires either one or three arguments")
    return ""


def _transfer(node: Node, said: Said, name: str, kinds: dict[str, str]) -> i.Transfer:
    words = node.words()
    if len(words) < 2:
        raise DockerfileError(
            f"{name} requires at least two arguments, but only one was provided. Destination could not be determined"
        )
    flags = _flags(node, kinds)
    if try_heredoc(words[-1]) is not None:
        raise DockerfileError(f"{name} cannot accept a heredoc as a destination")
    texts = {heredoc.name: heredoc.content for heredoc in node.heredocs}
    sources: list[str] = []
    inlines: list[i.Inline] = []
    for word in words[:-1]:
        heredoc = try_heredoc(word)
        if heredoc is None:
            sources.append(word)
        else:
            text = texts.get(heredoc.name, "")
            inlines.append(i.Inline(heredoc.name, chomp(text) if heredoc.chomp else text, heredoc.expand))
    return i.Transfer(
        said, tuple(sources), tuple(inlines), words[-1], add=name == "ADD",
        source_stage=flags.text("from"), chown=flags.text("chown"), chmod=flags.text("chmod"),
        link=flags.on("link"), parents=flags.on("parents"), exclude=flags.all("exclude"),
        checksum=flags.text("checksum"), keep_git_dir=flags.chosen("keep-git-dir"), unpack=flags.chosen("unpack"),
    )  # fmt: skip


def _add(node: Node, said: Said, lint: Linter) -> i.Transfer:
    return _transfer(node, said, "ADD", _ADD)


def _copy(node: Node, said: Said, lint: Linter) -> i.Transfer:
    return _transfer(node, said, "COPY", _COPY)


def _onbuild(node: Node, said: Said, lint: Linter) -> i.Onbuild:
    words = node.words()
    _at_least_one(words, "ONBUILD")
    _flags(node)
    trigger = words[0].strip(SPACES).upper()
    if trigger == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise DockerfileError(f"{trigger} isn't allowed as an ONBUILD trigger")
    found = _ONBUILD.match(node.original)
    text = node.original[found.end() :] if found else node.original
    text += "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in node.heredocs)
    return i.Onbuild(said, text)


def _workdir(node: Node, said: Said, lint: Linter) -> i.Workdir:
    return i.Workdir(said, _exactly_one(node, "WORKDIR"))


def _command_line(node: Node, words: list[str] | None = None) -> i.CommandLine:
    words = node.words() if words is None else words
    scripts = tuple(i.Script(heredoc.name, heredoc.content, heredoc.chomp) for heredoc in node.heredocs)
    line = words if node.json or not words else [" ".join(words)]
    return i.CommandLine(tuple(line), not node.json, scripts)


def _run(node: Node, said: Said, lint: Linter) -> i.Run:
    flags = _flags(node, _RUN)
    devices = tuple(parse_device(text) for text in flags.all("device"))
    mounts = flags.all("mount")
    stages = tuple(stage_of(text) for text in mounts)
    network, security = flags.text("network", "default"), flags.text("security", "sandbox")
    if network not in ("default", "none", "host"):
        raise DockerfileError(f"invalid network mode {quote(network)}")
    if security not in ("sandbox", "insecure"):
        raise DockerfileError(f"security {quote(security)} is not valid")
    return i.Run(said, _command_line(node), mounts, stages, devices, network, security)


def _cmd(node: Node, said: Said, lint: Linter) -> i.Cmd:
    _flags(node)
    return i.Cmd(said, _command_line(node))


def _entrypoint(node: Node, said: Said, lint: Linter) -> i.Entrypoint:
    _flags(node)
    return i.Entrypoint(said, _command_line(node))


def _healthcheck(node: Node, said: Said, lint: Linter) -> i.Healthcheck:
    words = node.words()
    _at_least_one(words, "HEALTHCHECK")
    kind, arguments = words[0].upper(), words[1:]
    if kind == "NONE":
        if arguments:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        return i.Healthcheck(said, i.Health(("NONE",)))
    flags = _flags(node, _HEALTH)
    if kind != "CMD":
        raise DockerfileError(f"Unknown type {quote(kind)} in HEALTHCHECK (try CMD)")
    line = _command_line(node, arguments)
    if not line.words:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    test = ("CMD-SHELL" if line.shell else "CMD", *line.words)
    names = ("interval", "timeout", "start-period", "start-interval")
    durations = {name.replace("-", "_"): _interval(name, flags.text(name)) for name in names}
    return i.Healthcheck(said, i.Health(test, **durations, retries=_retries(flags.text("retries"))))


def _interval(name: str, text: str) -> int:
    if not text:
        return 0
    try:
        unsigned = text[1:] if text[0] in "+-" else text
        value = parse_duration(unsigned) if unsigned else parse_duration("?")
    except Invalid as error:
        raise DockerfileError(str(error)) from None
    if value >= 1 << 63:
        raise DockerfileError(f"time: invalid duration {quote(text)}")
    if value and (value < _MILLISECOND or text[0] == "-"):
        raise DockerfileError(f"Interval {quote(name)} cannot be less than 1ms")
    return value


def _retries(text: str) -> int:
    if not text:
        return 0
    value = parse_int(text, 32)
    if value is None:
        raise DockerfileError(int_error(text, 32))
    if value < 0:
        raise DockerfileError(f"--retries cannot be negative ({value})")
    return value


def _expose(node: Node, said: Said, lint: Linter) -> i.Expose:
    words = node.words()
    _at_least_one(words, "EXPOSE")
    _flags(node)
    return i.Expose(said, tuple(sorted(words)))


def _user(node: Node, said: Said, lint: Linter) -> i.User:
    return i.User(said, _exactly_one(node, "USER"))


def _volume(node: Node, said: Said, lint: Linter) -> i.Volume:
    words = node.words()
    _at_least_one(words, "VOLUME")
    _flags(node)
    volumes = tuple(trim(word) for word in words)
    if not all(volumes):
        raise DockerfileError("VOLUME specified can not be an empty string")
    return i.Volume(said, volumes)


def _stop_signal(node: Node, said: Said, lint: Linter) -> i.StopSignal:
    words = node.words()
    if len(words) != 1:
        raise DockerfileError("STOPSIGNAL requires exactly one argument")
    return i.StopSignal(said, words[0])


def _shell(node: Node, said: Said, lint: Linter) -> i.Shell:
    _flags(node)
    words = node.words()
    _at_least_one(words, "SHELL")
    if not node.json:
        raise DockerfileError("SHELL requires the arguments to be in JSON form")
    return i.Shell(said, tuple(words))


_READERS: dict[str, Callable[[Node, Said, Linter], Command | Stage]] = {
    "add": _add, "arg": _arg, "cmd": _cmd, "copy": _copy, "entrypoint": _entrypoint, "env": _env, "expose": _expose,
    "from": _from, "healthcheck": _healthcheck, "label": _label, "maintainer": _maintainer, "onbuild": _onbuild,
    "run": _run, "shell": _shell, "stopsignal": _stop_signal, "user": _user, "volume": _volume, "workdir": _workdir,
}  # fmt: skip
