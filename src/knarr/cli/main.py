"""The entry of `knarr`: finds the verb, parses its flags, turns errors into docker's words and exit codes."""

import os
import sys
from collections.abc import Sequence

from knarr.api.client.http import ApiError, CannotConnect, Http
from knarr.cli import config, contexts
from knarr.cli.common import Failed
from knarr.cli.flags import Flag, Options, UsageError, Verb, WrongCount, help_text, parse, usage
from knarr.cli.progress import StreamError
from knarr.cli.template import TemplateError
from knarr.cli.verbs import ALIASES, GROUPS, MISSING, PLUGINS, VERBS, load, names_of
from knarr.model.errors import KnarrError

GLOBAL = Verb(
    "",
    "A container engine behind Docker's own API",
    "[OPTIONS] COMMAND",
    (
        Flag("config", "", "string", "Location of client config files"),
        Flag("context", "c", "string", "Name of the context to use to connect to the daemon"),
        Flag("debug", "D", "bool", "Enable debug mode"),
        Flag("host", "H", "list", "Daemon socket to connect to"),
        Flag("log-level", "l", "string", "Set the logging level", "info"),
        Flag("tls", "", "bool", "Use TLS; implied by --tlsverify"),
        Flag("tlscacert", "", "string", "Trust certs signed only by this CA"),
        Flag("tlscert", "", "string", "Path to TLS certificate file"),
        Flag("tlskey", "", "string", "Path to TLS key file"),
        Flag("tlsverify", "", "bool", "Use TLS and verify the remote"),
        Flag("version", "v", "bool", "Print version information and quit"),
        Flag("help", "h", "bool", "Print usage"),
    ),
    interspersed=False,
)
_LEVELS = ("panic", "fatal", "error", "warn", "warning", "info", "debug", "trace")


def main() -> None:
    """The console script. It ends without the interpreter's own tidying, which takes 3 ms of the 30 that `ps` has."""
    code = run(sys.argv[1:])
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BrokenPipeError:
        code = 141
    os._exit(code)


def run(words: Sequence[str]) -> int:
    """The exit status of a command line."""
    try:
        return _run(words)
    except BrokenPipeError:
        # The reader has gone: what is left in the buffer must not fail again at exit.
        sys.stdout = None
        return 141
    except KeyboardInterrupt:
        return 130


def _run(words: Sequence[str]) -> int:
    try:
        options = parse(GLOBAL, words)
    except UsageError as error:
        print(f"{error}\n\nUsage:  knarr [OPTIONS] COMMAND [ARG...]\n\n{_more('')}", file=sys.stderr)
        return 125
    if options.version:
        from knarr.cli.about import version

        print(f"knarr version {version()}")
        return 0
    if options.help or not options.args:
        from knarr.cli.overview import overview

        print(overview(GLOBAL), end="")
        return 0
    try:
        _settle(options)
    except Failed as error:
        print(error, file=sys.stderr)
        return error.code
    if options.args[0] == "help":
        return _run([*options.args[1:], "--help"])
    name, rest = resolve(options.args)
    if name is not None:
        return _call(name, rest, _spoken(options.args[: len(options.args) - len(rest)]))
    return _no_verb(options.args, words)


def _settle(options: Options) -> None:
    """Takes the global flags in. Raises Failed."""
    if options.log_level not in _LEVELS:
        raise Failed(f"Unable to parse logging level: {options.log_level}")
    if options.host and options.context:
        raise Failed("Failed to initialize: conflicting options: cannot specify both --host and --context")
    if len(options.host) > 1:
        raise Failed("Failed to initialize: specify only one -H")
    if options.config:
        config.use_directory(options.config)
    contexts.CHOSEN[0] = contexts.Global(
        _host(options.host[0]) if options.host else "",
        options.context,
        options.tls,
        options.tlsverify,
        options.tlscacert,
        options.tlscert,
        options.tlskey,
        options.debug,
    )


