"""Whom a registry's TLS is trusted by, as docker has it: `certs.d/HOST[:PORT]/` holds authorities (`*.crt`) that count beside
the system's, and a client's own certificates (`NAME.cert` with `NAME.key`). Read anew when a file changes. Blocks.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from knarr.model.errors import Invalid

if TYPE_CHECKING:
    from ssl import SSLContext

DIRECTORY = "/etc/docker/certs.d"
_Files = tuple[tuple[str, int], ...]


class Certificates:
    """The contexts of every host below `directory`."""

    def __init__(self, directory: str = DIRECTORY):
        self._directory = Path(directory)
        self._contexts: dict[str, tuple[_Files, SSLContext]] = {}

    def context(self, host: str) -> "SSLContext | None":
        """None for a host that has no files of its own. Raises Invalid, in docker's words."""
        directory = self._directory / host
        files = _files(directory)
        if not files:
            return None
        found = self._contexts.get(host)
        if found is None or found[0] != files:
            found = self._contexts[host] = (files, _read(directory, [name for name, _ in files]))
        return found[1]


def _files(directory: Path) -> _Files:
    try:
        with os.scandir(directory) as entries:
            return tuple(sorted((entry.name, entry.stat().st_mtime_ns) for entry in entries))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise Invalid(f"cannot read certificates in {directory}: {error.strerror}") from None


def _read(directory: Path, names: list[str]) -> "SSLContext":
    from ssl import create_default_context

    context = create_default_context()
    for name in names:
        path = directory / name
        other = path.with_suffix(".key" if path.suffix == ".cert" else ".cert")
        try:
            if path.suffix == ".crt":
                context.load_verify_locations(path)
            elif path.suffix == ".cert":
                if other.name not in names:
                    raise Invalid(
                        f"missing key {other.name} for client certificate {name}. "
                        "CA certificates must use the extension .crt"
                    )
                context.load_cert_chain(path, other)
            elif path.suffix == ".key" and other.name not in names:
                raise Invalid(f"missing client certificate {other.name} for key {name}")
        except OSError as error:  # SSLError is one
            raise Invalid(f"cannot read certificate {path}: {error.strerror or error}") from None
    return context
