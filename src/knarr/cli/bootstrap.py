"""`knarr bootstrap`: a base image from Debian's packages, loaded into the daemon."""

import os
import sys
import tempfile
from pathlib import Path

from knarr.api.client.http import Http
from knarr.cli import progress
from knarr.cli.common import Failed
from knarr.cli.flags import Flag, Options, Verb
from knarr.model.reference import Reference

BOOTSTRAP = Verb(
    "bootstrap",
    "Make a base image from a distribution's packages: debian:SUITE, busybox, nginx, postgres, redis, or a recipe's file",
    "[OPTIONS] NAME|RECIPE.toml",
    (
        Flag("output", "o", "string", "Write the archive to a file, instead of loading it"),
        Flag("tag", "t", "string", "Another name for the image"),
        Flag("quiet", "q", "bool", "Print only the image's id"),
    ),
    least=1,
    most=1,
)


def bootstrap(http: Http, options: Options) -> int:
    """Makes the archive here and loads it there; prints the image's id."""
    if os.geteuid() != 0:
        raise Failed("knarr bootstrap needs root: a base image holds files of other owners", 1)
    from knarr.build.bootstrap.bootstrap import bootstrap as make

    tag = Reference.parse(options.tag).tagged() if options.tag else None
    with tempfile.TemporaryDirectory(prefix="knarr-bootstrap-") as directory:
        archive = Path(options.output or os.path.join(directory, "image.tar"))
        made = make(options.args[0], archive, report=_silent if options.quiet else _report)
        if not options.output:
            with (
                archive.open("rb") as stream,
                http.request("POST", "/images/load", {"quiet": True}, stream=stream) as answer,
            ):
                progress.show(answer.lines(), quiet=options.quiet)
            if tag:
                query = {"repo": tag.familiar_name, "tag": tag.tag}
                http.request("POST", f"/images/{made.reference}/tag", query).close()
    print(made.image)
    return 0


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _silent(_: str) -> None:
    return
