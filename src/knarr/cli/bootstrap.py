"""`knarr bootstrap`: a base image from Debian's packages, loaded into the daemon."""

import os
import sys
import tempfile

from knarr.api.client.http import Http
from knarr.cli import progress
from knarr.cli.common import Failed
from knarr.cli.flags import Flag, Options, Verb

BOOTSTRAP = Verb(
    "bootstrap",
    "Make a base image from a distribution's packages: debian:SUITE, busybox, nginx, or a recipe's file",
    "[OPTIONS] NAME|RECIPE.toml",
    (
        Flag("output", "o", "string", "Write the archive to a file, instead of loading it"),
        Flag("tag", "t", "string", "Name of the image (default: NAME)"),
        Flag("quiet", "q", "bool", "Print only the image's id"),
    ),
    least=1,
    most=1,
)


def bootstrap(http: Http, options: Options) -> int:
    """Makes the archive here and loads it there."""
    if os.geteuid() != 0:
        raise Failed("knarr bootstrap needs root: a base image holds files of other owners", 1)
    from knarr.build.bootstrap.make import make_archive

    with tempfile.TemporaryDirectory(prefix="knarr-bootstrap-") as directory:
        path = options.output or os.path.join(directory, "image.tar")
        say = (
            (lambda text: None) if options.quiet else (lambda text: print(text, file=sys.stderr, flush=True))
        )
        digest = make_archive(options.args[0], path, tag=options.tag, say=say)
        if not options.output:
            with (
                open(path, "rb") as stream,
                http.request("POST", "/images/load", {"quiet": True}, stream=stream) as answer,
            ):
                progress.show(answer.lines(), quiet=options.quiet)
    print(digest)
    return 0
