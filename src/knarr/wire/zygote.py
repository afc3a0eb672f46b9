"""What knarrd asks of the zygote: one packet, one JSON object, descriptors beside it.

    knarrd ── {"job": NAME, …} + [reply socket, …] ──▶ zygote ── fork ──▶ job ── answer + descriptors ──▶ reply socket

The zygote only forks; the child answers on the first descriptor, so there are no request ids. An object larger than
`INLINE` travels in a memfd, the last descriptor, and the packet is `{"memfd": true}`. An answer is `{"ok": {…}}` or
`{"error": {…}}` (see `describe`). End of file without an answer: the job died.
"""

from collections.abc import Mapping
from typing import Any

from knarr.model import errors

INLINE = 64 << 10
MEMFD = b'{"memfd":true}'

JOBS = {
    "shim": "{order: wire.shim's order} → the reply socket becomes the shim's first connection (wire.shim)",
    "owned-netns": "{uids, gids, user} → {inode} + [user namespace, namespace, NETLINK_ROUTE socket]: both new, or in that at path `user`",
    "unpack": "{root, options} + [tar stream] → {size, entries}",
    "archive-get": "{view, path, options} + [tar sink] → {size, entries}",
    "archive-put": "{view, options} + [tar stream] → {size, entries}",
    "archive-stat": "{view, path} → {name, size, mode, mtime, link_target}; mode is st_mode, mtime nanoseconds",
    "mount": "{source, target, kind, flags, data}: mount(2) on the host",
    "mount-root": "{mount: [type, source, [option…]], target, writable}: a snapshot on the host",
    "read": "{view, path, limit} → {data: base64}: a small file of a container",
    "copy-up": "{view, path, target}: copies what the image has at `path` into an empty volume's directory `target`",
}
"""`view` is how a job sees a container's root: {"pid": n, "bare": false} joins a running one (bare: without its mounts), {"mounts": [[type, source, [option…]]…],
"binds": [[source, destination, below]…], "place": an empty directory} performs its mounts in a private namespace. `options` are untar's or maketar's fields."""

_KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.KnarrError)
}


def describe(error: BaseException) -> dict[str, Any]:
    """An error as it travels: `{"kind", "names", "message"}`, with `errno` and `path` for an OSError."""
    names = [kind.__name__ for kind in type(error).__mro__]
    if isinstance(error, OSError):
        path = error.filename if isinstance(error.filename, str) else ""
        return {
            "kind": "OSError",
            "message": error.strerror or str(error),
            "errno": error.errno,
            "path": path,
        }
    return {"kind": names[0], "names": names, "message": str(error)}


def revive(described: Mapping[str, Any], known: Mapping[str, type[Exception]] | None = None) -> Exception:
    """The error again, as the most special class that is known here; `known` adds a room's own."""
    if described["kind"] == "OSError":
        return OSError(described["errno"], described["message"], described["path"] or None)
    table = {**_KINDS, **(known or {})}
    for name in described["names"]:
        if name in table:
            return table[name](described["message"])
    return RuntimeError(f"{described['kind']}: {described['message']}")
