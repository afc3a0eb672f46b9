"""`knarr build`: BuildKit's protocol spoken by this program itself; buildx need not be installed.

With DOCKER_BUILDKIT=0 the context goes as an archive to the classic API (buildclassic). `--builder` names one of buildx's own:
only then the words are handed over to it.
"""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from knarr.api.client.http import Http
from knarr.cli.buildcalls import dialer, image_of, screen_of, solved
from knarr.cli.common import Failed
from knarr.cli.flags import Flag, Options, Verb

if TYPE_CHECKING:
    from knarr.cli.buildscreen import Screen
    from knarr.grpc.services import Service

BUILD = Verb(
    "build",
    "Build an image from a Dockerfile",
    "[OPTIONS] PATH | URL | -",
    (
        Flag("add-host", "", "strings", 'Add a custom host-to-IP mapping (format: "host:ip")'),
        Flag("allow", "", "stringArray", 'Allow extra privileged entitlement (e.g., "network.host", "security.insecure")'),
        Flag("annotation", "", "stringArray", "Add annotation to the image"),
        Flag("attest", "", "stringArray", 'Attestation parameters (format: "type=sbom,generator=image")'),
        Flag("build-arg", "", "stringArray", "Set build-time variables"),
        Flag("build-context", "", "stringArray", "Additional build contexts (e.g., name=path)"),
        Flag("builder", "", "string", "Hand over to buildx, for one of its builders"),
        Flag("cache-from", "", "stringArray", 'External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")'),
        Flag("cache-to", "", "stringArray", 'Cache export destinations (e.g., "user/app:cache", "type=local,dest=path/to/dir")'),
        Flag("call", "", "string", 'Set method for evaluating build ("check", "outline", "targets")', "build"),
        Flag("cgroup-parent", "", "string", 'Set the parent cgroup for the "RUN" instructions during build'),
        Flag("check", "", "bool", 'Shorthand for "--call=check"'),
        Flag("debug", "D", "bool", "Enable debug logging"),
        Flag("explain-cache", "", "bool", "Say why each step ran that did not come from the cache"),
        Flag("file", "f", "string", 'Name of the Dockerfile (default: "PATH/Dockerfile")'),
        Flag("iidfile", "", "string", "Write the image ID to a file"),
        Flag("label", "", "stringArray", "Set metadata for an image"),
        Flag("load", "", "bool", 'Shorthand for "--output=type=docker"'),
        Flag("metadata-file", "", "string", "Write build result metadata to a file"),
        Flag("network", "", "string", 'Set the networking mode for the "RUN" instructions during build', "default"),
        Flag("no-cache", "", "bool", "Do not use cache when building the image"),
        Flag("no-cache-filter", "", "stringArray", "Do not cache specified stages"),
        Flag("output", "o", "stringArray", 'Output destination (format: "type=local,dest=path")'),
        Flag("platform", "", "stringArray", "Set target platform for build"),
        Flag("progress", "", "string", 'Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty")', "auto"),
        Flag("provenance", "", "string", 'Shorthand for "--attest=type=provenance"'),
        Flag("pull", "", "bool", "Always attempt to pull all referenced images"),
        Flag("push", "", "bool", 'Shorthand for "--output=type=registry"'),
        Flag("quiet", "q", "bool", "Suppress the build output and print image ID on success"),
        Flag("sbom", "", "string", 'Shorthand for "--attest=type=sbom"'),
        Flag("secret", "", "stringArray", 'Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")'),
        Flag("shell-on-fail", "", "bool", "Enter a step that fails: a shell where its command ran"),
        Flag("shm-size", "", "bytes", 'Shared memory size for build containers'),
        Flag("ssh", "", "stringArray", 'SSH agent socket or keys to expose to the build (format: "default|<id>[=<socket>|<key>[,<key>]]")'),
        Flag("tag", "t", "stringArray", 'Image identifier (format: "[registry/]repository[:tag]")'),
        Flag("target", "", "string", "Set the target build stage to build"),
        Flag("ulimit", "", "ulimit", "Ulimit options"),
        Flag("verify", "", "bool", "Build twice from nothing, and say what differs; the exit status tells"),
    ),
    least=1,
    most=1,
)  # fmt: skip
_CALLS = ("build", "check", "lint", "outline", "targets", "subrequests.describe")


