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

from knarr.kernel import malloc
from knarr.model.system import Step
from knarr.network import flows, parents
from knarr.network.config import NetworkConfig
from knarr.network.firewall import Firewall
from knarr.network.inside import follow, lead, set_sysctls, unplug, wire
from knarr.network.links import Links
from knarr.network.plan import Action, Element, EndpointPlan, elements, veth_name

log = logging.getLogger(__name__)
_MISSING = (errno.ENOENT, errno.ENODEV, errno.EINVAL)


class Wiring:
    """Made in the daemon's network namespace. Raises FirewallMissing."""

    def __init__(self, *, bypass: bool = True, forward: bool = True) -> None:
        self._lock = threading.Lock()
        self._firewall = Firewall(bypass=bypass)
        self._links = Links(forward=forward)
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
                    self._remove(plan, sock)
                    self._ensure(plan.network)
                    steps = self._attach(plan, netns_fd, sock)
            except BaseException:
                with contextlib.suppress(OSError):
                    self._remove(plan, sock)
                raise
            self._plans[plan.endpoint_id] = plan
            flows.forget(plan)
            return steps

    def detach(self, plan: EndpointPlan, sock: socket.socket | None = None) -> None:
        """Unwires an endpoint, whatever is left of it; its links are gone after `reap`. `sock` is one inside its namespace."""
        with self._lock:
            self._plans.pop(plan.endpoint_id, None)
            if not plan.network.bridged:
                if sock is not None:
                    unplug(sock, plan.interface)
                return
            self._withdraw(plan)
            self._links.condemn(plan.veth)
            flows.forget(plan)

    def lead(self, plan: EndpointPlan, sock: socket.socket) -> None:
        """Makes the endpoint the way to everything that no other route reaches."""
        with self._lock:
            lead(sock, plan)

    def follow(self, sock: socket.socket, six: bool) -> None:
        """No endpoint is the way out any more, in one family."""
        with self._lock:
            follow(sock, six=six)

    def change(self, before: EndpointPlan, after: EndpointPlan) -> None:
        """Published ports come and go; on failure it is as it was."""
        with self._lock:
            kept = set(elements(after))
            gone = [each for each in elements(before) if each not in kept]
            self._firewall.exchange(after, [_key(each) for each in gone])
            self._plans[after.endpoint_id] = after
            flows.forget(before)
            flows.forget(after)

    def adopt(self, plan: EndpointPlan) -> None:
        """Knows a living endpoint and puts its elements back."""
        if not plan.network.bridged:
            return
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
        if not config.bridged:
            return ()
        with self._lock:
            names = {veth_name(each) for each in known}
            links = [each.name for each in self._links.ports(config.bridge) if each.name not in names]
            stray = [each for owner, each in self._firewall.owned(config) if owner not in known]
            for name in links:
                self._links.delete(name)
            if stray:
                self._firewall.withdraw(config.table, stray)
            return (*links, *(f"{each.set} {each.text}" for each in stray))

    def teardown(self, config: NetworkConfig, others: Collection[NetworkConfig] = ()) -> None:
        """Removes a network."""
        with self._lock:
            if config.bridged:
                self._firewall.remove(config)
                self._links.forget(config.bridge, kept=config.kept)
            else:
                parents.remove(self._links.socket, config, others, kept=config.kept)

    def has_link(self, name: str) -> bool:
        """Whether the host has a link of this name."""
        with self._lock:
            return self._links.find(name) is not None

    def obey(self, group: int, configs: Collection[NetworkConfig]) -> None:
        """From now on connections to published ports go by way of the host's own rules, or (0) past them."""
        with self._lock:
            self._firewall.group = group
            for config in configs:
                if config.bridged:
                    self._ensure(config)

    def guarded(self) -> bool:
        """Whether the host has a firewall of its own; rules that cannot be read are one."""
        try:
            with self._lock:
                return self._firewall.guarded()
        except (OSError, ValueError) as error:
            log.warning("cannot read the host's firewall, so that published ports obey it: %s", error)
            return True
        finally:
            malloc.trim()  # a whole ruleset is megabytes

    def subnets(self) -> tuple[str, ...]:
        """The subnets of the host's routes."""
        with self._lock:
            return self._links.subnets()

    def _ensure(self, config: NetworkConfig) -> None:
        if not config.bridged:
            parents.ensure(self._links.socket, config)
            return
        made = self._links.ensure_bridge(config)
        plans = [each for each in self._plans.values() if each.network.bridge == config.bridge]
        if made:
            self._links.enslave(plans)
        self._firewall.ensure(config, plans)

    def _attach(self, plan: EndpointPlan, netns_fd: int, sock: socket.socket) -> tuple[Step, ...]:
        actions = plan.actions()
        host, sysctls, inside, firewall = (
            tuple(each for each in actions if each.where == where)
            for where in ("host", "sysctl", "inside", "firewall")
        )
        steps = [_timed(host, self._objects(plan), lambda: self._plug(plan, netns_fd))]
        if sysctls:
            steps.append(_timed(sysctls, {}, lambda: set_sysctls(netns_fd, sysctls)))
        told = {f"address {number}": each for number, each in enumerate(plan.addresses)}
        steps.append(_timed(inside, told, lambda: wire(sock, plan.interface, inside)))
        if firewall:
            steps.append(_timed(firewall, _elements(plan), lambda: self._firewall.publish(plan)))
        return tuple(steps)

    def _plug(self, plan: EndpointPlan, netns_fd: int) -> None:
        if plan.network.bridged:
            self._links.plug(plan, netns_fd)
        else:
            parents.plug(self._links.socket, plan, netns_fd)

    def _objects(self, plan: EndpointPlan) -> dict[str, str]:
        return {"veth": plan.veth} if plan.network.bridged else {"parent": plan.network.bridge}

    def _remove(self, plan: EndpointPlan, sock: socket.socket) -> None:
        if plan.network.bridged:
            self._withdraw(plan)
            self._links.delete(plan.veth)
        else:
            unplug(sock, plan.interface)

    def _withdraw(self, plan: EndpointPlan) -> None:
        self._firewall.withdraw(plan.network.table, [_key(each) for each in elements(plan)])


def _key(element: Element) -> Element:
    """As it is deleted: without its comment and, of a map, its value."""
    return element._replace(text=element.text.partition(" comment ")[0])


def _elements(plan: EndpointPlan) -> dict[str, str]:
    """The firewall's objects of an endpoint, by the set or map that they are in."""
    found = {"table": plan.network.table}
    for number, each in enumerate(elements(plan)):
        found[f"{each.set} {number}"] = each.text
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
