"""Events of networks and volumes that a life of a container causes, with Docker's attributes."""

from knarr.engine.live import Live
from knarr.engine.nets import Net
from knarr.engine.world import World, now
from knarr.model.system import Event


def network_event(net: Net, action: str, **attributes: str) -> Event:
    """An event of a network."""
    told = {**attributes, "name": net.name, "type": net.driver}
    return Event(type="network", action=action, id=net.id, at=now(), attributes=told)


def prune_event(kind: str, freed: int) -> Event:
    """The end of a prune, with the bytes that it freed."""
    return Event(type=kind, action="prune", id="", at=now(), attributes={"reclaimed": str(freed)})


def network_events(world: World, live: Live, action: str) -> list[Event]:
    """One for each place of this life, and for the host's network and none."""
    mode = live.spec.network_mode
    if mode in ("host", "none"):
        net = world.nets.named(mode)
        return [network_event(net, action, container=live.id)] if net is not None else []
    nets = [world.nets.get(value["network"].get("id", "")) for value in live.extra.endpoints]
    return [network_event(net, action, container=live.id) for net in nets if net is not None]


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
