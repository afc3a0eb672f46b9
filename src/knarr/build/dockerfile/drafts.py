"""Operations before their inputs are settled, and the state that instructions change.

The build context's source names the paths that the whole build uses, which is known only at the end; so instructions make
drafts, and `freeze` turns those that the result needs into vertices. A `State` is what the next instruction begins with.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from knarr.build import operations as ops
from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import parse_int
from knarr.build.graph import About, Edge, Vertex, vertex, walk
from knarr.build.operations import NOTHING
from knarr.model.platform import Platform

_HTML = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


@dataclass(slots=True, eq=False)
class SourceDraft:
    """A source whose operation is known, or found out when it is frozen."""

    source: ops.Source | Callable[[], ops.Source]
    about: About
    platform: Platform | None = None


@dataclass(slots=True, eq=False)
class ExecDraft:
    """A command; `mounts` with what is mounted, the root first; `run` has no mounts yet."""

    run: ops.Exec
    mounts: "list[tuple[ops.Mount, Output]]"
    about: About
    platform: Platform | None
    credentials: tuple[ops.Mount, ...] = ()


@dataclass(slots=True, eq=False)
class FileDraft:
    """Acts on `base`, each with what it copies from (None for nothing or scratch)."""

    base: "Output"
    acts: "list[tuple[ops.Act, Output]]"
    about: About


@dataclass(slots=True, eq=False)
class MergeDraft:
    """Layers over one another."""

    parts: "list[Output]"
    about: About


@dataclass(slots=True, eq=False)
class Late:
    """What is settled at the end."""

    output: "Output" = None


Draft = SourceDraft | ExecDraft | FileDraft | MergeDraft | Late
Output = Draft | Edge | None


@dataclass(frozen=True, slots=True)
class State:
    """What an instruction begins with. `env` is in the order in which variables were set last; it is never changed."""

    output: Output = None
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    user: str = ""
    hostname: str = ""
    network: ops.Network = ops.Network.SANDBOX
    platform: Platform | None = None

    def with_env(self, name: str, value: str) -> "State":
        """With a variable set."""
        env = dict(self.env)
        env.pop(name, None)
        env[name] = value
        return State(self.output, env, self.cwd, self.user, self.hostname, self.network, self.platform)

    def with_output(self, output: Output) -> "State":
        """After an operation."""
        return State(output, self.env, self.cwd, self.user, self.hostname, self.network, self.platform)


def merged(states: Sequence[Output], about: About) -> Output:
    """The states over one another; empty ones don't count."""
    parts: list[Output] = [state for state in states if state is not None]
    return MergeDraft(parts, about) if len(parts) > 1 else parts[0] if parts else None


def json_list(texts: Sequence[str]) -> str:
    """A list in a source's attribute, as Go writes JSON; "" when empty."""
    return (
        json.dumps(list(texts), ensure_ascii=False, separators=(",", ":")).translate(_HTML) if texts else ""
    )


def local_source(
    name: str, session: str, shared_key: str, paths: Sequence[str], excludes: Sequence[str]
) -> ops.Source:
    """Files of the client."""
    attributes = {
        "local.excludepatterns": json_list(excludes),
        "local.followpaths": json_list(paths),
        "local.session": session,
        "local.sharedkeyhint": shared_key,
    }
    return ops.Source(f"local://{name}", tuple((key, value) for key, value in attributes.items() if value))


