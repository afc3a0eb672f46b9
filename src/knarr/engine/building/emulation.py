"""Which platforms' programs run here: this machine's own, and those for which the kernel has a handler (binfmt_misc).

A handler counts if the kernel holds its interpreter open (flag F): in a container there is none to be found.
"""

import os
from collections.abc import Iterable, Mapping, Sequence

from knarr.engine.images.manifest import serving
from knarr.model.platform import Platform

PLACE = "/proc/sys/fs/binfmt_misc"
_ELF = bytes.fromhex("7f454c46")
_CLASS, _ORDER, _MACHINE = 4, 5, 18
_BIG = 2
# e_machine (elf.h), bits, byte order → Go's names.
_MACHINES = {
    (183, 2, 1): ("arm64",),
    (40, 1, 1): ("arm/v7", "arm/v6"),
    (62, 2, 1): ("amd64",),
    (3, 1, 1): ("386",),
    (243, 2, 1): ("riscv64",),
    (22, 2, 2): ("s390x",),
    (21, 2, 1): ("ppc64le",),
    (21, 2, 2): ("ppc64",),
    (8, 2, 1): ("mips64le",),
    (8, 2, 2): ("mips64",),
    (258, 2, 1): ("loong64",),
}


def runnable(here: Platform, place: str = PLACE) -> tuple[Platform, ...]:
    """This machine's first. Nothing is waited for: the files are the kernel's."""
    return tuple(dict.fromkeys((here, *serving(here), *handled(_handlers(place)))))


def handled(handlers: Iterable[str]) -> list[Platform]:
    """The platforms of handlers, as the kernel describes each."""
    found = {name for text in handlers for name in _names(_fields(text))}
    return [
        Platform.parse(f"linux/{name}") for names in _MACHINES.values() for name in names if name in found
    ]


def _handlers(place: str) -> list[str]:
    found = []
    try:
        names = sorted(os.listdir(place))
    except OSError:
        return []
    for name in names:
        if name not in ("register", "status"):
            try:
                with open(f"{place}/{name}", encoding="utf-8", errors="replace") as file:
                    found.append(file.read())
            except OSError:
                continue
    return found


def _fields(text: str) -> Mapping[str, str]:
    lines = (line.partition(" ") for line in text.splitlines())
    return {name.rstrip(":"): value for name, _, value in lines}


def _names(fields: Mapping[str, str]) -> Sequence[str]:
    if "enabled" not in fields or "F" not in fields.get("flags", "") or fields.get("offset", "0") != "0":
        return ()
    try:
        magic = bytes.fromhex(fields.get("magic", ""))
    except ValueError:
        return ()
    if not magic.startswith(_ELF) or len(magic) < _MACHINE + 2:
        return ()
    order = magic[_ORDER]
    machine = int.from_bytes(magic[_MACHINE : _MACHINE + 2], "big" if order == _BIG else "little")
    return _MACHINES.get((machine, magic[_CLASS], order), ())