def build(http: Http, options: Options) -> int:
    """The exit code; of a RUN that failed it is 1, as with docker build."""
    if os.environ.get("DOCKER_BUILDKIT") == "0":
        from knarr.cli import buildclassic

        return buildclassic.build(http, options)
    if options.builder not in ("", "default"):
        _hand_over(options.builder)
    method, form = _call(options)
    return _question(http, options, method, form) if method else _build(http, options)


def _hand_over(builder: str) -> None:
    """To buildx, which alone knows other builders."""
    from knarr.cli import plugins

    path = plugins.find("buildx")
    if not path:
        raise Failed(f"no builder {builder!r} found: docker-buildx, which keeps builders, is not installed")
    words = sys.argv[1:]
    at = words.index("build")
    plugins.hand_over(path, [*words[:at], "buildx", *words[at:]])


def _call(options: Options) -> tuple[str, str]:
    """The subrequest that is meant ("" for a build), and how its answer is told. Raises Failed."""
    method, _, form = ("check" if options.check else options.call).partition(",")
    if method not in _CALLS or form not in ("", "format=json", "format=text"):
        raise Failed(f"invalid call {options.call!r}")
    return {"build": "", "check": "lint"}.get(method, method), form.removeprefix("format=")


def _build(http: Http, options: Options) -> int:
    from knarr.build.errors import BuildFailed
    from knarr.cli.buildlending import keep_caches, prepared

    code = 0
    try:
        if options.verify:
            if options.shell_on_fail:
                raise Failed("--verify and --shell-on-fail cannot be used together")
            from knarr.cli import buildverify

            told, code = buildverify.verify(http, options)
        else:
            screen = screen_of(options)
            with prepared(options, http.host) as (ask, services):
                if options.shell_on_fail:
                    services.append(_console(options, screen))
                told = solved(http, ask, services, screen)
            keep_caches(told, ask.cache_to)
    except BuildFailed:
        return 1
    except KeyboardInterrupt:
        return 130
    _keep(told, options)
    return code


def _console(options: Options, screen: "Screen") -> "Service":
    """This terminal, lent. Raises Failed where there is none."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or "-" in (options.args[0], options.file):
        raise Failed("--shell-on-fail needs a terminal to itself")
    from knarr.cli.buildshell import console

    return console(screen.pause, screen.resume)


def _keep(told: Mapping[str, str], options: Options) -> None:
    image = image_of(told)
    if options.quiet and image:
        print(image)
    if options.iidfile:
        with open(options.iidfile, "w", encoding="utf-8") as file:
            file.write(image)
    if options.metadata_file:
        import json

        from knarr.cli.buildwish import metadata

        with open(options.metadata_file, "w", encoding="utf-8") as file:
            json.dump(metadata(told), file, indent=2)


def _question(http: Http, options: Options, method: str, form: str) -> int:
    """A question to the frontend: nothing is built."""
    from knarr.build.client import calls
    from knarr.build.errors import BuildFailed
    from knarr.cli.buildlending import prepared

    screen = screen_of(options)
    with prepared(options, http.host, method) as (ask, services):
        error: BuildFailed | None = BuildFailed("Canceled: context canceled")
        try:
            found = calls.question(dialer(http), ask, services, screen.heard)
            error = None
        except BuildFailed as failed:
            error = failed
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            screen.end(error)
    return _answer(found, method, form)


def _answer(found: Mapping[str, bytes], method: str, form: str) -> int:
    text = found.get("result.json" if form == "json" else "result.txt", b"").decode()
    if method == "lint" and form != "json":
        import json

        count = len(json.loads(found.get("result.json") or b"{}").get("warnings") or ())
        words = "no warnings found." if not count else f"{_warnings(count)} been found!"
        print(f"Check complete, {words}")
    sys.stdout.write(text if not text or text.endswith("\n") else f"{text}\n")
    return int(found.get("result.statuscode") or 0)


def _warnings(count: int) -> str:
    return "1 warning has" if count == 1 else f"{count} warnings have"
