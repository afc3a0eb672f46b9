"""Other limits, restart policy or ports of a container that exists: on record, and at once where it runs."""

from dataclasses import replace
from typing import NamedTuple

from knarr.engine import checks, devices, limit_checks, limits, plan, publishing, rows
from knarr.engine.live import Live
from knarr.engine.ocilimits import oci_resources
from knarr.engine.places import Places
from knarr.engine.values import PortChange
from knarr.engine.world import World
from knarr.loop.blocking import blocking
from knarr.model.container import ContainerSpec, Resources, RestartPolicy
from knarr.model.errors import Conflict


class Update(NamedTuple):
    """What shall be otherwise; fields at their defaults stay as they are."""

    resources: Resources
    restart: RestartPolicy | None = None
    on_unhealthy: str | None = None
    ports: PortChange | None = None


async def update(world: World, places: Places, live: Live, wish: Update) -> tuple[str, ...]:
    """Returns warnings. Raises Invalid, PortTaken; then nothing has changed."""
    async with live.lock:
        resources, warnings = limits.settle(wish.resources, world.host.abilities)
        spec = _updated(live, wish._replace(resources=resources))
        limit_checks.check(spec.resources, world.host.cpus)
        checks.check_restart(spec.restart, auto_remove=spec.auto_remove)
        checks.check_on_unhealthy(spec)
        if wish.ports:
            publishing.check(spec)
            spec = publishing.changed(spec, wish.ports)
            if live.runs:
                await world.whole(publishing.apply(world, places, live, spec, wish.ports))
        if live.runs:
            await _limit(world, live, spec)
        live.row = replace(live.row, spec=spec)
        await world.commit(lambda tx: rows.save_spec(tx, live.row), live.event("update"))
    return warnings


async def _limit(world: World, live: Live, spec: ContainerSpec) -> None:
    numbers = await blocking(devices.numbers, spec.resources)
    wanted = oci_resources(spec.resources, (), numbers, privileged=spec.privileged)
    wanted.pop("devices")
    await live.running_shim().update(wanted)


def _updated(live: Live, wish: Update) -> ContainerSpec:
    spec = live.spec
    try:
        merged = limits.updated(spec.resources, wish.resources)
    except Conflict as error:
        raise Conflict(f"Cannot update container {live.id}: {error}") from None
    return replace(
        spec,
        resources=plan.fill_resources(merged),
        restart=wish.restart or spec.restart,
        on_unhealthy=spec.on_unhealthy if wish.on_unhealthy is None else wish.on_unhealthy,
    )
