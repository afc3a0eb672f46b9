"""What goes wrong in the use cases, by name and in Docker's words.

Where Docker's HTTP status is not that of the kind, `api/server/errors.py` has the row.
"""

from knarr.model.errors import Conflict, Denied, Invalid, NotFound, Unchanged


class NoSuchContainer(NotFound):
    """No id, unique id prefix or name is like this."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No such container: {name}")


class AmbiguousId(Invalid):
    """Several ids begin like this."""

    def __init__(self, prefix: str) -> None:
        super().__init__(f"multiple IDs found with provided prefix: {prefix}")


class NoSuchExec(NotFound):
    """No exec has this id."""

    def __init__(self, exec_id: str) -> None:
        super().__init__(f"No such exec instance: {exec_id}")


class NoSuchVolume(NotFound):
    """No volume has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"get {name}: no such volume")


class NoSuchNetwork(NotFound):
    """No network has this name or id."""

    def __init__(self, name: str) -> None:
        super().__init__(f"network {name} not found")


class AmbiguousNetwork(Invalid):
    """Several ids begin like this."""

    def __init__(self, prefix: str, count: int) -> None:
        super().__init__(f"network {prefix} is ambiguous ({count} matches found on ID prefix)")


class NetworkNameTaken(Conflict):
    """Another network has the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"network with name {name} already exists")


class Predefined(Denied):
    """It was there before anybody asked."""


class NetworkInUse(Denied):
    """Containers that run are in it."""

    def __init__(self, name: str, users: str) -> None:
        super().__init__(f"error while removing network: network {name} has active endpoints ({users})")


class AlreadyConnected(Denied):
    """The container is in the network."""

    def __init__(self, container: str, network: str) -> None:
        super().__init__(f"endpoint with name {container} already exists in network {network}")


class NotConnected(Denied):
    """The container is not in the network."""

    def __init__(self, container_id: str, network: str, *, runs: bool) -> None:
        the = "" if runs else "the "
        super().__init__(f"container {container_id} is not connected to {the}network {network}")


class NameTaken(Conflict):
    """Another container has the name."""

    def __init__(self, name: str, owner: str) -> None:
        super().__init__(
            f'Conflict. The container name "/{name}" is already in use by container "{owner}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )


class BadName(Invalid):
    """No container can be called so."""


class IllegalMove(Conflict):
    """The state does not allow what was asked."""

    def __init__(self, name: str, status: str, move: str) -> None:
        super().__init__(f"cannot {move} container {name}: it is {status}")


class NotRunning(Conflict):
    """The container has no process now."""

    def __init__(self, container_id: str) -> None:
        super().__init__(f"container {container_id} is not running")


class IsPaused(Conflict):
    """The container's processes are frozen."""


class IsRestarting(Conflict):
    """The container is between two lives."""

    def __init__(self, container_id: str) -> None:
        super().__init__(f"Container {container_id} is restarting, wait until the container is running")


class RemovalInProgress(Conflict):
    """Somebody else removes it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"removal of container {name} is already in progress")


class CannotRemove(Conflict):
    """It runs, and force was not asked for."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f'cannot remove container "{name}": container is {reason}')


class AlreadyStarted(Unchanged):
    """It runs already."""


class NotStarted(Unchanged):
    """It does not run, so it need not be stopped."""


class VolumeInUse(Conflict):
    """Containers refer to the volume."""

    def __init__(self, name: str, users: str) -> None:
        super().__init__(f"remove {name}: volume is in use - [{users}]")


class BindSourceMissing(Invalid):
    """--mount type=bind does not make the source."""

    def __init__(self, path: str) -> None:
        super().__init__(f'invalid mount config for type "bind": bind source path does not exist: {path}')


class NoSuchPathInContainer(NotFound):
    """docker cp found nothing there."""

    def __init__(self, path: str, container: str) -> None:
        super().__init__(f"Could not find the file {path} in container {container}")
