"""The options of local volumes (`type`, `device`, `o`, `size`): what is refused, and the mount(2) that they mean. Pure.

Words, order and quirks are those of Docker's local driver, whose messages show how it called mount(2).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from knarr.engine.checks import size
from knarr.kernel import mounts
from knarr.model.errors import Invalid, KnarrError

_KNOWN = ("type", "o", "device", "size")
_NEEDS = (("o", ("device", "type")), ("device", ("type",)), ("type", ("device",)))
_BIND_READ_ONLY = mounts.MS_BIND | mounts.MS_RDONLY
_PROPAGATIONS = mounts.MS_SHARED | mounts.MS_PRIVATE | mounts.MS_SLAVE | mounts.MS_UNBINDABLE
_FLAGS = {
    "async": (False, mounts.MS_SYNCHRONOUS),
    "atime": (False, mounts.MS_NOATIME),
    "bind": (True, mounts.MS_BIND),
    "defaults": (True, 0),
    "dev": (False, mounts.MS_NODEV),
    "diratime": (False, mounts.MS_NODIRATIME),
    "dirsync": (True, mounts.MS_DIRSYNC),
    "exec": (False, mounts.MS_NOEXEC),
    "mand": (True, mounts.MS_MANDLOCK),
    "noatime": (True, mounts.MS_NOATIME),
    "nodev": (True, mounts.MS_NODEV),
    "nodiratime": (True, mounts.MS_NODIRATIME),
    "noexec": (True, mounts.MS_NOEXEC),
    "nomand": (False, mounts.MS_MANDLOCK),
    "norelatime": (False, mounts.MS_RELATIME),
    "nostrictatime": (False, mounts.MS_STRICTATIME),
    "nosuid": (True, mounts.MS_NOSUID),
    "private": (True, mounts.MS_PRIVATE),
    "rbind": (True, mounts.MS_BIND | mounts.MS_REC),
    "relatime": (True, mounts.MS_RELATIME),
    "remount": (True, mounts.MS_REMOUNT),
    "ro": (True, mounts.MS_RDONLY),
    "rprivate": (True, mounts.MS_PRIVATE | mounts.MS_REC),
    "rshared": (True, mounts.MS_SHARED | mounts.MS_REC),
    "rslave": (True, mounts.MS_SLAVE | mounts.MS_REC),
    "runbindable": (True, mounts.MS_UNBINDABLE | mounts.MS_REC),
    "rw": (False, mounts.MS_RDONLY),
    "shared": (True, mounts.MS_SHARED),
    "slave": (True, mounts.MS_SLAVE),
    "strictatime": (True, mounts.MS_STRICTATIME),
    "suid": (False, mounts.MS_NOSUID),
    "sync": (True, mounts.MS_SYNCHRONOUS),
    "unbindable": (True, mounts.MS_UNBINDABLE),
}


class CannotMount(KnarrError):
    """A volume's file system cannot be mounted; the message is Docker's."""


class Call(NamedTuple):
    """One mount(2); `told` is how a failure names it."""

    source: str
    kind: str
    flags: int
    data: str

    def told(self, target: str, reason: str) -> str:
        """Docker's words for a failure."""
        flags = f", flags: {self.flags:#x}" if self.flags else ""
        data = f", data: {self.data}" if self.data else ""
        return f"{f'{self.source}:{target}' if self.source else target}{flags}{data}: {reason}"


def check(options: Mapping[str, str]) -> None:
    """Raises Invalid."""
    for name in options:
        if name not in _KNOWN:
            raise Invalid(f'invalid option: "{name}"')
    if options.get("type") == "cifs" and _port(options.get("device", "")):
        raise Invalid("port not allowed in CIFS device URL, include 'port' in 'o='")
    if "size" in options and size(options["size"]) > 0:
        raise Invalid("quota size requested but no quota support")
    for name, needed in _NEEDS:
        for other in needed:
            if name in options and other not in options:
                raise Invalid(f'missing required option: "{other}"')


def needs_mount(options: Mapping[str, str] | None) -> bool:
    """Whether something is mounted while the volume is used."""
    return bool(options and (options.get("device") or options.get("type")))


def resolve(options: Mapping[str, str], address: Callable[[str], str]) -> dict[str, str]:
    """Names of file servers become addresses: the kernel knows none. `address` looks one up and may raise OSError."""
    kind, words, device = (options.get(key, "") for key in ("type", "o", "device"))
    found: dict[str, str] = {"type": kind, "o": words, "device": device}
    if kind not in ("nfs", "cifs"):
        return found
    name = _word(words, "addr")
    if name and not _is_ipv4(name):
        found["o"] = words.replace(f"addr={name}", f"addr={address(name)}", 1)
        return found
    host = urlsplit(device).hostname or "" if kind == "cifs" else ""
    if host and not _is_ipv4(host):
        found["device"] = device.replace(host, address(host), 1)
    return found


def calls(options: Mapping[str, str]) -> list[Call]:
    """What is to be done in turn. Raises CannotMount."""
    if not options.get("device"):
        raise CannotMount("missing device in volume options")
    flags, data = 0, []
    for word in options.get("o", "").split(","):
        if word in _FLAGS:
            on, flag = _FLAGS[word]
            flags = flags | flag if on else flags & ~flag
        elif word:
            data.append(word)
    plain = flags & ~_PROPAGATIONS
    made = [Call(options["device"], options.get("type", ""), plain, ",".join(data))]
    if flags & _PROPAGATIONS:
        made.append(Call("", "", flags & (_PROPAGATIONS | mounts.MS_REC | mounts.MS_SILENT), ""))
    if plain & _BIND_READ_ONLY == _BIND_READ_ONLY:
        made.append(Call("", "", plain | mounts.MS_REMOUNT, ""))
    return made


def without_password(text: str, options: Mapping[str, str]) -> str:
    """A message as it may be shown."""
    password = _word(options.get("o", ""), "password")
    return text.replace(f"password={password}", "password=********") if password else text


def _word(words: str, key: str) -> str:
    return next((word[len(key) + 1 :] for word in words.split(",") if word.startswith(f"{key}=")), "")


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(re.fullmatch(r"\d{1,3}", part) and int(part) < 256 for part in parts)


def _port(device: str) -> Any:
    try:
        return urlsplit(device).port
    except ValueError as error:
        raise Invalid(f"error parsing mount device url: {error}") from None
