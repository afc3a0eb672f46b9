"""--mount, --tmpfs and --volume in the API's words."""

import os
from typing import Any

from knarr.cli.flags import size

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_RECURSIVE = {
    "enabled": {},
    "disabled": {"NonRecursive": True},
    "writable": {"ReadOnlyNonRecursive": True},
    "readonly": {"ReadOnlyForceRecursive": True},
}
_FAMILIES = {
    "bind": "BindOptions",
    "volume": "VolumeOptions",
    "tmpfs": "TmpfsOptions",
    "image": "ImageOptions",
}


def fields(text: str) -> list[str]:
    """One line of CSV (RFC 4180): a quoted field may hold commas. Raises ValueError."""
    found, rest = [], text
    while True:
        if rest.startswith('"'):
            value, rest = "", rest[1:]
            while True:
                piece, quote, rest = rest.partition('"')
                if not quote:
                    raise ValueError('parse error on line 1: extraneous or missing " in quoted-field')
                value += piece
                if not rest.startswith('"'):
                    break
                value, rest = value + '"', rest[1:]
            found.append(value)
        else:
            value = rest.partition(",")[0]
            rest = rest[len(value) :]
            found.append(value)
        if not rest:
            return found
        rest = rest.removeprefix(",")


def mount(word: str) -> dict[str, Any]:
    """--mount type=…,source=…,target=… as the API's Mount. Raises ValueError."""
    value: dict[str, Any] = {"Type": "volume"}
    for part in fields(word):
        key, equals, text = part.partition("=")
        key = key.lower()
        if not equals and key not in ("readonly", "ro", "volume-nocopy", "bind-nonrecursive"):
            raise ValueError(f"invalid field '{part}' must be a key=value pair")
        if not _plain(value, key, text, bare=not equals) and not _optional(value, key, text, bare=not equals):
            raise ValueError(f"unexpected key '{key}' in '{part}'")
    _check(value)
    return value


def _plain(value: dict[str, Any], key: str, text: str, *, bare: bool) -> bool:
    if key == "type":
        value["Type"] = text.lower()
    elif key in ("source", "src"):
        value["Source"] = os.path.abspath(text) if text.startswith(".") else text
    elif key in ("target", "dst", "destination"):
        value["Target"] = text
    elif key in ("readonly", "ro"):
        value["ReadOnly"] = _bool(key, text, bare=bare)
    elif key == "consistency":
        value["Consistency"] = text.lower()
    else:
        return False
    return True


def _optional(value: dict[str, Any], key: str, text: str, *, bare: bool) -> bool:
    family, _, name = key.partition("-")
    if family not in _FAMILIES or not name:
        return False
    options = value.setdefault(_FAMILIES[family], {})
    if key == "bind-propagation":
        options["Propagation"] = text.lower()
    elif key == "bind-nonrecursive":
        options["NonRecursive"] = _bool(key, text, bare=bare)
    elif key == "bind-recursive":
        if text not in _RECURSIVE:
            raise ValueError(
                f'invalid value for {key}: {text} (must be "enabled", "disabled", "writable", or "readonly")'
            )
        options.update(_RECURSIVE[text])
    elif key == "volume-nocopy":
        options["NoCopy"] = _bool(key, text, bare=bare)
    elif key in ("volume-subpath", "image-subpath"):
        options["Subpath"] = text
    elif key == "volume-label":
        options.setdefault("Labels", {}).update([text.partition("=")[::2]])
    elif key == "volume-driver":
        options.setdefault("DriverConfig", {})["Name"] = text
    elif key == "volume-opt":
        options.setdefault("DriverConfig", {}).setdefault("Options", {}).update([text.partition("=")[::2]])
    elif key == "tmpfs-size":
        options["SizeBytes"] = _number(key, text)
    elif key == "tmpfs-mode":
        options["Mode"] = _mode(key, text)
    else:
        return False
    return True


def _bool(key: str, text: str, *, bare: bool) -> bool:
    if bare or text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"invalid value for {key}: {text}")


def _number(key: str, text: str) -> int:
    try:
        return size(text)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {text}") from None


def _mode(key: str, text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {text}") from None


def _check(value: dict[str, Any]) -> None:
    kind = value["Type"]
    if not kind:
        raise ValueError("type is required")
    if not value.get("Target"):
        raise ValueError("target is required")
    for family in ("volume", "image", "bind", "tmpfs"):
        if _FAMILIES[family] in value and kind != family:
            raise ValueError(f"cannot mix '{family}-*' options with mount type '{kind}'")
    bind = value.get("BindOptions", {})
    if bind.get("ReadOnlyNonRecursive") and not value.get("ReadOnly"):
        raise ValueError(
            "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction"
        )
    if bind.get("ReadOnlyForceRecursive"):
        if not value.get("ReadOnly"):
            raise ValueError(
                "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction"
            )
        if bind.get("Propagation") != "rprivate":
            raise ValueError(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
            )


def bind(word: str) -> str:
    """--volume's word with a relative source made absolute."""
    source, colon, rest = word.partition(":")
    return f"{os.path.abspath(source)}{colon}{rest}" if source.startswith(".") else word
