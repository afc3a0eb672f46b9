"""The facade of this room: networks and endpoints in the kernel, asynchronously.

Order for a container: `reserve` (host ports, as facts) → `plan_endpoint` (pure) → `attach`; later `detach`, which also
gives the ports back. At start of the daemon: `ensure` every network, `adopt` every living endpoint's plan, then `sweep`.
"""

import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from knarr.model.ports import PortBinding, Published
from knarr.model.system import Step
from knarr.network.plan import EndpointPlan, NetworkConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """What `attach` did, for `--explain`."""

    steps: tuple[Step, ...]


class Bridge:
    """All bridge networks of one daemon. Make it in the daemon's network namespace; `close()` lets go of the ports."""

    async def ensure(self, config: NetworkConfig) -> None:
        """Makes or repairs bridge, address, sysctls and firewall table; keeps what is already published."""
        raise NotImplementedError

    async def reserve(
        self, endpoint_id: str, bindings: Sequence[PortBinding], *, endpoint: str
    ) -> tuple[Published, ...]:
        """Holds the host ports; `endpoint` is the container's name for the error. All or nothing. Raises PortTaken.

        A wish without a host address becomes two facts, 0.0.0.0 and :: (one, if the host has no IPv6).
        """
        raise NotImplementedError

    async def release(self, endpoint_id: str) -> None:
        """Lets go of reserved ports when the endpoint is never attached; unknown ids are ignored."""
        raise NotImplementedError

    async def attach(self, plan: EndpointPlan, netns_fd: int, route: socket.socket) -> Attached:
        """Wires the namespace: `netns_fd` is its descriptor, `route` a NETLINK_ROUTE socket opened inside it.

        The caller keeps both and may close them afterwards. On failure nothing of the endpoint is left, ports excepted.
        """
        raise NotImplementedError

    async def detach(self, plan: EndpointPlan) -> None:
        """Takes the endpoint away: veth, firewall elements, host ports. Again, or half-way, is not an error."""
        raise NotImplementedError

    async def adopt(self, plan: EndpointPlan) -> None:
        """Takes a living endpoint up again after a restart: holds its ports, puts back missing elements."""
        raise NotImplementedError

    async def sweep(self, config: NetworkConfig, known: Collection[str]) -> tuple[str, ...]:
        """Removes veths and elements of this network that belong to no endpoint id in `known`; names them."""
        raise NotImplementedError

    async def teardown(self, config: NetworkConfig) -> None:
        """Removes the network's bridge and table; missing ones are ignored."""
        raise NotImplementedError

    async def host_subnets(self) -> tuple[str, ...]:
        """The IPv4 subnets that the host's routes reach directly, for `pools.allocate`."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes sockets; containers stay wired."""
        raise NotImplementedError
