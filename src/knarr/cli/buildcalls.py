"""A build that is prepared, run through the daemon's front door and shown; what all ways of `knarr build` have in common."""

import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from knarr.api.client.http import Http
from knarr.cli.flags import Options

if TYPE_CHECKING:
    from knarr.build.client.calls import Ask, Dial, Headers
    from knarr.cli.buildscreen import Screen
    from knarr.grpc.services import Service


def screen_of(options: Options) -> "Screen":
    """The display that was asked for. Raises Failed."""
    from knarr.cli import buildscreen, contexts

    mode = "quiet" if options.quiet else options.progress
    return buildscreen.screen(mode, whole=options.debug or contexts.CHOSEN[0].debug)


def solved(http: Http, ask: "Ask", services: "Sequence[Service]", screen: "Screen") -> dict[str, str]:
    """What the exporters tell. A failure has been shown when it is raised: BuildFailed, or KeyboardInterrupt."""
    from knarr.build.client import calls
    from knarr.build.errors import BuildFailed

    error: BuildFailed | None = BuildFailed("Canceled: context canceled")
    try:
        told = calls.build(dialer(http), ask, services, screen.heard)
        error = None
    except BuildFailed as failed:
        error = failed
        raise
    finally:
        screen.end(error)
    return told


def dialer(http: Http) -> "Dial":
    """Takes connections over for BuildKit's protocol."""

    def dial(path: str, headers: "Headers") -> tuple[socket.socket, bytes]:
        taken = http.hijack(path, protocol="h2c", repeated=headers)
        return taken.sock, taken.tail

    return dial


def image_of(told: Mapping[str, str]) -> str:
    """The image's id; "" where the result is none."""
    return told.get("containerimage.config.digest") or told.get("containerimage.digest") or ""
