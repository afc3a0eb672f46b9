"""A graph as provenance shows it (`llbDefinition`): the steps that a result needs, numbered, in the JSON of BuildKit's Go structs.

Zero values are left out, but for what BuildKit's own encoders always write: a file action's numbers, the kind of an operation.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from knarr.build import operations as ops
from knarr.build.graph import Edge, Vertex, walk
from knarr.build.llb import ending
from knarr.model.platform import Platform

Json = dict[str, Any]
_HIDDEN = ("local.session", "local.unique")


class Steps(NamedTuple):
    """`numbers`: each vertex' by its digest."""

    definition: Sequence[Json]
    numbers: Mapping[str, int]

    @property
    def mapping(self) -> Json:
        """`digestMapping`."""
        return {digest: f"step{number}" for digest, number in sorted(self.numbers.items())}


def steps(result: Edge | None) -> Steps:
    """Of one result; the last step only says which output is the result."""
    if result is None:
        return Steps((), {})
    vertices = list(walk(result))
    numbers = {vertex.digest: number for number, vertex in enumerate(vertices)}
    last = f"sha256:{hashlib.sha256(ending(result.digest, result.output)).hexdigest()}"
    found = [_step(numbers[vertex.digest], _op(vertex), vertex.inputs, numbers) for vertex in vertices]
    found.append(_step(len(vertices), {"Op": {}}, (result,), numbers))
    return Steps(found, {**numbers, last: len(vertices)})


def _step(number: int, op: Json, inputs: Sequence[Edge], numbers: Mapping[str, int]) -> Json:
    step: Json = {"id": f"step{number}", "op": op}
    if inputs:
        step["inputs"] = [f"step{numbers[edge.digest]}:{edge.output}" for edge in inputs]
    return step


def _op(vertex: Vertex) -> Json:
    op: Json = {"Op": _operation(vertex.operation, len(vertex.inputs))}
    if vertex.platform is not None:
        op["platform"] = platform(vertex.platform)
    op["constraints"] = {}
    return op


def platform(value: Platform) -> Json:
    """`pb.Platform`"""
    return _given(Architecture=value.architecture, OS=value.os, Variant=value.variant)


def _given(**members: Any) -> Json:
    return {name: value for name, value in members.items() if value or isinstance(value, dict)}


def _operation(operation: ops.Operation, inputs: int) -> Json:
    match operation:
        case ops.Source():
            shown = {name: value for name, value in sorted(operation.attributes) if name not in _HIDDEN}
            source: Json = {"identifier": operation.identifier}
            return {"source": {**source, "attrs": shown} if shown else source}
        case ops.Exec():
            return {"exec": _exec(operation)}
        case ops.File():
            return {"file": {"actions": [_action(action) for action in operation.actions]}}
        case ops.Merge():
            return {"merge": {"inputs": [_given(input=number) for number in range(inputs)]}}
        case ops.Diff(lower, upper):
            return {"diff": {"lower": _given(input=lower), "upper": _given(input=upper)}}


def _exec(run: ops.Exec) -> Json:
    meta = _given(
        args=list(run.args),
        env=list(run.env),
        cwd=run.cwd,
        user=run.user,
        proxy_env=None if run.proxy is None else _proxy(run.proxy),
        extraHosts=[{"Host": host.name, "IP": host.address} for host in run.hosts],
        hostname=run.hostname,
        ulimit=[_given(Name=each.name, Soft=each.soft, Hard=each.hard) for each in run.ulimits],
        cgroupParent=run.cgroup_parent,
        removeMountStubsRecursive=True,
    )
    return _given(
        meta=meta,
        mounts=[_mount(mount) for mount in run.mounts],
        network=int(run.network),
        security=int(run.security),
        secretenv=[_given(ID=each.id, name=each.name, optional=each.optional) for each in run.secrets],
        cdiDevices=[_given(name=each.name, optional=each.optional) for each in run.devices],
    )


def _proxy(proxy: ops.Proxy) -> Json:
    return _given(
        http_proxy=proxy.http,
        https_proxy=proxy.https,
        ftp_proxy=proxy.ftp,
        no_proxy=proxy.none,
        all_proxy=proxy.all,
    )


def _mount(mount: ops.Mount) -> Json:
    found = _given(
        input=mount.input,
        selector=mount.selector,
        dest=mount.dest,
        output=mount.output,
        readonly=mount.readonly,
        mountType=int(mount.kind),
    )
    if mount.kind is ops.MountKind.TMPFS:
        found["TmpfsOpt"] = _given(size=mount.size)
    elif mount.cache is not None:
        found["cacheOpt"] = _given(ID=mount.cache.id, sharing=int(mount.cache.sharing))
    elif mount.credential is not None:
        each = mount.credential
        name = "secretOpt" if mount.kind is ops.MountKind.SECRET else "SSHOpt"
        found[name] = _given(ID=each.id, uid=each.uid, gid=each.gid, mode=each.mode, optional=each.optional)
    return found


def _action(action: ops.Action) -> Json:
    return {
        "input": action.input,
        "secondaryInput": action.secondary,
        "output": action.output,
        "Action": _act(action.act),
    }


def _act(act: ops.Act) -> Json:
    match act:
        case ops.Copy():
            return {"copy": _copy(act)}
        case ops.MakeFile():
            data = base64.b64encode(act.data).decode()
            return {
                "mkfile": _given(
                    path=act.path, mode=act.mode, data=data, owner=_owner(act.owner), timestamp=act.timestamp
                )
            }
        case ops.MakeDirectory():
            return {
                "mkdir": _given(
                    path=act.path,
                    mode=act.mode,
                    makeParents=act.parents,
                    owner=_owner(act.owner),
                    timestamp=act.timestamp,
                )
            }
        case ops.Remove():
            return {"rm": _given(path=act.path, allowNotFound=act.allow_missing, allowWildcard=act.wildcard)}
        case ops.Symlink():
            # BuildKit's own encoder of provenance does not know this kind.
            return {}


def _copy(act: ops.Copy) -> Json:
    return _given(
        src=act.src,
        dest=act.dest,
        owner=_owner(act.owner),
        mode=act.mode,
        followSymlink=act.follow_symlink,
        dirCopyContents=act.contents_only,
        attemptUnpackDockerCompatibility=act.unpack,
        createDestPath=act.create_dest,
        allowWildcard=act.wildcard,
        allowEmptyWildcard=act.empty_wildcard,
        timestamp=act.timestamp,
        include_patterns=list(act.include),
        exclude_patterns=list(act.exclude),
        alwaysReplaceExistingDestPaths=act.replace,
        modeStr=act.mode_text,
        required_paths=list(act.required),
    )


def _owner(owner: ops.Owner | None) -> Json | None:
    return None if owner is None else _given(user=_who(owner.user), group=_who(owner.group))


def _who(who: ops.Who | None) -> Json | None:
    if who is None:
        return None
    return {"User": {"byName": _given(name=who.name, input=who.input)} if who.name else _given(byId=who.id)}
