"""`RUN --mount=…` and `--device=…`: comma-separated fields, whose values may have variables.

A mount is read twice: when the file is read, for the stage that `from` names, which decides what must be built; and when the
instruction runs, with its variables.
"""

from collections.abc import Callable
from typing import Any

from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.flags import fields, parse_size
from knarr.build.dockerfile.golike import parse_bool, parse_uint, quote
from knarr.build.dockerfile.instructions import Device, Mount
from knarr.model.errors import Invalid

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
_KEYS = (
    "type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode", "uid", "gid",
    "src", "dst", "destination", "ro", "rw", "readwrite", "env",
)  # fmt: skip
_SAME = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_CREDENTIALS = ("secret", "ssh")


def stage_of(text: str) -> str:
    """The stage or image that `from` names; "" for none."""
    stage = ""
    for field in _fields(text, "mounts"):
        key, equals, value = field.partition("=")
        if equals and key.lower() == "from":
            if 0 <= value.find("$") < len(value) - 1:
                raise DockerfileError("'from' doesn't support variable expansion, define alias stage instead")
            stage = value
    return stage


def parse_mount(text: str, expand: Callable[[str], str]) -> Mount:
    """The mount, its values expanded."""
    reader = _Reader()
    for field in _fields(text, "mounts"):
        key, equals, value = field.partition("=")
        key = key.lower()
        if equals:
            reader.pair(key, expand(value), field)
        else:
            reader.word(key, field)
    return reader.whole()


def _fields(text: str, what: str) -> list[str]:
    try:
        return fields(text)
    except Invalid as error:
        raise DockerfileError(f"failed to parse csv {what}: {error}") from None


class _Reader:
    def __init__(self) -> None:
        self.mount = Mount()
        self.readonly: bool | None = None

    def word(self, key: str, field: str) -> None:
        if key in ("readonly", "ro"):
            self.readonly = True
        elif key in ("readwrite", "rw"):
            self.readonly = False
        elif key == "required":
            self._required(key, "true")
        else:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")

    def pair(self, key: str, value: str, field: str) -> None:
        name = _SAME.get(key, key)
        if name == "from":
            self._set(source_stage=value)
        elif name in ("source", "target", "id", "env"):
            self._set(**{name: value})
        elif name in ("readonly", "readwrite"):
            self.readonly = _flag(key, value) == (name == "readonly")
        elif name == "required":
            self._required(key, value)
        elif name in ("type", "sharing"):
            self._choice(name, value)
        elif name in ("mode", "uid", "gid"):
            number = parse_uint(value, 8 if name == "mode" else 10)
            if number is None:
                raise DockerfileError(f"invalid value {value} for {name}")
            self._set(**{name: number})
        elif name == "size":
            self._size(value)
        else:
            raise DockerfileError(f"unexpected key '{key}' in '{field}'").suggesting(key, _KEYS)

    def _set(self, **values: Any) -> None:
        self.mount = self.mount._replace(**values)

    def _choice(self, name: str, value: str) -> None:
        choices, what = (TYPES, "mount type") if name == "type" else (SHARING, "sharing value")
        if value.lower() not in choices:
            raise DockerfileError(f"unsupported {what} {quote(value)}").suggesting(value, choices)
        self._set(**{name: value.lower()})

    def _required(self, key: str, value: str) -> None:
        if self.mount.type not in _CREDENTIALS:
            raise DockerfileError(f"unexpected key '{key}' for mount type '{self.mount.type}'")
        self._set(required=_flag(key, value))

    def _size(self, value: str) -> None:
        if self.mount.type != "tmpfs":
            raise DockerfileError(f"unexpected key 'size' for mount type '{self.mount.type}'")
        if (size := parse_size(value)) is None:
            raise DockerfileError(f"invalid value for size: {value}")
        self._set(size=size)

    def whole(self) -> Mount:
        mount = self.mount
        if mount.type not in ("secret", "ssh", "cache"):
            for name in ("mode", "uid", "gid"):
                if getattr(mount, name) is not None:
                    raise DockerfileError(f'{name} not allowed for "{mount.type}" type mounts')
        if mount.type == "secret":
            _check_secret(mount)
        if mount.sharing and mount.type != "cache":
            raise DockerfileError(f"invalid cache sharing set for {mount.type} mount")
        if self.readonly is None:
            self.readonly = mount.type not in ("cache", "tmpfs")
        return mount._replace(readonly=self.readonly)


def _check_secret(mount: Mount) -> None:
    if mount.source_stage:
        raise DockerfileError("secret mount should not have a from")
    if mount.sharing:
        raise DockerfileError("secret mount should not define sharing")
    if not (mount.source or mount.target or mount.id):
        raise DockerfileError("invalid secret mount. one of source, target required")
    if mount.source and mount.id:
        raise DockerfileError("both source and id can't be set")


def _flag(key: str, value: str) -> bool:
    flag = parse_bool(value)
    if flag is None:
        raise DockerfileError(f"invalid value for {key}: {value}")
    return flag


def parse_device(text: str) -> Device:
    """`vendor.com/class=name[,required]`."""
    name, required = "", False
    for field in _fields(text, "devices"):
        key, equals, value = field.partition("=")
        key = key.lower()
        if key == "required":
            required = not equals or _flag(key, value)
        elif key == "name" and equals:
            if name:
                raise DockerfileError(f"device name already set to {name}")
            name = value
        elif not name:
            name = field
        elif not equals:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
        else:
            raise DockerfileError(f"unexpected key '{key}' in '{field}'").suggesting(
                key, ("name", "required")
            )
    return Device(name, required)
