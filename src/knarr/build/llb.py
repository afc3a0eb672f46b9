"""Operations as bytes: BuildKit's protobuf message `pb.Op`, in the order that its deterministic encoder writes.

Encoding only; the wire format is wire.protobuf. Zero values are left out; within `Op` the chosen operation comes last, as Go's
encoder puts members of a oneof after plain fields. A vertex's digest is the SHA-256 of these bytes.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from knarr.build import operations as ops
from knarr.model.platform import Platform
from knarr.wire.protobuf import data, message, number, text, varint


def encode(operation: ops.Operation, inputs: Sequence[tuple[str, int]], platform: Platform | None) -> bytes:
    """`pb.Op`; inputs are (digest, output index)."""
    head = b"".join(message(1, text(1, digest) + number(2, index)) for digest, index in inputs)
    if platform is not None:
        head += message(10, text(1, platform.architecture) + text(2, platform.os) + text(3, platform.variant))
    return head + message(11, b"") + _operation(operation, len(inputs))


def ending(digest: str, output: int) -> bytes:
    """`pb.Op` of a definition's last vertex, which only names the result."""
    return message(1, text(1, digest) + number(2, output))


@lru_cache(512)
def _operation(operation: ops.Operation, inputs: int) -> bytes:
    match operation:
        case ops.Exec():
            return message(2, _exec(operation))
        case ops.Source():
            pairs = sorted(operation.attributes)
            attributes = b"".join(message(2, _always(1, key) + _always(2, value)) for key, value in pairs)
            return message(3, text(1, operation.identifier) + attributes)
        case ops.File():
            return message(4, b"".join(message(2, _action(action)) for action in operation.actions))
        case ops.Merge():
            return message(6, b"".join(message(1, number(1, index)) for index in range(inputs)))
        case ops.Diff():
            return message(7, message(1, number(1, operation.lower)) + message(2, number(1, operation.upper)))


def _exec(run: ops.Exec) -> bytes:
    secrets = [text(1, s.id) + text(2, s.name) + number(3, s.optional) for s in run.secrets]
    devices = [text(1, d.name) + number(2, d.optional) for d in run.devices]
    return (
        message(1, _meta(run))
        + _messages(2, (_mount(mount) for mount in run.mounts))
        + number(3, run.network)
        + number(4, run.security)
        + _messages(5, secrets)
        + _messages(6, devices)
    )


def _meta(run: ops.Exec) -> bytes:
    proxy = b""
    if run.proxy is not None:
        proxy = message(5, b"".join(text(field, value) for field, value in enumerate(run.proxy, 1)))
    return (
        b"".join(_always(1, arg) for arg in run.args)
        + b"".join(_always(2, variable) for variable in run.env)
        + text(3, run.cwd)
        + text(4, run.user)
        + proxy
        + _messages(6, (text(1, host.name) + text(2, host.address) for host in run.hosts))
        + text(7, run.hostname)
        + _messages(9, (text(1, u.name) + number(2, u.soft) + number(3, u.hard) for u in run.ulimits))
        + text(10, run.cgroup_parent)
        + number(11, 1)
    )


def _mount(mount: ops.Mount) -> bytes:
    options = b""
    if mount.kind is ops.MountKind.TMPFS:
        options = message(19, number(1, mount.size))
    elif mount.cache is not None:
        options = message(20, text(1, mount.cache.id) + number(2, mount.cache.sharing))
    elif mount.credential is not None:
        options = message(21 if mount.kind is ops.MountKind.SECRET else 22, _credential(mount.credential))
    return (
        number(1, mount.input)
        + text(2, mount.selector)
        + text(3, mount.dest)
        + number(4, mount.output)
        + number(5, mount.readonly)
        + number(6, mount.kind)
        + options
    )


def _credential(credential: ops.Credential) -> bytes:
    numbers = (credential.uid, credential.gid, credential.mode, credential.optional)
    return text(1, credential.id) + b"".join(number(field, value) for field, value in enumerate(numbers, 2))


def _action(action: ops.Action) -> bytes:
    head = number(1, action.input) + number(2, action.secondary) + number(3, action.output)
    act = action.act
    match act:
        case ops.Copy():
            return head + message(4, _copy(act))
        case ops.MakeFile():
            body = text(1, act.path) + number(2, act.mode) + data(3, act.data)
            return head + message(5, body + _owner(4, act.owner) + number(5, act.timestamp))
        case ops.MakeDirectory():
            body = text(1, act.path) + number(2, act.mode) + number(3, act.parents)
            return head + message(6, body + _owner(4, act.owner) + number(5, act.timestamp))
        case ops.Remove():
            return head + message(
                7, text(1, act.path) + number(2, act.allow_missing) + number(3, act.wildcard)
            )
        case ops.Symlink():
            body = text(1, act.target) + text(2, act.path)
            return head + message(8, body + _owner(3, act.owner) + number(4, act.timestamp))


def _copy(act: ops.Copy) -> bytes:
    flags = (
        act.follow_symlink, act.contents_only, act.unpack, act.create_dest, act.wildcard, act.empty_wildcard,
    )  # fmt: skip
    return (
        text(1, act.src)
        + text(2, act.dest)
        + _owner(3, act.owner)
        + number(4, act.mode)
        + b"".join(number(field, flag) for field, flag in enumerate(flags, 5))
        + number(11, act.timestamp)
        + b"".join(_always(12, pattern) for pattern in act.include)
        + b"".join(_always(13, pattern) for pattern in act.exclude)
        + number(14, act.replace)
        + text(15, act.mode_text)
        + b"".join(_always(16, path) for path in act.required)
    )


def _owner(field: int, owner: ops.Owner | None) -> bytes:
    if owner is None:
        return b""
    user = message(1, _who(owner.user)) if owner.user is not None else b""
    group = message(2, _who(owner.group)) if owner.group is not None else b""
    return message(field, user + group)


def _who(who: ops.Who) -> bytes:
    # byName and byID are members of a oneof: a chosen zero is written.
    if who.name:
        return message(1, text(1, who.name) + number(2, who.input))
    return varint(2 << 3) + varint(who.id)


def _always(field: int, value: str) -> bytes:
    return message(field, value.encode("utf-8", "surrogateescape"))


def _messages(field: int, bodies: Iterable[bytes]) -> bytes:
    return b"".join(message(field, body) for body in bodies)
