"""Build contexts: the main one, and named ones (`--build-context NAME=…`), which stand in for stages and images.

A named context's specification is `docker-image://`, `oci-layout://`, a git or http address, `local:NAME` or `input:NAME`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from knarr.build import operations as ops
from knarr.build.dockerfile import ignore, image, platforms
from knarr.build.dockerfile.drafts import FileDraft, Output, SourceDraft, State, local_source
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import quote
from knarr.build.dockerfile.image import Image
from knarr.build.dockerfile.options import Options
from knarr.build.dockerfile.questions import IgnoreQuestion, ImageAnswer, ImageQuestion, Steps, ask
from knarr.build.dockerfile.remotes import git_source, http_source, is_http, parse_git
from knarr.build.dockerfile.units import SCRATCH, Context, Unit
from knarr.build.graph import About, Edge, vertex
from knarr.model.errors import Invalid
from knarr.model.platform import Platform
from knarr.model.reference import Reference

_NOT_NAMED = ("scratch", "context")
Loaded = tuple[State, Image | None]


class Remote(NamedTuple):
    """A main context that is elsewhere: its source, and for http the file in it that may be an archive or a Dockerfile."""

    edge: Edge
    filename: str = ""


def remote_context(options: Options) -> Remote | None:
    """The source of a main context that is a git or http address; None for a local one."""
    text = options.remote_context
    reference = parse_git(text) if text else None
    if reference is not None:
        if options.build_args.get("SOURCE_DATE_EPOCH") and not reference.mtime:
            reference = reference._replace(mtime="commit")
        keep = bool(reference.keep_git_dir) or options.keep_git_dir
        about = About(f"[internal] load git source {text}")
        return Remote(_inside(Edge(vertex(git_source(reference, keep_git_dir=keep), about=about)), options))
    if is_http(text):
        source = http_source(text, "context")
        return Remote(Edge(vertex(source, about=About("[internal] load remote build context"))), "context")
    return None


def unpacked(remote: Remote, options: Options) -> Edge:
    """An http context that turned out to be an archive, as a directory."""
    copy = ops.Copy(f"/{remote.filename}", "/", unpack=True)
    return _inside(_copied(remote.edge, copy), options)


def _inside(edge: Edge, options: Options) -> Edge:
    if not options.context_subdir:
        return edge
    return _copied(edge, ops.Copy(f"/{options.context_subdir.strip('/')}", "/", contents_only=True))


def _copied(edge: Edge, copy: ops.Copy) -> Edge:
    return Edge(vertex(ops.File((ops.Action(copy, secondary=0, output=0),)), (edge,)))


def main_context(
    options: Options, given: Edge | None, paths: Sequence[str], excludes: Sequence[str]
) -> Output:
    """The main context: what was handed in, or the client's files that the build uses."""
    if given is not None:
        return given
    name = options.context_name
    session = options.sessions.get(name, options.session)
    source = local_source(name, session, name, paths, excludes)
    return SourceDraft(source, About("[internal] load build context"))


def find(name: str, platform: Platform | None, options: Options) -> Context | None:
    """The named context of a stage's or an image's name."""
    if name.lower() in _NOT_NAMED:
        return None
    try:
        reference = Reference.parse(name)
    except Invalid as error:
        raise DockerfileError(f"invalid context name {name}: {error}") from None
    plain = reference.familiar.removesuffix(":latest")
    for key in (f"{plain}::{platforms.normalise(platform or options.here)}", plain):
        if key in options.contexts:
            return Context(plain, key, options.contexts[key], platform)
    return None


def load(context: Context, unit: Unit, options: Options) -> Steps[Loaded]:
    """The files of a named context, and the image configuration if it has one."""
    scheme, colon, rest = context.specification.partition(":")
    if not colon:
        raise DockerfileError(f"invalid context specifier {context.specification} for {context.key}")
    if scheme.startswith("git@"):
        scheme = "git"
    loader = _LOADERS.get(scheme)
    if loader is None:
        raise DockerfileError(f"unsupported context source {scheme} for {context.key}")
    return (yield from loader(context, rest, unit, options))


def configured(state: State, config: Image) -> State:
    """A state with an image's variables, directory and platform."""
    for variable in config.env:
        name, _, value = variable.partition("=")
        if name:
            state = state.with_env(name, value)
    state = replace(state, cwd=config.workdir or "/")
    return replace(state, platform=config.platform) if config.architecture and config.os else state


