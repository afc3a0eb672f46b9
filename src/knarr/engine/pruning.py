"""Removes the containers that nobody uses."""

import contextlib
from collections.abc import Mapping, Sequence

from knarr.engine import filters, views
from knarr.engine.lifecycle import Lifecycle
from knarr.engine.live import Roster
from knarr.engine.telling import prune_event
from knarr.engine.values import Pruned
from knarr.engine.world import World, now
from knarr.loop.blocking import blocking
from knarr.model.container import Status
from knarr.model.errors import KnarrError

_FILTERS = frozenset(("label", "label!", "until"))
_IDLE = (Status.CREATED, Status.EXITED, Status.DEAD)


async def prune(
    world: World, roster: Roster, lifecycle: Lifecycle, wanted: Mapping[str, Sequence[str]]
) -> Pruned:
    """Every stopped container that the filters (label, label!, until) allow."""
    filters.check(wanted, _FILTERS)
    until = filters.until(wanted, now())
    removed, space = [], 0
    for live in roster:
        if (
            live.status in _IDLE
            and all(live.row.created < moment for moment in until)
            and filters.labels(wanted, live.spec.labels)
            and filters.not_labels(wanted, live.spec.labels)
        ):
            own, _ = await blocking(views.sizes, world, live)
            with contextlib.suppress(KnarrError):
                await lifecycle.remove(live, force=False, volumes=False)
                removed.append(live.id)
                space += own
    world.tell(prune_event("container", space))
    return Pruned(tuple(removed), space)
