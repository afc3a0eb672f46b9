"""`knarr inspect` and its like: what has a name, as JSON or by a template."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from knarr.api.client.http import ApiError, Http
from knarr.cli.common import Failed
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.template import Template, TemplateError

_FORMAT = Flag("format", "f", "string", "Format output using a custom template: 'json' or a Go template")
_SIZE = Flag("size", "s", "bool", "Display total file sizes")
INSPECT = Verb(
    "inspect",
    "Return low-level information on Docker objects",
    "[OPTIONS] NAME|ID [NAME|ID...]",
    (
        _FORMAT,
        Flag("size", "s", "bool", "Display total file sizes if the type is container"),
        Flag("type", "", "string", "Only inspect objects of the given type"),
    ),
    least=1,
)
CONTAINER = Verb(
    "container inspect",
    "Display detailed information on one or more containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (_FORMAT, _SIZE),
    least=1,
)
IMAGE = Verb(
    "image inspect",
    "Display detailed information on one or more images",
    "[OPTIONS] IMAGE [IMAGE...]",
    (_FORMAT, Flag("platform", "", "string", "Inspect a specific platform of the multi-platform image")),
    least=1,
)
NETWORK = Verb(
    "network inspect",
    "Display detailed information on one or more networks",
    "[OPTIONS] NETWORK [NETWORK...]",
    (_FORMAT, Flag("verbose", "v", "bool", "Verbose output for diagnostics")),
    least=1,
)
VOLUME = Verb(
    "volume inspect",
    "Display detailed information on one or more volumes",
    "[OPTIONS] VOLUME [VOLUME...]",
    (_FORMAT,),
    least=1,
)
PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}
_ELSEWHERE = ("config", "node", "plugin", "secret", "service", "task")


def inspect(http: Http, options: Options) -> int:
    """Whatever has the name: container, image, network or volume, in this order."""
    if "type" in options.given and options.type not in (*PATHS, *_ELSEWHERE):
        words = ", ".join(f'"{word}"' for word in sorted((*PATHS, *_ELSEWHERE)))
        kind = f'unknown type: "{options.type}"' if options.type else "type is empty"
        raise Failed(f"{kind}: must be one of {words}")
    if options.type in _ELSEWHERE:
        raise Failed(f"{options.type}s are a swarm's or a plugin's, which this engine does not have")
    return _inspect(http, options, [options.type] if options.type else list(PATHS), anything=not options.type)


def container(http: Http, options: Options) -> int:
    """Containers alone."""
    return _inspect(http, options, ["container"])


def image(http: Http, options: Options) -> int:
    """Images alone."""
    return _inspect(http, options, ["image"])


def network(http: Http, options: Options) -> int:
    """Networks alone."""
    return _inspect(http, options, ["network"])


def volume(http: Http, options: Options) -> int:
    """Volumes alone."""
    return _inspect(http, options, ["volume"])


def _inspect(http: Http, options: Options, kinds: Sequence[str], *, anything: bool = False) -> int:
    values, errors = [], []
    for name in options.args:
        try:
            values.append(_find(http, options, name, kinds, anything=anything))
        except ApiError as error:
            errors.append(f"Error response from daemon: {error}")
        except Failed as error:
            errors.append(str(error))
    return show_values(values, errors, options.format)


def _find(http: Http, options: Options, name: str, kinds: Sequence[str], *, anything: bool) -> Any:
    for kind in kinds:
        query: dict[str, Any] = {}
        if kind == "container" and getattr(options, "size", False):
            query["size"] = True
        if kind == "network" and getattr(options, "verbose", False):
            query["verbose"] = True
        if platform := getattr(options, "platform", ""):
            query["platform"] = platform_of(platform)
        try:
            with http.request("GET", PATHS[kind].format(name), query) as answer:
                return answer.json()
        except ApiError as error:
            if not anything or error.status != 404:
                raise
    raise Failed(f"Error: No such object: {name}")


def platform_of(text: str) -> dict[str, str]:
    """os/arch/variant as the API takes it, in JSON."""
    system, _, rest = text.partition("/")
    architecture, _, variant = rest.partition("/")
    words = {"os": system, "architecture": architecture, "variant": variant}
    return {key: word for key, word in words.items() if word}


def show_values(values: Sequence[Any], errors: Sequence[str], form: str, *, escaped: bool = False) -> int:
    """A JSON array, or each by a template; then what went wrong. `escaped` as Go does for HTML."""
    if form in ("", "json"):
        text = json.dumps(
            values,
            indent=4 if not form else None,
            ensure_ascii=False,
            separators=None if not form else (",", ":"),
        )
        for character in "<>&" if escaped else "":
            text = text.replace(character, f"\\u{ord(character):04x}")
        sys.stdout.write(f"{text}\n")
    else:
        try:
            template = Template(form)
        except TemplateError as wrong:
            raise Failed(f"template parsing error: {wrong}", 64) from None
        try:
            for value in values:
                print(template.render(value))
        except TemplateError as wrong:
            print(flush=True)
            raise Failed(f"template parsing error: {wrong}") from None
        if not values:
            print()
    for error in errors:
        print(error, file=sys.stderr)
    return 1 if errors else 0