def _image(context: Context, rest: str, unit: Unit, options: Options) -> Steps[Loaded]:
    text = rest.removeprefix("//")
    if text == SCRATCH:
        return State(), None
    reference = str(_parsed(text).tagged())
    platform = context.platform or options.here
    log_name = f"[context {context.key}] load metadata for {text}"
    answer = yield from ask(ImageQuestion(reference, platform, options.resolve_mode, log_name))
    assert isinstance(answer, ImageAnswer)
    config = image.from_json(answer.config)
    config.created = ""
    source = ops.Source(f"docker-image://{answer.reference}")
    draft = SourceDraft(source, About(f"[context {context.key}] {text}"), platform)
    return configured(State(draft, platform=platform), config), config


def _parsed(text: str) -> Reference:
    try:
        return Reference.parse(text)
    except Invalid as error:
        raise DockerfileError(str(error)) from None


def _git(context: Context, rest: str, unit: Unit, options: Options) -> Steps[Loaded]:
    yield from ()
    reference = parse_git(context.specification)
    if reference is None:
        raise DockerfileError(f"invalid git context {context.specification}")
    source = git_source(reference, keep_git_dir=bool(reference.keep_git_dir))
    return State(SourceDraft(source, About(f"[internal] load git source {context.specification}"))), None


def _http(context: Context, rest: str, unit: Unit, options: Options) -> Steps[Loaded]:
    if parse_git(context.specification) is not None:
        return (yield from _git(context, rest, unit, options))
    source = http_source(context.specification, "context")
    return State(SourceDraft(source, About(f"[context {context.key}] {context.specification}"))), None


def _layout(context: Context, rest: str, unit: Unit, options: Options) -> Steps[Loaded]:
    text = rest.removeprefix("//")
    store, at, digest = text.partition("@")
    store = store if ":" not in store.rpartition("/")[2] else store.rpartition(":")[0]
    if not store:
        raise DockerfileError(f"could not parse oci-layout reference {quote(text)}: invalid reference format")
    if not at:
        raise DockerfileError(f"oci-layout reference {quote(text)} has no digest")
    reference = str(_parsed(f"{context.name}@{digest}"))
    platform = context.platform or options.here
    log_name = f"[context {context.key}] load metadata for {reference}"
    answer = yield from ask(ImageQuestion(reference, platform, options.resolve_mode, log_name, store))
    assert isinstance(answer, ImageAnswer)
    config = image.from_json(answer.config)
    attributes = {"oci.session": options.session, "oci.store": store}
    source = ops.Source(f"oci-layout://{reference}", tuple((k, v) for k, v in attributes.items() if v))
    draft = SourceDraft(source, About(f"[context {context.key}] OCI load from client"), platform)
    return configured(State(draft, platform=platform), config), config


def _local(context: Context, rest: str, unit: Unit, options: Options) -> Steps[Loaded]:
    session = options.sessions.get(rest, options.session)
    answer = yield from ask(IgnoreQuestion(rest, session, f"[context {context.key}] load .dockerignore"))
    excludes = ignore.read(answer) if isinstance(answer, bytes) else []
    shared = f"context:{context.key}-{options.shared_keys.get(context.key, '')}"

    def source() -> ops.Source:
        return local_source(rest, session, shared, follow_paths(unit.paths), excludes)

    return State(SourceDraft(source, About(f"[context {context.key}] load from client"))), None


def _input(context: Context, rest: str, unit: Unit, options: Options) -> Steps[Loaded]:
    yield from ()
    given = options.inputs.get(rest)
    if given is None:
        raise DockerfileError(f"invalid input {rest} for {context.key}")
    state = State(given.edge, platform=given.edge.vertex.platform if given.edge else None)
    if given.config is None:
        return state, None
    config = image.from_json(given.config)
    return configured(state, config), config


_LOADERS: dict[str, Callable[[Context, str, Unit, Options], Steps[Loaded]]] = {
    "docker-image": _image, "git": _git, "http": _http, "https": _http, "oci-layout": _layout, "local": _local,
    "input": _input,
}  # fmt: skip


def follow_paths(paths: set[str]) -> list[str]:
    """The paths that a context must send; none means all."""
    return [] if "/" in paths else sorted(path.removeprefix("/") for path in paths)


def inline(path: str, text: str, mode: int) -> FileDraft:
    """A file that stands in the Dockerfile."""
    act = ops.MakeFile(path, mode, text.encode("utf-8", "surrogateescape"))
    return FileDraft(None, [(act, None)], About("[internal] preparing inline document"))
