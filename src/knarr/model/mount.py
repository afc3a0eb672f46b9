"""A mount as mount(8) would be told of it: what `snapshots` gives and `runtime` performs."""

from typing import NamedTuple


class Mount(NamedTuple):
    """`type` is a filesystem or "bind"; `options` are fstab words such as `ro`, `rbind`, `lowerdir=…`."""

    type: str
    source: str
    options: tuple[str, ...] = ()