class Freezer:
    """Turns drafts into vertices, each once. Drafts of the same operation become one vertex; it is told of as all of them."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.done: dict[int, Edge | None] = {}
        self.abouts: dict[str, About] = {}
        self.shared = False

    def freeze(self, output: Output) -> Edge | None:
        """The edge of an output and all that it needs."""
        edge = self._frozen(output)
        return self._retold(edge) if self.shared and edge is not None else edge

    def _retold(self, edge: Edge) -> Edge:
        made: dict[str, Vertex] = {}
        for node in walk(edge):
            inputs = tuple(Edge(made[needed.digest], needed.output) for needed in node.inputs)
            about = self.abouts.get(node.digest, node.about)
            made[node.digest] = Vertex(node.operation, inputs, node.platform, node.digest, about)
        return Edge(made[edge.digest], edge.output)

    def _vertex(
        self, operation: ops.Operation, inputs: tuple[Edge, ...], platform: Platform | None, about: About
    ) -> Edge:
        made = vertex(operation, inputs, platform, about)
        before = self.abouts.get(made.digest)
        self.abouts[made.digest] = about if before is None else _joined(before, about)
        self.shared |= before is not None
        return Edge(made)

    def _frozen(self, output: Output) -> Edge | None:
        stack = [output]
        while stack:
            draft = stack[-1]
            if draft is None or isinstance(draft, Edge) or id(draft) in self.done:
                stack.pop()
                continue
            waiting = [needed for needed in _needs(draft) if not self._is_done(needed)]
            if waiting:
                stack += reversed(waiting)
            else:
                self.done[id(draft)] = self._made(draft)
                stack.pop()
        return self._edge(output)

    def _is_done(self, output: Output) -> bool:
        return output is None or isinstance(output, Edge) or id(output) in self.done

    def _edge(self, output: Output) -> Edge | None:
        return output if output is None or isinstance(output, Edge) else self.done[id(output)]

    def _made(self, draft: Draft) -> Edge | None:
        match draft:
            case Late():
                return self._edge(draft.output)
            case SourceDraft():
                source = draft.source if isinstance(draft.source, ops.Source) else draft.source()
                specific = source.scheme in ("docker-image", "oci-layout")
                platform = (draft.platform or self.platform) if specific else None
                return self._vertex(source, (), platform, draft.about)
            case ExecDraft():
                return self._exec(draft)
            case FileDraft():
                return self._file(draft)
            case MergeDraft():
                edges = tuple(edge for part in draft.parts if (edge := self._edge(part)) is not None)
                return self._vertex(ops.Merge(), edges, None, draft.about)

    def _exec(self, draft: ExecDraft) -> Edge:
        if not draft.run.args:
            raise DockerfileError("failed to marshal LLB definition: arguments are required")
        inputs: list[Edge] = []
        mounts: list[ops.Mount] = []
        outputs = 0
        for mount, output in sorted(draft.mounts, key=lambda pair: pair[0].dest):
            index = _place(inputs, self._edge(output))
            kept = mount.output != NOTHING
            mounts.append(replace(mount, input=index, output=outputs if kept else NOTHING))
            outputs += kept
        run = replace(draft.run, mounts=(*mounts, *draft.credentials))
        return self._vertex(run, tuple(inputs), draft.platform or self.platform, draft.about)

    def _file(self, draft: FileDraft) -> Edge:
        inputs: list[Edge] = []
        base = _place(inputs, self._edge(draft.base))
        seconds = [_place(inputs, self._edge(source)) for _, source in draft.acts]
        last = len(draft.acts) - 1
        actions = tuple(
            ops.Action(
                _owned(act, base),
                base if index == 0 else len(inputs) + index - 1,
                second,
                0 if index == last else NOTHING,
            )
            for index, ((act, _), second) in enumerate(zip(draft.acts, seconds, strict=True))
        )
        return self._vertex(ops.File(actions), tuple(inputs), None, draft.about)


def _joined(before: About, after: About) -> About:
    return About(
        after.name or before.name,
        after.command or before.command,
        tuple(dict.fromkeys(before.lines + after.lines)),
        before.ignore_cache or after.ignore_cache,
        after.group or before.group,
        after.resources or before.resources,
    )


def _needs(draft: Draft) -> list[Output]:
    match draft:
        case SourceDraft():
            return []
        case Late():
            return [draft.output]
        case ExecDraft():
            return [output for _, output in draft.mounts]
        case FileDraft():
            return [draft.base, *(source for _, source in draft.acts)]
        case MergeDraft():
            return list(draft.parts)


def _place(inputs: list[Edge], edge: Edge | None) -> int:
    if edge is None:
        return NOTHING
    if edge not in inputs:
        inputs.append(edge)
    return inputs.index(edge)


def _owned(act: ops.Act, base: int) -> ops.Act:
    """With names of owners looked up in the base."""
    if isinstance(act, ops.Remove) or act.owner is None or base == NOTHING:
        return act
    user, group = (who._replace(input=base) if who and who.name else who for who in act.owner)
    return replace(act, owner=ops.Owner(user, group))


def owner(text: str) -> ops.Owner | None:
    """`user[:group]`, names or numbers; None for ""."""
    if not text:
        return None
    user, colon, group = text.partition(":")
    return ops.Owner(_who(user), _who(group) if colon else None)


def _who(text: str) -> ops.Who:
    number = 0 if text == "root" else parse_int(text, 32)
    return ops.Who(name=text) if number is None else ops.Who(id=number & 0xFFFFFFFF)
