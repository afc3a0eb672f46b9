"""JSON request bodies to structs, as lenient as Go's encoding/json.

The fast path decodes what clients send: exact names. Where it fails, the slow path does what Go does: keys match whatever their
case, unknown ones are ignored, null leaves a field at its zero value. What Go refuses is Invalid, in Go's words.
"""

import re
import types
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from knarr.model.errors import Invalid

T = TypeVar("T", bound=msgspec.Struct)

_decoders: dict[type, msgspec.json.Decoder[Any]] = {}
_hints: dict[type, dict[str, tuple[str, Any]]] = {}
_MISMATCH = re.compile(r"Expected `([^`]+)`, got `(\w+)`(?: - at `([^`]*)`)?")
_JSON_WORDS = {"str": "string", "int": "number", "float": "number", "bool": "bool", "array": "array", "object": "object"}  # fmt: skip
_GO_TYPES = {"str": "string", "int": "int64", "float": "float64", "bool": "bool", "array": "[]string", "object": "map[string]string"}  # fmt: skip
# Go's names of the structs, as its messages have them; the body of create is one without a name.
_GO_NAMES = {
    "Create": "",
    "ExecCreate": "ExecOptions",
    "ExecStart": "ExecStartOptions",
    "Update": "UpdateConfig",
    "VolumeCreate": "CreateOptions",
    "NetworkCreate": "CreateRequest",
    "NetworkConnect": "ConnectOptions",
    "NetworkDisconnect": "DisconnectOptions",
    "Credentials": "AuthConfig",
}
_GO_PACKAGES = {
    "VolumeCreate": "volume",
    "NetworkCreate": "network",
    "NetworkConnect": "network",
    "NetworkDisconnect": "network",
    "Credentials": "registry",
}
_ZEROS: dict[Any, Any] = {str: "", int: 0, float: 0.0, bool: False}


def decode(kind: type[T], data: bytes) -> T:
    """A body of `kind`; an empty one is all defaults. Raises Invalid."""
    if not data.strip():
        return kind()
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        value: T = decoder.decode(data)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return _decode_as_go(kind, data)
    return value


def _decode_as_go(kind: type[T], data: bytes) -> T:
    try:
        tree = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        if "trailing characters" in str(error):
            raise Invalid("unexpected content after JSON") from None
        raise Invalid(f"invalid JSON: {_syntax(data, str(error))}") from None
    except RecursionError:
        raise Invalid("invalid JSON: exceeded max depth") from None
    try:
        if tree is None:
            return kind()
        return msgspec.convert(_fold(tree, kind), kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"invalid JSON: {_mismatch(kind, str(error))}") from None


def syntax(data: bytes, text: str) -> str:
    """What Go says of bytes that are no JSON; `text` where it has no words of its own for it."""
    return _syntax(data, text)


def _fold(value: Any, kind: Any) -> Any:
    """`value` with the names that `kind` has; nulls become zero values."""
    kind = _not_none(kind)
    if value is None:
        return _ZEROS.get(kind)
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        names = _names(kind)
        folded = {}
        for key, item in value.items():
            known = names.get(key.lower())
            if known and item is not None:
                folded[known[0]] = _fold(item, known[1])
        return folded
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(value, dict) and origin is dict:
        return {key: _fold(item, arguments[1]) for key, item in value.items()}
    if isinstance(value, list) and origin is list:
        return [_fold(item, arguments[0]) for item in value]
    return value


def _not_none(kind: Any) -> Any:
    """`kind` of `kind | None`."""
    if get_origin(kind) in (Union, types.UnionType):
        some = [each for each in get_args(kind) if each is not type(None)]
        lists = [each for each in some if get_origin(each) is list]
        return lists[0] if lists else some[0]
    return kind


def _names(kind: type) -> dict[str, tuple[str, Any]]:
    table = _hints.get(kind)
    if table is None:
        table = _hints[kind] = {name.lower(): (name, hint) for name, hint in get_type_hints(kind).items()}
    return table


def _mismatch(kind: type, text: str) -> str:
    match = _MISMATCH.search(text)
    if not match:
        return text
    expected = match[1].split(" | ")[0]
    got = _JSON_WORDS.get(match[2], match[2])
    path = (match[3] or "$").replace("[...]", "").removeprefix("$").lstrip(".")
    wanted = _GO_TYPES.get(expected, expected)
    name = _GO_NAMES.get(kind.__name__, kind.__name__)
    if not path:
        package = _GO_PACKAGES.get(kind.__name__, "container")
        return f"json: cannot unmarshal {got} into Go value of type {package}.{name or 'CreateRequest'}"
    return f"json: cannot unmarshal {got} into Go struct field {name}.{path} of type {wanted}"


def _syntax(data: bytes, text: str) -> str:
    first = data.lstrip()[:1]
    if first not in b'{["-0123456789tfn':
        return f"invalid character {first.decode(errors='replace')!r} looking for beginning of value"
    if "truncated" in text:
        return "unexpected EOF"
    return text
