"""`knarr build --verify`: the same build twice from nothing, the second apart from every cache; where the images differ, what does.

The second image is compared and removed. Only images can be verified: what goes elsewhere as well goes there once.
"""

import os
import sys
import tempfile
from collections.abc import Mapping

from knarr.api.client.http import ApiError, Http
from knarr.cli import imagediff
from knarr.cli.buildcalls import image_of, screen_of, solved
from knarr.cli.buildlending import prepared
from knarr.cli.common import Failed
from knarr.cli.flags import Options

_SCRATCH = "knarr-scratch"
_MOST = 20
_IMAGES = ("moby", "image")


def verify(http: Http, options: Options) -> tuple[dict[str, str], int]:
    """What the first build told, and the exit code. Raises Failed, BuildFailed, KeyboardInterrupt."""
    from knarr.build.client.calls import Kind

    if options.args[0] == "-" or options.file == "-":
        raise Failed("--verify builds twice: standard input can be read only once")
    if options.attest or options.provenance or options.sbom:
        raise Failed("--verify compares images: attestations tell when they were made")
    vars(options).update(no_cache=True, no_cache_filter=[])
    with prepared(options, http.host) as (ask, services):
        if not any(each.type in _IMAGES for each in ask.exporters):
            ask = ask._replace(exporters=(*ask.exporters, Kind("moby")))
        told = solved(http, ask, services, screen_of(options))
    _say(options, "\nVerifying: building once more, apart")
    with prepared(options, http.host) as (ask, services):
        attrs = {**ask.attrs, _SCRATCH: "1"}
        again = ask._replace(attrs=attrs, exporters=[Kind("moby")], cache_to=(), cache_from=())
        second = solved(http, again, services, screen_of(options))
    return told, _compared(http, told, second, options)


def _compared(http: Http, first: Mapping[str, str], second: Mapping[str, str], options: Options) -> int:
    ours, theirs = first["containerimage.digest"], second["containerimage.digest"]
    if ours == theirs:
        _say(options, f"\nVerified: both builds gave {ours}")
        return 0
    print(f"\nNOT reproducible: {ours}, and then {theirs}", file=sys.stderr)
    identity = image_of(second)
    try:
        with tempfile.TemporaryDirectory(prefix="knarr-verify-") as directory:
            paths = [
                _saved(http, name, os.path.join(directory, str(number)))
                for number, name in enumerate((image_of(first), identity))
            ]
            lines = list(imagediff.differences(*paths))
    finally:
        _remove(http, identity)
    for line in lines[:_MOST]:
        print(f" - {line}", file=sys.stderr)
    if len(lines) > _MOST:
        print(f" - and {len(lines) - _MOST} more", file=sys.stderr)
    return 1


def _saved(http: Http, name: str, path: str) -> str:
    with http.request("GET", f"/images/{name}/get") as answer, open(path, "wb") as file:
        file.writelines(answer.pieces())
    return path


def _remove(http: Http, name: str) -> None:
    try:
        http.request("DELETE", f"/images/{name}").close()
    except ApiError as error:
        if error.status != 404:
            raise


def _say(options: Options, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr)
