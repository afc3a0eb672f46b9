"""Docker's CLI plugins: compose, buildx and whatever else is installed, handed over to with our socket and every word.

A plugin is a program `docker-NAME` in one of docker's directories; it gets the words as they were typed (so it sees the
global flags too) and finds the daemon in the environment.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from knarr.cli import config, contexts

_SYSTEM = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)


def directories() -> list[str]:
    """Where plugins are looked for, in docker's order."""
    own = os.path.join(config.directory(), "cli-plugins")
    return [*map(str, config.read().get("cliPluginsExtraDirs") or ()), own, *_SYSTEM]


def find(name: str) -> str:
    """The program of a plugin; "" where it is not installed."""
    if not name.replace("-", "").isalnum() or name.startswith("-"):
        return ""
    for directory in directories():
        path = os.path.join(directory, f"docker-{name}")
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return ""


def hand_over(path: str, words: Sequence[str]) -> NoReturn:
    """Becomes the plugin. Raises OSError."""
    env = {**os.environ, "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND": sys.argv[0]}
    if contexts.current() == contexts.DEFAULT and not contexts.CHOSEN[0].host:
        env["DOCKER_HOST"] = contexts.default_host()
    os.execve(path, [path, *words], env)
