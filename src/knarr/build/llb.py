"""Operations as bytes: BuildKit's protobuf message `pb.Op`, in the order that its deterministic encoder writes.

Encoding only. Zero values are left out; within `Op` the chosen operation comes last, as Go's encoder puts members of a
oneof after plain fields. A vertex's digest is the SHA-256 of these bytes.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from knarr.build import operations as ops
from knarr.model.platform import Platform

_MASK = (1 << 64) - 1


def encode(operation: ops.Operation, inputs: Sequence[tuple[str, int]], platform: Platform | None) -> bytes:
    """`pb.Op`; inputs are (digest, output index)."""
    head = b"".join(_message(1, _text(1, digest) + _number(2, index)) for digest, index in inputs)
    if platform is not None:
        head += _message(
            10, _text(1, platform.architecture) + _text(2, platform.os) + _text(3, platform.variant)
        )
    return head + _message(11, b"") + _operation(operation, len(inputs))


def ending(digest: str, output: int) -> bytes:
    """`pb.Op` of a definition's last vertex, which only names the result."""
    return _message(1, _text(1, digest) + _number(2, output))


@lru_cache(512)
def _operation(operation: ops.Operation, inputs: int) -> bytes:
    match operation:
        case ops.Exec():
            return _message(2, _exec(operation))
        case ops.Source():
            pairs = sorted(operation.attributes)
            attributes = b"".join(_message(2, _always(1, key) + _always(2, value)) for key, value in pairs)
            return _message(3, _text(1, operation.identifier) + attributes)
        case ops.File():
            return _message(4, b"".join(_message(2, _action(action)) for action in operation.actions))
        case ops.Merge():
            return _message(6, b"".join(_message(1, _number(1, index)) for index in range(inputs)))
        case ops.Diff():
            return _message(
                7, _message(1, _number(1, operation.lower)) + _message(2, _number(1, operation.upper))
            )


def _exec(run: ops.Exec) -> bytes:
    secrets = [_text(1, s.id) + _text(2, s.name) + _number(3, s.optional) for s in run.secrets]
    devices = [_text(1, d.name) + _number(2, d.optional) for d in run.devices]
    return (
        _message(1, _meta(run))
        + _messages(2, (_mount(mount) for mount in run.mounts))
        + _number(3, run.network)
        + _number(4, run.security)
        + _messages(5, secrets)
        + _messages(6, devices)
    )


def _meta(run: ops.Exec) -> bytes:
    proxy = b""
    if run.proxy is not None:
        proxy = _message(5, b"".join(_text(number, value) for number, value in enumerate(run.proxy, 1)))
    return (
        b"".join(_always(1, arg) for arg in run.args)
        + b"".join(_always(2, variable) for variable in run.env)
        + _text(3, run.cwd)
        + _text(4, run.user)
        + proxy
        + _messages(6, (_text(1, host.name) + _text(2, host.address) for host in run.hosts))
        + _text(7, run.hostname)
        + _messages(9, (_text(1, u.name) + _number(2, u.soft) + _number(3, u.hard) for u in run.ulimits))
        + _text(10, run.cgroup_parent)
        + _number(11, 1)
    )


def _mount(mount: ops.Mount) -> bytes:
    options = b""
    if mount.kind is ops.MountKind.TMPFS:
        options = _message(19, _number(1, mount.size))
    elif mount.cache is not None:
        options = _message(20, _text(1, mount.cache.id) + _number(2, mount.cache.sharing))
    elif mount.credential is not None:
        options = _message(21 if mount.kind is ops.MountKind.SECRET else 22, _credential(mount.credential))
    return (
        _number(1, mount.input)
        + _text(2, mount.selector)
        + _text(3, mount.dest)
        + _number(4, mount.output)
        + _number(5, mount.readonly)
        + _number(6, mount.kind)
        + options
    )


def _credential(credential: ops.Credential) -> bytes:
    numbers = (credential.uid, credential.gid, credential.mode, credential.optional)
    return _text(1, credential.id) + b"".join(_number(field, value) for field, value in enumerate(numbers, 2))


def _action(action: ops.Action) -> bytes:
    head = _number(1, action.input) + _number(2, action.secondary) + _number(3, action.output)
    act = action.act
    match act:
        case ops.Copy():
            return head + _message(4, _copy(act))
        case ops.MakeFile():
            body = _text(1, act.path) + _number(2, act.mode) + _bytes(3, act.data)
            return head + _message(5, body + _owner(4, act.owner) + _number(5, act.timestamp))
        case ops.MakeDirectory():
            body = _text(1, act.path) + _number(2, act.mode) + _number(3, act.parents)
            return head + _message(6, body + _owner(4, act.owner) + _number(5, act.timestamp))
        case ops.Remove():
            return head + _message(
                7, _text(1, act.path) + _number(2, act.allow_missing) + _number(3, act.wildcard)
            )
        case ops.Symlink():
            body = _text(1, act.target) + _text(2, act.path)
            return head + _message(8, body + _owner(3, act.owner) + _number(4, act.timestamp))


def _copy(act: ops.Copy) -> bytes:
    flags = (
        act.follow_symlink, act.contents_only, act.unpack, act.create_dest, act.wildcard, act.empty_wildcard,
    )  # fmt: skip
    return (
        _text(1, act.src)
        + _text(2, act.dest)
        + _owner(3, act.owner)
        + _number(4, act.mode)
        + b"".join(_number(number, flag) for number, flag in enumerate(flags, 5))
        + _number(11, act.timestamp)
        + b"".join(_always(12, pattern) for pattern in act.include)
        + b"".join(_always(13, pattern) for pattern in act.exclude)
        + _number(14, act.replace)
        + _text(15, act.mode_text)
        + b"".join(_always(16, path) for path in act.required)
    )


def _owner(field: int, owner: ops.Owner | None) -> bytes:
    if owner is None:
        return b""
    user = _message(1, _who(owner.user)) if owner.user is not None else b""
    group = _message(2, _who(owner.group)) if owner.group is not None else b""
    return _message(field, user + group)


def _who(who: ops.Who) -> bytes:
    # byName and byID are members of a oneof: a chosen zero is written.
    if who.name:
        return _message(1, _text(1, who.name) + _number(2, who.input))
    return _varint(2 << 3) + _varint(who.id)


def _varint(value: int) -> bytes:
    value &= _MASK
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value) if value else b""


def _bytes(field: int, value: bytes) -> bytes:
    return _message(field, value) if value else b""


def _text(field: int, value: str) -> bytes:
    return _always(field, value) if value else b""


def _always(field: int, value: str) -> bytes:
    return _message(field, value.encode("utf-8", "surrogateescape"))


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _messages(field: int, bodies: Iterable[bytes]) -> bytes:
    return b"".join(_message(field, body) for body in bodies)
