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
from knarr.network.hostports import HostPorts, local_port_range
from knarr.network.links import reap
from knarr.network.plan import EndpointPlan, NetworkConfig, PortPool
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

    def __init__(self) -> None:
        self._wiring = Wiring()
        self._ports = HostPorts(PortPool(*local_port_range()))
        self._turn = asyncio.Lock()
        self._reaper: asyncio.Task[None] | None = None
        self._condemned = False
        self._networks: dict[str, NetworkConfig] = {}
        self._watch: Watch | None = None

    async def ensure(self, config: NetworkConfig) -> None:
        """Makes or repairs bridge, address, sysctls and firewall table; keeps what is already published.

        From now on the table is watched, and mended when somebody flushes it.
        """
        await self._in_turn(self._wiring.ensure, config)
        self._networks[config.table] = config
        if self._watch is None:
            self._watch = Watch(self._networks, self._mend)

    async def reserve(
        self, endpoint_id: str, bindings: Sequence[PortBinding], *, endpoint: str
    ) -> tuple[Published, ...]:
        """Holds the host ports; `endpoint` is the container's name for the error. All or nothing. Raises PortTaken.

        A wish without a host address becomes two facts, 0.0.0.0 and :: (one, if the host has no IPv6).
        """
        return self._ports.reserve(endpoint_id, bindings, endpoint)

    async def release(self, endpoint_id: str) -> None:
        """Lets go of reserved ports when the endpoint is never attached; unknown ids are ignored."""
        self._ports.release(endpoint_id)

    async def attach(self, plan: EndpointPlan, netns_fd: int, route: socket.socket) -> Attached:
        """Wires the namespace: `netns_fd` is its descriptor, `route` a NETLINK_ROUTE socket opened inside it.

        The caller keeps both and may close them afterwards. On failure nothing of the endpoint is left, ports excepted
        (`release` or `detach` gives those back).
        """
        steps = await self._in_turn(self._wiring.attach, plan, netns_fd, route)
        self._ports.connect(plan.endpoint_id, plan.address)
        return Attached(steps=steps)

    async def detach(self, plan: EndpointPlan) -> None:
        """Takes the endpoint away: cable, firewall elements, host ports. Again, or half-way, is not an error.

        The unplugged veth itself disappears some milliseconds later (see `settle`).
        """
        self._ports.disconnect(plan.endpoint_id)
        await self._in_turn(self._wiring.detach, plan)
        self._ports.release(plan.endpoint_id)
        self._reap_soon()

    async def lead(self, plan: EndpointPlan, route: socket.socket) -> None:
        """From now on the namespace's default route goes through this endpoint."""
        await self._in_turn(self._wiring.lead, plan, route)

    async def adopt(self, plan: EndpointPlan) -> None:
        """Takes a living endpoint up again after a restart: holds its ports, puts back missing elements."""
        for each in self._ports.hold(plan.endpoint_id, plan.published):
            log.warning(
                "host port %s:%s of endpoint %s is taken", each.host_ip, each.host_port, plan.endpoint_id
            )
        await self._in_turn(self._wiring.adopt, plan)
        self._ports.connect(plan.endpoint_id, plan.address)

    async def sweep(self, config: NetworkConfig, known: Collection[str]) -> tuple[str, ...]:
        """Removes veths and elements of this network that belong to no endpoint id in `known`; names them."""
        return await self._in_turn(self._wiring.sweep, config, known)

    async def teardown(self, config: NetworkConfig) -> None:
        """Removes the network's bridge and table; missing ones are ignored."""
        self._networks.pop(config.table, None)
        await self._in_turn(self._wiring.teardown, config)

    async def host_subnets(self) -> tuple[str, ...]:
        """The IPv4 subnets that the host's routes reach directly, for `pools.allocate`."""
        return await self._in_turn(self._wiring.subnets)

    async def settle(self) -> None:
        """Waits until every unplugged veth is gone."""
        if self._reaper is not None:
            await asyncio.shield(self._reaper)

    def close(self) -> None:
        """Closes sockets; containers stay wired."""
        if self._watch is not None:
            self._watch.close()
        self._ports.close()
        self._wiring.close()

    async def _in_turn(self, function: Callable[..., T], *args: Any) -> T:
        """One piece of wiring at a time, so that many starts at once do not fill the pool of threads with waiters."""
        async with self._turn:
            return await blocking(function, *args)

    async def _mend(self, config: NetworkConfig) -> None:
        async with self._turn:
            if config.table in self._networks:
                await blocking(self._wiring.mend, config)

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
