"""`knarr completion SHELL`: scripts made from the same table of verbs that is parsed."""

from collections.abc import Mapping, Sequence

from knarr.api.client.http import Http
from knarr.cli.common import Failed
from knarr.cli.flags import Options, Verb
from knarr.cli.verbs import PLUGINS, all_verbs

COMPLETION = Verb(
    "completion",
    "Generate the completion script for a shell: bash, zsh or fish",
    "bash|zsh|fish",
    least=1,
    most=1,
)

_BASH = """_knarr() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} verb="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    [[ $word == -* ]] && continue
    verb="${{verb:+$verb }}$word"
    case $verb in {groups}) continue ;; esac
    break
  done
  local words="{verbs}"
  case $verb in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _knarr knarr
"""
_NAMES = "$(knarr ps -a --format '{{.Names}}' 2>/dev/null)"
_IMAGES = "$(knarr images --format '{{.Repository}}:{{.Tag}}' 2>/dev/null)"


def completion(_: Http, options: Options) -> int:
    """Prints the script."""

    shell = options.args[0]
    verbs = all_verbs()
    if shell == "bash":
        print(_bash(verbs), end="")
    elif shell == "zsh":
        print("autoload -U bashcompinit && bashcompinit\n" + _bash(verbs), end="")
    elif shell == "fish":
        print(_fish(verbs), end="")
    else:
        raise Failed(f"unsupported shell {shell!r}: bash, zsh or fish", 1)
    return 0


def _dynamic(verb: Verb) -> str:
    if "CONTAINER" in verb.usage:
        return _NAMES
    return _IMAGES if "IMAGE" in verb.usage or "REPOSITORY" in verb.usage else ""


def _flags(verb: Verb) -> Sequence[str]:
    return [f"--{flag.name}" for flag in verb.flags if not flag.hidden]


def _bash(verbs: Mapping[str, Verb]) -> str:
    groups = sorted({name.split()[0] for name in verbs if " " in name})
    tops = sorted({name.split()[0] for name in verbs} | set(PLUGINS))
    cases = [
        f'    "{group}") words="{" ".join(sorted(n.split()[1] for n in verbs if n.startswith(group + " ")))}" ;;'
        for group in groups
    ]
    cases += [
        f'    "{name}") words="{" ".join([*_flags(verb), _dynamic(verb)]).strip()}" ;;'
        for name, verb in sorted(verbs.items())
    ]
    return _BASH.format(verbs=" ".join(tops), cases="\n".join(cases), groups="|".join(groups) or "''")


def _fish(verbs: Mapping[str, Verb]) -> str:
    lines = ["complete -c knarr -f"]
    lines += [f"complete -c knarr -n __fish_use_subcommand -a {name}" for name in PLUGINS]
    for name, verb in sorted(verbs.items()):
        top, _, sub = name.partition(" ")
        if not sub:
            lines.append(f"complete -c knarr -n __fish_use_subcommand -a {top} -d {_quoted(verb.summary)}")
        condition = f"__fish_seen_subcommand_from {top}" + (
            f"; and __fish_seen_subcommand_from {sub}" if sub else ""
        )
        for flag in verb.flags:
            if not flag.hidden:
                short = f" -s {flag.short}" if flag.short else ""
                lines.append(
                    f"complete -c knarr -n '{condition}' -l {flag.name}{short} -d {_quoted(flag.help)}"
                )
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