def _host(text: str) -> str:
    """A daemon's address as docker completes it: a bare name is TCP."""
    if "://" in text:
        return text
    return f"tcp://{text}" if ":" in text else f"tcp://{text}:2375"


def resolve(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The verb's name in VERBS and the words behind it."""
    for count in (2, 1):
        spoken = " ".join(words[:count])
        name = ALIASES.get(spoken, spoken)
        if name in VERBS and len(words) >= count:
            return name, words[count:]
    return None, words


def _spoken(words: Sequence[str]) -> str:
    """What a verb calls itself under the name that was used: second names of a group's verbs become the first."""
    group, *rest = words
    if not rest:
        return group
    word = {"list": "ls", "remove": "rm"}.get(rest[0], rest[0])
    return f"{group} {'ls' if (group, word) == ('container', 'ps') else word}"


def _no_verb(args: Sequence[str], words: Sequence[str]) -> int:
    """A group, a plugin, or nothing that we know."""
    first, *rest = args
    if first in GROUPS:
        from knarr.cli.overview import group

        if not rest or rest[0] in ("--help", "help"):
            print(group(first), end="", file=sys.stdout if rest else sys.stderr)
            return 0
        print(
            f"knarr: unknown command: knarr {first} {rest[0]}\n\nUsage:  knarr {first}\n\n{_more(first)}",
            file=sys.stderr,
        )
        return 1
    if first in MISSING:
        print(f"knarr: '{first}' is not supported: {MISSING[first]}", file=sys.stderr)
        return 1
    return _hand_over(first, rest, words[: len(words) - len(args)])


def _hand_over(first: str, rest: Sequence[str], before: Sequence[str]) -> int:
    """To docker's plugin of that name, with the global flags that were typed."""
    from knarr.cli import plugins

    name, *more = PLUGINS.get(first, first).split()
    if path := plugins.find(name):
        try:
            plugins.hand_over(path, [*before, name, *more, *rest])
        except OSError as error:
            print(f"knarr: {path}: {error.strerror}", file=sys.stderr)
            return 1
    if first in PLUGINS:
        print(f"knarr: '{first}' is docker's plugin docker-{name}, which is not installed", file=sys.stderr)
        return 1
    print(f"knarr: unknown command: knarr {first}\n\n{_more('')}", file=sys.stderr)
    return 1


def _more(command: str, word: str = "Run") -> str:
    return f"{word} '{f'knarr {command}'.rstrip()} --help' for more information"


def _call(name: str, words: Sequence[str], spoken: str) -> int:
    found, function = load(name)
    verb = found._replace(name=spoken)
    try:
        options = parse(verb, words)
        if options.help:
            print(help_text(verb, names_of(name)), end="")
            return 0
        return function(_client(), options)
    except WrongCount as error:
        print(f"knarr: {error}\n\nUsage:  {usage(verb)}\n\n{_more(spoken, error.hint)}", file=sys.stderr)
        return 1
    except UsageError as error:
        print(f"{error}\n\nUsage:  {usage(verb)}\n\n{_more(spoken)}", file=sys.stderr)
        return 125
    except Failed as error:
        text, code, helpful = str(error), error.code, error.helpful
    except BrokenPipeError:
        raise
    except TemplateError as error:
        what = "parse" if error.parsing else "execute"
        text, code, helpful = f"failed to {what} template: {error}", 1, False
    except StreamError as error:
        text, code, helpful = str(error), verb.usage_code, False
    except ApiError as error:
        text, code, helpful = f"Error response from daemon: {error}", verb.usage_code, False
    except (CannotConnect, KnarrError, ConnectionError) as error:
        text, code, helpful = str(error), verb.usage_code, False
    if helpful or (verb.usage_code != 1 and code == verb.usage_code):
        text = f"knarr: {text}\n\n{_more(name)}"
    if text:
        print(text, file=sys.stderr)
    return code


def _client() -> Http:
    return contexts.client()


if __name__ == "__main__":
    main()
