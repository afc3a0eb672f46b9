"""Events of networks and volumes that a life of a container causes, with Docker's attributes."""

from knarr.engine.live import Live
from knarr.engine.world import World, now
from knarr.model.system import Event


def network_events(world: World, live: Live, action: str) -> list[Event]:
    """One for each endpoint of this life, and for the host's network and none."""
    mode = live.spec.network_mode
    if mode not in ("bridge", "host", "none") or (mode == "bridge" and not live.extra.endpoints):
        return []
    kind = "null" if mode == "none" else mode
    return [
        Event(
            type="network",
            action=action,
            id=world.network_ids.get(mode, ""),
            at=now(),
            attributes={"container": live.id, "name": mode, "type": kind},
        )
    ]


def mount_events(live: Live, action: str) -> list[Event]:
    """Volumes taken into use, or given back."""
    return [
        Event(
            type="volume",
            action=action,
            id=mount.name,
            at=now(),
            attributes={
                "container": live.id,
                "driver": "local",
                **({"destination": mount.target, "propagation": ""} if action == "mount" else {}),
                **({"read/write": str(mount.writable).lower()} if action == "mount" else {}),
            },
        )
        for mount in live.extra.mounts
        if mount.type == "volume"
    ]
