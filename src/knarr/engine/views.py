"""Live containers as `ps` and inspect tell of them, and Docker's filters on the list."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from knarr.engine import filters
from knarr.engine.errors import NoSuchContainer
from knarr.engine.live import Live, Roster
from knarr.engine.nets import Place, dns_names
from knarr.engine.values import Change
from knarr.engine.world import World
from knarr.model.container import ContainerView, EndpointSpec, EndpointView, Status
from knarr.model.digest import Digest
from knarr.model.errors import Invalid, KnarrError
from knarr.model.image import Image
from knarr.model.ports import Port, Published
from knarr.network.plan import EndpointPlan
from knarr.snapshots.changes import ADDED, MODIFIED, changes

_KNOWN = frozenset(
    (
        "ancestor",
        "before",
        "exited",
        "expose",
        "health",
        "id",
        "is-task",
        "isolation",
        "label",
        "label!",
        "name",
    )
) | frozenset(("network", "publish", "since", "status", "volume"))
_STATUSES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_HEALTH = ("none", "starting", "healthy", "unhealthy")
BOUND = frozenset(("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"))
_SHOWN = {
    Status.CREATING: Status.CREATED,
    Status.STARTING: Status.CREATED,
}


def shown_status(live: Live) -> Status:
    """Docker knows no intents: what it was before is shown."""
    if live.status is Status.STARTING and live.state.finished_at:
        return Status.EXITED
    return _SHOWN.get(live.status, live.status)


def view(world: World, live: Live) -> ContainerView:
    """Without sizes. Made anew when its row or the networks are others: hundreds are listed again and again."""
    changes = world.nets.changes
    if live.seen is None or live.seen[0] is not live.row or live.seen[1] != changes:
        live.seen = (live.row, changes, _view(world, live))
    running = tuple(each.id for each in live.execs.values() if each.running)
    return replace(live.seen[2], exec_ids=running) if running else live.seen[2]


def _view(world: World, live: Live) -> ContainerView:
    plans = [EndpointPlan.from_dict(value) for value in live.extra.endpoints]
    directory = world.paths.container(live.id)
    return ContainerView(
        id=live.id,
        name=live.name,
        created=live.row.created,
        spec=live.spec,
        state=replace(live.state, status=shown_status(live)),
        image_id=live.row.image,
        path=live.extra.path,
        args=live.extra.args,
        driver=world.snapshots.name,
        mounts=tuple(mount.point() for mount in live.extra.mounts if mount.asked_by != "tmpfs"),
        endpoints=_endpoints(world, live, plans),
        published=tuple(each for planned in plans for each in planned.published),
        files={
            "resolv.conf": f"{directory}/resolv.conf",
            "hostname": f"{directory}/hostname",
            "hosts": f"{directory}/hosts",
            "log": world.paths.log(live.id) if live.spec.log.driver == "json-file" else "",
        },
    )


def _endpoints(world: World, live: Live, plans: Sequence[EndpointPlan]) -> tuple[EndpointView, ...]:
    """One for each network, wired or not; the host's network and none have one, too."""
    mode = live.spec.network_mode
    if mode.startswith("container:"):
        return ()
    wired = {plan.network.id: plan for plan in plans}
    asked = (EndpointSpec(network=mode),) if mode in ("host", "none") else live.spec.endpoints
    return tuple(_endpoint(world, live, each, wired) for each in asked)


def _endpoint(
    world: World, live: Live, asked: EndpointSpec, wired: Mapping[str, EndpointPlan]
) -> EndpointView:
    net = world.nets.named(asked.network) or world.nets.get(asked.network)
    view = EndpointView(
        network=net.name if net else asked.network,
        network_id=net.id if net else "",
        aliases=asked.aliases,
        links=asked.links,
        mac=asked.mac,
        driver_options=asked.driver_options,
    )
    if live.runs:
        key = "" if asked.network == "host" else f"/proc/{live.state.pid}/ns/net"
        view = replace(view, sandbox_id=live.id, sandbox_key=key)
    planned = wired.get(view.network_id)
    if net is None or planned is None:
        return view
    return replace(
        view,
        endpoint_id=planned.endpoint_id,
        gateway="" if planned.network.internal else planned.home.gateway,
        ipv4=planned.address,
        ipv4_prefix=planned.home.prefix if planned.address else 0,
        ipv6_gateway="" if planned.network.internal else planned.home6.gateway,
        ipv6=planned.address6,
        ipv6_prefix=planned.home6.prefix if planned.address6 else 0,
        mac=planned.mac,
        dns_names=dns_names(Place(net, asked), live.name, live.id, live.spec.hostname),
    )


def graph_data(world: World, live: Live) -> Mapping[str, str]:
    """Where the snapshot's directories are, in Docker's words for an overlay. Blocking."""
    delta = world.snapshots.delta(live.id)
    if delta.form != "overlay":
        return {}
    root = delta.upper.rpartition("/")[0]
    return {
        "LowerDir": ":".join(delta.lowers),
        "UpperDir": delta.upper,
        "WorkDir": f"{root}/work",
        "MergedDir": f"{root}/merged",
    }


def sizes(world: World, live: Live) -> tuple[int, int]:
    """(its own changes, all of its root) in bytes. Blocking."""
    own = world.snapshots.usage(live.id).size
    layers = sum(world.snapshots.usage(Digest.parse(text)).size for text in live.extra.chain)
    return own, own + layers


