"""What `knarr --help` and `knarr GROUP --help` print."""

from collections.abc import Sequence

from knarr.cli.flags import Verb
from knarr.cli.verbs import ALIASES, GROUPS, PLUGINS, VERBS, load

_COMMON = ("run", "exec", "ps", "pull", "push", "images", "login", "logout", "search", "version", "info")


def _rows(pairs: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in pairs)
    return [f"  {name:<{width}}  {text}" for name, text in pairs]


def overview(top: Verb) -> str:
    """Every verb with a line on it, and the global flags."""
    verbs = [name for name in VERBS if " " not in name and name not in _COMMON]
    lines = ["Usage:  knarr [OPTIONS] COMMAND", "", top.summary, "", "Common Commands:"]
    lines += _rows([(name, load(name)[0].summary) for name in _COMMON])
    lines += ["", "Management Commands:", *_rows(sorted(GROUPS.items()))]
    lines += ["", "Commands:", *_rows([(name, load(name)[0].summary) for name in verbs])]
    lines += [
        "",
        "Docker's plugins, where they are installed:",
        "  " + ", ".join(PLUGINS),
        "",
        "Global Options:",
    ]
    flags = []
    for flag in sorted(top.flags, key=lambda each: each.name):
        short = f"-{flag.short}, " if flag.short else "    "
        flags.append((f"{short}--{flag.name}{'' if flag.kind == 'bool' else ' string'}", flag.help))
    lines += _rows(flags)
    return "\n".join([*lines, "", "Run 'knarr COMMAND --help' for more information on a command.", ""])


def members(name: str) -> dict[str, str]:
    """The verbs of a group: the last word → the name in VERBS. Second names are left out, as docker does."""
    found = {verb.split()[1]: verb for verb in VERBS if verb.startswith(f"{name} ")}
    found |= {alias.split()[1]: real for alias, real in ALIASES.items() if alias.startswith(f"{name} ")}
    return {
        word: found[word]
        for word in sorted(found)
        if word not in ("list", "remove") and (name, word) != ("container", "ps")
    }


def group(name: str) -> str:
    """One group's verbs."""
    rows = [(word, load(verb)[0].summary) for word, verb in members(name).items() if word != "dial-stdio"]
    lines = [f"Usage:  knarr {name} COMMAND", "", GROUPS[name], "", "Commands:", *_rows(rows)]
    return "\n".join(
        [*lines, "", f"Run 'knarr {name} COMMAND --help' for more information on a command.", ""]
    )
