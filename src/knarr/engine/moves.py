"""The legal states of a container and the moves between them. Pure."""

from collections.abc import Mapping
from enum import StrEnum

from knarr.engine.errors import IllegalMove
from knarr.model.container import Status


class Move(StrEnum):
    """What can happen to a container."""

    START = "start"
    STARTED = "mark as started"
    FAIL = "fail"
    EXIT = "exit"
    RETRY = "restart"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    REMOVE = "remove"


_IDLE = {Move.START: Status.STARTING, Move.REMOVE: Status.REMOVING}
MOVES: Mapping[Status, Mapping[Move, Status]] = {
    Status.CREATED: _IDLE,
    Status.STARTING: {Move.STARTED: Status.RUNNING, Move.FAIL: Status.CREATED, Move.EXIT: Status.EXITED},
    Status.RUNNING: {Move.PAUSE: Status.PAUSED, Move.EXIT: Status.EXITED, Move.RETRY: Status.RESTARTING},
    Status.PAUSED: {Move.UNPAUSE: Status.RUNNING, Move.EXIT: Status.EXITED, Move.RETRY: Status.RESTARTING},
    Status.RESTARTING: {
        Move.START: Status.STARTING,
        Move.EXIT: Status.EXITED,
        Move.REMOVE: Status.REMOVING,
    },
    Status.EXITED: _IDLE,
    Status.REMOVING: {Move.REMOVE: Status.REMOVING},
    Status.DEAD: {Move.REMOVE: Status.REMOVING},
}


def moved(name: str, status: Status, move: Move) -> Status:
    """The state after the move. Raises IllegalMove."""
    try:
        return MOVES[status][move]
    except KeyError:
        raise IllegalMove(name, status, move) from None
