"""The facade of this room: networks and endpoints in the kernel, asynchronously.

Order for a container: `reserve` (host ports, as facts) → `plan_endpoint` (pure) → `attach`; later `detach`, which also
gives the ports back. At start of the daemon: `ensure` every network, `adopt` every living endpoint's plan, then `sweep`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from knarr.loop.blocking import blocking
from knarr.model.ports import PortBinding, Published
from knarr.model.system import Step
from knarr.network.addresses import PortPool
from knarr.network.admission import Admission
from knarr.network.config import NetworkConfig
from knarr.network.errors import FirewallMissing
from knarr.network.hostports import HostPorts, has_ipv6, local_port_range
from knarr.network.links import reap
from knarr.network.plan import EndpointPlan
from knarr.network.publishing import Hosts
from knarr.network.watch import Watch
from knarr.network.wiring import Wiring

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """What `attach` did, for `--explain`."""

    steps: tuple[Step, ...]


class Bridge:
    """All bridge networks of one daemon. Make it in the daemon's network namespace, on its loop; `close()` it.

    Raises FirewallMissing when libnftables is not installed.
    """

    def __init__(self, *, obey: bool = False, forward: bool = True, relay: bool = True) -> None:
        self._wiring = Wiring(bypass=not obey, forward=forward)
        self._ports = HostPorts(PortPool(*local_port_range()), relay=relay)
        self._turn = asyncio.Lock()
        self._reaper: asyncio.Task[None] | None = None
        self._condemned = False
        self._networks: dict[str, NetworkConfig] = {}
        self._watch: Watch | None = None
        self._obey = obey
        self._admission: Admission | None = None

    async def ensure(self, config: NetworkConfig) -> None:
        """Makes or repairs bridge, address, sysctls and firewall table, or the parent link; keeps what is already published.

        From now on the table is watched, and mended when somebody flushes it.
        """
        if self._watch is None:
            self._watch = Watch(self._networks, self._mend, self._look if self._obey else None)
            if self._obey:
                await self._look()
        await self._in_turn(self._wiring.ensure, config)
        self._networks[config.id or config.table] = config

    async def reserve(
        self,
        endpoint_id: str,
        bindings: Sequence[PortBinding],
        *,
        endpoint: str,
        config: NetworkConfig,
        four: bool = True,
        six: bool = False,
    ) -> tuple[Published, ...]:
        """Holds the host ports of an endpoint that has these families; `endpoint` is the container's name for the error. All or
        nothing. Raises PortTaken.

        A wish without a host address becomes two facts, 0.0.0.0 and :: (one, if the host has no IPv6).
        """
        if not config.bridged:
            return ()
        return self._ports.reserve(endpoint_id, bindings, endpoint, Hosts(config, four, six, has_ipv6()))

    async def release(self, endpoint_id: str) -> None:
        """Lets go of reserved ports when the endpoint is never attached; unknown ids are ignored."""
        self._ports.release(endpoint_id)

    async def attach(self, plan: EndpointPlan, netns_fd: int, route: socket.socket) -> Attached:
        """Wires the namespace: `netns_fd` is its descriptor, `route` a NETLINK_ROUTE socket opened inside it.

        The caller keeps both and may close them afterwards. On failure nothing of the endpoint is left, ports excepted
        (`release` or `detach` gives those back).
        """
        steps = await self._in_turn(self._wiring.attach, plan, netns_fd, route)
        self._ports.connect(plan.endpoint_id, plan.address, plan.address6)
        return Attached(steps=steps)

    async def detach(self, plan: EndpointPlan, route: socket.socket | None = None) -> None:
        """Takes the endpoint away: cable, firewall elements, host ports. Again, or half-way, is not an error.

        The unplugged veth itself disappears some milliseconds later (see `settle`). A link that is the container's own is deleted
        if `route`, a socket inside its namespace, is given, or else goes with its namespace.
        """
        self._ports.disconnect(plan.endpoint_id)
        await self._in_turn(self._wiring.detach, plan, route)
        self._ports.release(plan.endpoint_id)
        if plan.network.bridged:
            self._reap_soon()

    async def lead(self, plan: EndpointPlan, route: socket.socket) -> None:
        """From now on the namespace's default routes go through this endpoint, of the families that the plan says."""
        await self._in_turn(self._wiring.lead, plan, route)

    async def follow(self, route: socket.socket, *, six: bool) -> None:
        """From now on the namespace has no default route of a family."""
        await self._in_turn(self._wiring.follow, route, six)

    async def change(self, before: EndpointPlan, after: EndpointPlan) -> None:
        """Other ports of a living endpoint are published: the new ones are reserved, those that are not in `after` are let go."""
        await self._in_turn(self._wiring.change, before, after)
        self._ports.give_up(before.endpoint_id, set(before.published) - set(after.published))
        self._ports.connect(after.endpoint_id, after.address, after.address6)

    async def withdraw(self, endpoint_id: str, facts: Collection[Published]) -> None:
        """Lets go of some reserved ports of an endpoint."""
        self._ports.give_up(endpoint_id, facts)

    async def hold(self, plan: EndpointPlan, facts: Collection[Published]) -> None:
        """Holds ports again that were let go a moment ago; one that somebody else has now is told of in the log."""
        self._ports.hold(plan.endpoint_id, facts)
        self._ports.connect(plan.endpoint_id, plan.address, plan.address6)

    async def move(self, before: EndpointPlan, bare: EndpointPlan, heir: EndpointPlan) -> None:
        """The published ports of `before`, which is `bare` without them, are another endpoint's of the same container: `heir`."""
        await self._in_turn(self._wiring.change, before, bare)
        self._ports.move(before.endpoint_id, heir.endpoint_id)
        await self._in_turn(self._wiring.adopt, heir)
        self._ports.connect(heir.endpoint_id, heir.address, heir.address6)

    async def adopt(self, plan: EndpointPlan) -> None:
        """Takes a living endpoint up again after a restart: holds its ports, puts back missing elements."""
        for each in self._ports.hold(plan.endpoint_id, plan.published):
            log.warning(
                "host port %s:%s of endpoint %s is taken", each.host_ip, each.host_port, plan.endpoint_id
            )
        await self._in_turn(self._wiring.adopt, plan)
        self._ports.connect(plan.endpoint_id, plan.address, plan.address6)

    async def sweep(self, config: NetworkConfig, known: Collection[str]) -> tuple[str, ...]:
        """Removes veths and elements of this network that belong to no endpoint id in `known`; names them."""
        return await self._in_turn(self._wiring.sweep, config, known)

    async def teardown(self, config: NetworkConfig) -> None:
        """Removes the network's bridge and tables, or the parent link that was made for it; missing ones are ignored."""
        self._networks.pop(config.id or config.table, None)
        await self._in_turn(self._wiring.teardown, config, tuple(self._networks.values()))

    async def has_link(self, name: str) -> bool:
        """Whether the host has a link of this name."""
        return await self._in_turn(self._wiring.has_link, name)

    async def host_subnets(self) -> tuple[str, ...]:
        """The subnets that the host's routes reach directly, for `pools.allocate`."""
        return await self._in_turn(self._wiring.subnets)

    async def settle(self) -> None:
        """Waits until every unplugged veth is gone."""
        if self._reaper is not None:
            await asyncio.shield(self._reaper)

    def close(self) -> None:
        """Closes sockets; containers stay wired."""
        if self._watch is not None:
            self._watch.close()
        if self._admission is not None:
            self._admission.close()
        self._ports.close()
        self._wiring.close()

    async def _in_turn(self, function: Callable[..., T], *args: Any) -> T:
        """One piece of wiring at a time, so that many starts at once do not fill the pool of threads with waiters."""
        async with self._turn:
            return await blocking(function, *args)

    async def _mend(self, config: NetworkConfig) -> None:
        async with self._turn:
            if config in self._networks.values():
                await blocking(self._wiring.mend, config)

    async def _look(self) -> None:
        """Whether the host has a firewall of its own now, and all networks after it. Raises FirewallMissing."""
        async with self._turn:
            guarded = await blocking(self._wiring.guarded)
            if guarded == (self._admission is not None):
                return
            former, self._admission = self._admission, _admission() if guarded else None
            group = self._admission.group if self._admission is not None else 0
            log.info("published ports %s the host's own firewall", "obey" if guarded else "need not obey")
            await blocking(self._wiring.obey, group, tuple(self._networks.values()))
            if former is not None:
                former.close()

    def _reap_soon(self) -> None:
        self._condemned = True
        if self._reaper is None or self._reaper.done():
            self._reaper = asyncio.get_running_loop().create_task(self._reap(), name="reap links")

    async def _reap(self) -> None:
        while self._condemned:
            self._condemned = False
            try:
                await blocking(reap)
            except OSError:
                log.exception("cannot delete unplugged links")


def _admission() -> Admission:
    try:
        return Admission()
    except OSError as error:
        raise FirewallMissing(
            f"published ports cannot obey the host's firewall: {error}; see knarrd --publish-firewall=bypass"
        ) from error
