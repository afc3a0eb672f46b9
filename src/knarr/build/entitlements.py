"""What a build may do only when its client asked for it: the host's network, and no sandbox. Pure.

Which of the two may be granted is the daemon's to say. Devices are named by CDI; there are none.
"""

from collections.abc import Collection, Iterable

from knarr.build.errors import BuildFailed
from knarr.build.graph import Edge, walk
from knarr.build.operations import Exec, Network, Security

NETWORK = "network.host"
INSECURE = "security.insecure"


def check_asked(asked: Iterable[str], allowed: Collection[str]) -> frozenset[str]:
    """What a client is granted. Raises BuildFailed with BuildKit's words for what nobody is."""
    for each in asked:
        if each not in allowed:
            raise BuildFailed(f"granting entitlement {each} is not allowed by build daemon configuration")
    return frozenset(asked)


def check_needed(results: Iterable[Edge | None], granted: Collection[str]) -> None:
    """Raises BuildFailed for the first step that needs more."""
    for vertex in walk(*results):
        command = vertex.operation
        if not isinstance(command, Exec):
            continue
        if command.network == Network.HOST and NETWORK not in granted:
            raise BuildFailed(f"failed to load LLB: {NETWORK} is not allowed")
        if command.security == Security.INSECURE and INSECURE not in granted:
            raise BuildFailed(f"failed to load LLB: {INSECURE} is not allowed")
        for device in command.devices:
            if not device.optional:
                raise BuildFailed(f"required device {device.name} is not registered")
