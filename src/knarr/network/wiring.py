"""Acts: what the plans say, done in the kernel. Blocking and serialised by one lock; `Bridge` is its asyncio face.

A bridge or table that somebody removed is set up again, with every endpoint that lives there, before a step that
missed it is tried a second time.
"""

import contextlib
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection

from knarr.model.system import Step
from knarr.network import flows
from knarr.network.firewall import Firewall
from knarr.network.links import Links, lead, wire
from knarr.network.plan import Action, EndpointPlan, NetworkConfig, elements, veth_name

log = logging.getLogger(__name__)
_MISSING = (errno.ENOENT, errno.ENODEV, errno.EINVAL)


class Wiring:
    """Made in the daemon's network namespace. Raises FirewallMissing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._firewall = Firewall()
        self._links = Links()
        self._plans: dict[str, EndpointPlan] = {}

    def close(self) -> None:
        """Closes the library and the socket."""
        with self._lock:
            self._firewall.close()
            self._links.close()

    def ensure(self, config: NetworkConfig) -> None:
        """Makes or repairs a network, its known endpoints included."""
        with self._lock:
            self._ensure(config)

    def mend(self, config: NetworkConfig) -> None:
        """Repairs a network if its table is not whole."""
        with self._lock:
            if not self._firewall.whole(config):
                log.warning("somebody changed the firewall table %s: setting it up again", config.table)
                self._ensure(config)

    def attach(self, plan: EndpointPlan, netns_fd: int, sock: socket.socket) -> tuple[Step, ...]:
        """Wires an endpoint; on failure nothing of it is left."""
        with self._lock:
            try:
                try:
                    steps = self._attach(plan, netns_fd, sock)
                except OSError as error:
                    if error.errno not in _MISSING:
                        raise
                    self._remove(plan)
                    self._ensure(plan.network)
                    steps = self._attach(plan, netns_fd, sock)
            except BaseException:
                with contextlib.suppress(OSError):
                    self._remove(plan)
                raise
            self._plans[plan.endpoint_id] = plan
            flows.forget(plan)
            return steps

    def detach(self, plan: EndpointPlan) -> None:
        """Unwires an endpoint, whatever is left of it; its links are gone after `reap`."""
        with self._lock:
            self._plans.pop(plan.endpoint_id, None)
            self._withdraw(plan)
            self._links.condemn(plan.veth)
            flows.forget(plan)

    def lead(self, plan: EndpointPlan, sock: socket.socket) -> None:
        """Makes the endpoint the way to everything that no other route reaches."""
        with self._lock:
            lead(sock, plan.interface, plan.network.gateway)

    def adopt(self, plan: EndpointPlan) -> None:
        """Knows a living endpoint and puts its elements back."""
        with self._lock:
            self._plans[plan.endpoint_id] = plan
            try:
                self._firewall.publish(plan)
            except OSError as error:
                if error.errno not in _MISSING:
                    raise
                self._ensure(plan.network)

    def sweep(self, config: NetworkConfig, known: Collection[str]) -> tuple[str, ...]:
        """Removes the veths and elements of endpoints that are not known."""
        with self._lock:
            names = {veth_name(each) for each in known}
            links = [each.name for each in self._links.ports(config.bridge) if each.name not in names]
            stray = [each for each in self._firewall.owned(config) if each[0] not in known]
            for name in links:
                self._links.delete(name)
            if stray:
                self._firewall.withdraw(config.table, [(name, key) for _, name, key in stray])
            return (*links, *(f"{name} {key}" for _, name, key in stray))

    def teardown(self, config: NetworkConfig) -> None:
        """Removes a network."""
        with self._lock:
            self._firewall.remove(config)
            self._links.forget(config.bridge)

    def subnets(self) -> tuple[str, ...]:
        """The subnets of the host's routes."""
        with self._lock:
            return self._links.subnets()

    def _ensure(self, config: NetworkConfig) -> None:
        made = self._links.ensure_bridge(config)
        plans = [each for each in self._plans.values() if each.network.bridge == config.bridge]
        if made:
            self._links.enslave(plans)
        self._firewall.ensure(config, plans)

    def _attach(self, plan: EndpointPlan, netns_fd: int, sock: socket.socket) -> tuple[Step, ...]:
        actions = plan.actions()
        host, inside, firewall = (
            tuple(each for each in actions if each.where == where) for where in ("host", "inside", "firewall")
        )
        return (
            _timed(host, {"veth": plan.veth}, lambda: self._links.plug(plan, netns_fd)),
            _timed(inside, {"address": plan.address}, lambda: wire(sock, plan.interface, inside)),
            _timed(firewall, _elements(plan), lambda: self._firewall.publish(plan)),
        )

    def _remove(self, plan: EndpointPlan) -> None:
        self._withdraw(plan)
        self._links.delete(plan.veth)

    def _withdraw(self, plan: EndpointPlan) -> None:
        keys = [(name, element.partition(" comment ")[0]) for name, element in elements(plan)]
        self._firewall.withdraw(plan.network.table, keys)


def _elements(plan: EndpointPlan) -> dict[str, str]:
    """The firewall's objects of an endpoint, by the set or map that they are in."""
    found = {"table": plan.network.table}
    for number, (place, element) in enumerate(elements(plan)):
        found[f"{place} {number}"] = element
    return found


def _timed(actions: Collection[Action], objects: dict[str, str], act: Callable[[], object]) -> Step:
    """Does one exchange and tells of it: several actions share one packet and so one time."""
    at, begin = time.time_ns(), time.perf_counter_ns()
    act()
    return Step(
        room="network",
        name=", ".join(each.name for each in actions),
        reason="; ".join(dict.fromkeys(each.reason for each in actions)),
        at=at,
        duration=time.perf_counter_ns() - begin,
        objects=objects,
    )
