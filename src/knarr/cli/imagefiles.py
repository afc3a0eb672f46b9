"""Images as files: `knarr import`, `save`, `load`."""

import os
import sys
from collections.abc import Iterable
from typing import IO, Any

from knarr.api.client.http import Http
from knarr.cli import progress
from knarr.cli.common import Failed, named
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.inspecting import platform_of

IMPORT = Verb(
    "import",
    "Import the contents from a tarball to create a filesystem image",
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    (
        Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
        Flag("message", "m", "string", "Set commit message for imported image"),
        Flag("platform", "", "string", "Set platform if server is multi-platform capable"),
    ),
    least=1,
)
SAVE = Verb(
    "save",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    "[OPTIONS] IMAGE [IMAGE...]",
    (
        Flag("platform", "", "string", "Save only the given platform variant (os[/arch[/variant]])"),
        Flag("output", "o", "string", "Write to a file, instead of STDOUT"),
    ),
    least=1,
)
LOAD = Verb(
    "load",
    "Load an image from a tar archive or STDIN",
    "[OPTIONS]",
    (
        Flag("platform", "", "string", "Load only the given platform variant (os[/arch[/variant]])"),
        Flag("input", "i", "string", "Read from tar archive file, instead of STDIN"),
        Flag("quiet", "q", "bool", "Suppress the load output"),
    ),
    most=0,
)


def import_(http: Http, options: Options) -> int:
    """From a file, standard input or a URL that the daemon fetches."""
    source = options.args[0]
    query: dict[str, Any] = {
        "changes": options.change,
        "message": options.message or None,
        "platform": options.platform or None,
    }
    if len(options.args) > 1:
        query |= named(options.args[1])
    if source.startswith(("http://", "https://")):
        with http.request("POST", "/images/create", {**query, "fromSrc": source}) as answer:
            progress.show(answer.lines())
        return 0
    with (
        _input(source) as stream,
        http.request("POST", "/images/create", {**query, "fromSrc": "-"}, stream=stream) as answer,
    ):
        progress.show(answer.lines())
    return 0


def _input(path: str) -> IO[bytes]:
    if path in ("-", ""):
        return os.fdopen(os.dup(0), "rb")
    try:
        return open(path, "rb")
    except OSError as error:
        raise Failed(f"open {path}: {(error.strerror or '').lower()}", 1) from None


def save(http: Http, options: Options) -> int:
    """A tar to a file or standard output; a file is complete or absent."""
    if not options.output and sys.stdout.isatty():
        raise Failed("cowardly refusing to save to a terminal. Use the -o flag or redirect", 1)
    query: dict[str, Any] = {"names": options.args}
    if options.platform:
        query["platform"] = platform_of(options.platform)
    with http.request("GET", "/images/get", query) as answer:
        write_out(answer.pieces(1 << 20), options.output)
    return 0


def write_out(pieces: Iterable[bytes], path: str) -> None:
    """A stream to the file `path`, or to standard output for ""; a file is complete or absent."""
    if not path:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        return
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            for piece in pieces:
                file.write(piece)
        os.replace(temporary, path)
    except OSError as error:
        raise Failed(f"cannot write {path}: {error.strerror}", 1) from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def load(http: Http, options: Options) -> int:
    """From a file or standard input."""
    if not options.input and sys.stdin.isatty():
        raise Failed("requested load from stdin, but stdin is empty", 1)
    query: dict[str, Any] = {"quiet": options.quiet}
    if options.platform:
        query["platform"] = platform_of(options.platform)
    with (
        _input(options.input) as stream,
        http.request("POST", "/images/load", query, stream=stream) as answer,
    ):
        progress.show(answer.lines())
    return 0
