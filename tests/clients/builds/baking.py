"""How cases are built: alone by `buildx build`, or many together by `buildx bake`, which costs a fifth.

buildx is called as the program that the docker CLI calls: it is half of a small build's time to go through both.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.clients.builds import judging
from tests.clients.builds.case import Case, lay_out
from tests.support.daemons import CLIENTS, Daemon

BUILDX = str(CLIENTS / "usr/libexec/docker/cli-plugins/docker-buildx")
# Flags of a build by what a bake file calls them.
_VALUES = {"--target": "target", "-f": "dockerfile", "--network": "network", "--shm-size": "shm-size"}
_LISTS = {"--platform": "platforms", "--secret": "secret", "--ssh": "ssh", "--ulimit": "ulimits"}
_MAPS = {"--build-arg": "args", "--label": "labels", "--build-context": "contexts"}
Found = dict[str, Any]


class World(NamedTuple):
    """A daemon, a directory for contexts, an address of the web, and a key for ssh."""

    daemon: Daemon
    root: Path
    web: str
    key: str

    def environment(self) -> dict[str, str]:
        """The client's; a secret is in it."""
        return {**self.daemon.environment(), "CASE_SECRET": "from the environment"}

    def told(self, value: Found) -> Found:
        """A result without what this world alone has."""
        text = json.dumps(value)
        for own, name in ((self.web, "WEB"), (str(self.root), "ROOT"), (self.key, "KEY")):
            text = text.replace(own, name)
        found: Found = json.loads(text)
        return found


def alone(world: World, case: Case) -> Found:
    """What comes of one case."""
    context = lay_out(case, world.root / "alone", world.web)
    through = ["--progress", "plain", "--provenance=false", "-t", case.target]
    done = subprocess.run(
        [BUILDX, "build", *through, *_placed(world, case, context), str(context)],
        env=world.environment(),
        capture_output=True,
        timeout=100,
        check=False,
    )
    text = done.stderr.decode(errors="replace")
    found: Found = {"output": judging.output(text)} if case.output else {}
    if done.returncode:
        found |= {"exit": done.returncode, "error": judging.error(text)}
    else:
        found |= judging.image(world.daemon, case.target)
    return world.told(found)


def together(world: World, cases: Sequence[Case]) -> Mapping[str, Found]:
    """What comes of many cases; of each alone, if one of them cannot be built."""
    targets = {case.target: _target(world, case) for case in cases}
    group = {"default": {"targets": list(targets)}}
    path = world.root / f"{cases[0].target}.json"
    path.write_text(json.dumps({"target": targets, "group": group}))
    done = subprocess.run(
        [BUILDX, "bake", "--allow", "fs=*", "--allow", "network.host", "-f", str(path), "--progress=quiet"],
        env=world.environment(),
        capture_output=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        return {case.name: alone(world, case) for case in cases}
    return {case.name: world.told(judging.image(world.daemon, case.target)) for case in cases}


def can_be_baked(case: Case) -> bool:
    """A bake tells neither which step printed what, nor all that fails; and it knows not each flag."""
    pairs = list(_pairs(case.args))
    known = {flag for flag, _ in pairs} <= {*_VALUES, *_LISTS, *_MAPS}
    return known and not case.output and all("=" in value for flag, value in pairs if flag in _MAPS)


def _target(world: World, case: Case) -> dict[str, Any]:
    context = lay_out(case, world.root, world.web)
    attest = ["type=provenance,disabled=true"]
    found: dict[str, Any] = {"context": str(context), "tags": [case.target], "attest": attest}
    for flag, value in _pairs(tuple(_placed(world, case, context))):
        if flag in _VALUES:
            found[_VALUES[flag]] = value
        elif flag in _LISTS:
            found.setdefault(_LISTS[flag], []).append(value)
        else:
            name, _, text = value.partition("=")
            found.setdefault(_MAPS[flag], {})[name] = text
    return found


def _pairs(args: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Flags with their values; one without has the next flag for it, and is none that a bake knows."""
    return zip(args[::2], args[1::2], strict=False) if len(args) % 2 == 0 else iter([("", "")])


def _placed(world: World, case: Case, context: Path) -> list[str]:
    places = {"{context}": str(context), "{web}": world.web, "{key}": world.key, "{null}": os.devnull}
    found = []
    for argument in case.args:
        for name, place in places.items():
            argument = argument.replace(name, place)
        found.append(argument)
    return found
