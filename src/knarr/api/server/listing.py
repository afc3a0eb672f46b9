"""From values to Docker's JSON: containers as ps shows them. Pure; the present moment is an argument."""

from typing import Any

from knarr.api.server.attachments import networks
from knarr.api.server.omission import optional
from knarr.api.server.telling import mount_point, shown
from knarr.api.spec.history import shaped
from knarr.api.spec.versions import Version
from knarr.model.container import ContainerState, ContainerView, Health
from knarr.model.ports import Published

_SECOND = 1_000_000_000


def summary(view: ContainerView, version: Version, now: int) -> dict[str, Any]:
    """One entry of GET /containers/json."""
    value: dict[str, Any] = {
        "Id": view.id,
        "Names": [f"/{view.name}", *view.links],
        "Image": view.spec.image,
        "ImageID": view.image_id,
        "Command": _command(view.path, view.args),
        "Created": view.created // _SECOND,
        "Ports": list_ports(view),
    }
    if view.size_rw is not None:
        optional(value, "SizeRw", view.size_rw)
        optional(value, "SizeRootFs", view.size_root_fs)
    host: dict[str, Any] = {"NetworkMode": view.spec.network_mode}
    optional(host, "Annotations", dict(view.spec.annotations))
    value |= {
        "Labels": dict(view.spec.labels),
        "State": shown(view.state),
        "Status": status(view.state, now),
        "HostConfig": host,
        "NetworkSettings": {"Networks": networks(view, version)},
        "Mounts": [mount_point(each) for each in view.mounts],
    }
    if version >= (1, 52):
        health = view.state.health or Health(status="none")
        value["Health"] = {"Status": health.status, "FailingStreak": health.failing_streak}
    return shaped("containers", value, version)


def list_ports(view: ContainerView) -> list[dict[str, Any]]:
    """The ports as list shows them: only while it runs."""
    if not view.state.pid:
        return []
    bound = {each.port for each in view.published}
    out: list[dict[str, Any]] = [_listed_port(each) for each in view.published]
    out += [
        {"PrivatePort": port.number, "Type": port.protocol}
        for port in view.spec.exposed_ports
        if port not in bound
    ]
    return sorted(out, key=lambda each: (each["PrivatePort"], each["Type"], each.get("IP", "")))


def _listed_port(each: Published) -> dict[str, Any]:
    return {
        "IP": each.host_ip,
        "PrivatePort": each.port.number,
        "PublicPort": each.host_port,
        "Type": each.port.protocol,
    }


def _command(path: str, args: tuple[str, ...]) -> str:
    return " ".join((path, *(f"'{arg}'" if " " in arg else arg for arg in args)))


def status(value: ContainerState, now: int) -> str:
    """docker ps' STATUS."""
    word = shown(value)
    if word in ("running", "paused"):
        suffix = " (Paused)" if word == "paused" else _health(value.health)
        return f"Up {duration(now - value.started_at)}{suffix}"
    if word == "restarting":
        return f"Restarting ({value.exit_code}) {duration(now - value.finished_at)} ago"
    if word == "removing":
        return "Removal In Progress"
    if word == "dead":
        return "Dead"
    if word == "created" or (not value.started_at and not value.finished_at):
        return "Created"
    return f"Exited ({value.exit_code}) {duration(now - value.finished_at)} ago"


def _health(value: Health | None) -> str:
    if value is None:
        return ""
    return " (health: starting)" if value.status == "starting" else f" ({value.status})"


def duration(nanoseconds: int) -> str:
    """go-units' HumanDuration."""
    seconds = max(nanoseconds, 0) // _SECOND
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, unit, word in (
        (48, 1, "hours"),
        (24 * 7 * 2, 24, "days"),
        (24 * 30 * 2, 24 * 7, "weeks"),
        (24 * 365 * 2, 24 * 30, "months"),
    ):
        if hours < limit:
            return f"{hours // unit} {word}"
    return f"{seconds // 3600 // 24 // 365} years"