async def as_called(
    find: Callable[[str], Awaitable[Image]], seen: Sequence[ContainerView]
) -> list[ContainerView]:
    """Where another image has an image's name by now, or none, a list tells of the image's id."""
    strays = set()
    for name, image in {(each.spec.image, each.image_id) for each in seen}:
        try:
            found = str((await find(name)).id)
        except KnarrError:
            found = ""
        if found != image:
            strays.add((name, image))
    return [
        replace(each, spec=replace(each.spec, image=each.image_id))
        if (each.spec.image, each.image_id) in strays
        else each
        for each in seen
    ]


def placeholders(world: World, live: Live) -> tuple[str, ...]:
    """The empty files that the engine bound its own over, as paths below the root. Blocking."""
    found = changes(world.snapshots.delta(live.id))
    return tuple(each.path[1:] for each in found if each.kind == ADDED and each.path in BOUND)


def own_changes(found: Sequence[Change]) -> list[Change]:
    """Without the empty files that the engine binds its own over, and the directories that only they changed."""
    kept = [each for each in found if not (each.kind == ADDED and each.path in BOUND)]
    if len(kept) < len(found):
        inside = any(each.path.startswith("/etc/") for each in kept)
        kept = [each for each in kept if inside or (each.kind, each.path) != (MODIFIED, "/etc")]
    return kept


class Selection:
    """Docker's filters on containers. Raises Invalid for an unknown one."""

    def __init__(self, wanted: Mapping[str, Sequence[str]], roster: Roster, images: frozenset[str]) -> None:
        filters.check(wanted, _KNOWN)
        self._wanted = wanted
        self._images = images
        _check_words(wanted, "status", "state", _STATUSES)
        _check_words(wanted, "health", "health", _HEALTH)
        self._tasks = filters.boolean(wanted, "is-task") is True
        self._codes = [_code(text) for text in wanted.get("exited", ())]
        self._before = _moments(wanted.get("before", ()), roster, min)
        self._since = _moments(wanted.get("since", ()), roster, max)
        self._published = _ports(wanted.get("publish", ()))
        self._exposed = _ports(wanted.get("expose", ()))

    @property
    def any_status(self) -> bool:
        """Whether a filter speaks of containers that do not run."""
        return bool(self._wanted.get("status") or self._codes)

    def __call__(self, live: Live) -> bool:
        wanted = self._wanted
        return not wanted or (
            filters.prefixes(wanted, live.id)
            and filters.names(wanted, (live.name, f"/{live.name}"))
            and filters.labels(wanted, live.spec.labels)
            and filters.not_labels(wanted, live.spec.labels)
            and filters.one_of(wanted, "status", (str(shown_status(live)),))
            and filters.one_of(wanted, "health", (live.state.health.status if live.state.health else "none",))
            and filters.one_of(wanted, "isolation", ("default", ""))
            and not self._tasks
            and (not self._codes or (live.status is Status.EXITED and live.state.exit_code in self._codes))
            and (self._before is None or live.row.created < self._before)
            and (self._since is None or live.row.created > self._since)
            and ("ancestor" not in wanted or live.row.image in self._images)
            and self._volume(live)
            and self._network(live)
            and self._ports(live)
        )

    def _volume(self, live: Live) -> bool:
        texts = {text for mount in live.extra.mounts for text in (mount.name, mount.source, mount.target)}
        return filters.one_of(self._wanted, "volume", texts)

    def _network(self, live: Live) -> bool:
        plans: Sequence[Mapping[str, Any]] = live.extra.endpoints
        names = {live.spec.network_mode, *(each.network for each in live.spec.endpoints)}
        ids = {plan["network"].get("id", "") for plan in plans}
        return filters.one_of(self._wanted, "network", names | ids)

    def _ports(self, live: Live) -> bool:
        plans = [EndpointPlan.from_dict(value) for value in live.extra.endpoints]
        published: list[Published] = [each for planned in plans for each in planned.published]
        return (not self._published or any(each.port in self._published for each in published)) and (
            not self._exposed or any(port in self._exposed for port in live.spec.exposed_ports)
        )


def _check_words(wanted: Mapping[str, Sequence[str]], name: str, what: str, known: Sequence[str]) -> None:
    for word in wanted.get(name, ()):
        if word not in known:
            raise Invalid(
                f"invalid filter '{name}={word}': invalid value for {what} ({word}): "
                f"must be one of {', '.join(known)}"
            )


def _code(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid(
            f"invalid filter 'exited={text}': strconv.Atoi: parsing \"{text}\": invalid syntax"
        ) from None


def _moments(names: Sequence[str], roster: Roster, choose: Any) -> int | None:
    try:
        found = [roster.find(name).row.created for name in names]
    except NoSuchContainer:
        if len(names) == 1:
            raise
        found = []
    return choose(found) if found else None


def _ports(texts: Sequence[str]) -> frozenset[Port]:
    """`80`, `80/udp`, `8000-8010/tcp`"""
    ports: set[Port] = set()
    for text in texts:
        numbers, _, protocol = text.partition("/")
        first, _, last = numbers.partition("-")
        try:
            ports.update(
                Port(number, protocol or "tcp") for number in range(int(first), int(last or first) + 1)
            )
        except ValueError:
            raise Invalid(f"invalid port: {text!r}") from None
    return frozenset(ports)
