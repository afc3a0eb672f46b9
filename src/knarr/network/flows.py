"""Makes the kernel forget UDP flows to a published port when what answers there changes.

A client that goes on sending from one port keeps its tracked flow alive, and with it the old translation, for ever.
"""

import logging
import socket

from knarr.kernel.netlink.conntrack import delete_flows, open_netfilter
from knarr.network.plan import EndpointPlan

log = logging.getLogger(__name__)


def forget(plan: EndpointPlan) -> None:
    """Deletes the UDP flows to the plan's host ports; a kernel that cannot is only told of."""
    ports = {
        (socket.AF_INET6 if ":" in each.host_ip else socket.AF_INET, each.host_port)
        for each in plan.published
        if each.port.protocol == "udp" and each.host_port
    }
    if not ports:
        return
    try:
        with open_netfilter() as sock:
            for family, port in sorted(ports):
                delete_flows(sock, socket.IPPROTO_UDP, port, family)
    except OSError as error:
        log.warning("UDP clients of %s may have to wait: %s", plan.endpoint_id, error)
