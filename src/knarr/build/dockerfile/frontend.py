"""The frontend of Dockerfiles: a definition and options in, one result for each platform out.

`build` is a generator that asks (`questions`) and is sent answers, so that it needs no network and no disk itself;
`questions.drive` runs one with a function.
"""

from typing import NamedTuple

from knarr.build.dockerfile.checks import Remark
from knarr.build.dockerfile.convert import Conversion, Definition, Result, linter
from knarr.build.dockerfile.directives import check_frontend
from knarr.build.dockerfile.options import Options
from knarr.build.dockerfile.parser import decode
from knarr.build.dockerfile.questions import Steps, drive, together

__all__ = ["Built", "Definition", "Options", "Result", "build", "drive"]

FEATURE_LEVEL = "1.26"


class Built(NamedTuple):
    """A build's results, one a platform, and what the checks found (once, by the first platform)."""

    results: tuple[Result, ...]
    warnings: tuple[Remark, ...]


def build(definition: Definition, options: Options, remarks: list[Remark] | None = None) -> Steps[Built]:
    """Raises DockerfileError; what the checks found until then is in `remarks`."""
    check_frontend(decode(definition.text), options.syntax)
    lint = linter(definition, options, remarks=remarks)
    silent = linter(definition, options, silent=True)
    parts = [
        Conversion(definition, options, platform, silent if index else lint).run()
        for index, platform in enumerate(options.platforms or (None,))
    ]
    results = yield from together(parts)
    return Built(tuple(results), tuple(lint.warnings))
