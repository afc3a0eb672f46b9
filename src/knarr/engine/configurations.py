"""Networks that only hold a configuration (`--config-only`), and networks made from one (`--config-from`). Docker's words. Pure."""

from dataclasses import replace

from knarr.engine.record import NetworkValue, Range
from knarr.engine.values import AddressRange, NetworkSpec
from knarr.model.errors import Denied, Invalid

UNUSABLE = "cannot create endpoint on configuration-only network"
_OPERATORS = (
    "configuration network can only contain network specific fields. Network operator fields like "
    "[ ingress | internal | attachable | scope ] are not supported."
)
_BOTH = "user specified configurations are not supported if the network depends on a configuration network"


def check(spec: NetworkSpec) -> None:
    """What goes with what. Raises Denied, Invalid."""
    if spec.config_only and (spec.ingress or spec.internal or spec.attachable or spec.scope):
        raise Denied(_OPERATORS)
    if spec.config_only and spec.config_from:
        raise Denied("a configuration network cannot depend on another configuration network")
    if spec.config_from:
        if spec.ranges or spec.labels or spec.ipam_options or spec.ipv4 is False or spec.ipv6:
            raise Denied(_BOTH)
        if spec.options:
            raise Denied(
                "network driver options are not supported if the network depends on a configuration network"
            )
    if spec.ingress:
        raise Denied("Ingress network can only be global scope network")
    if spec.scope == "swarm":
        raise Invalid("cannot create a swarm scoped network when swarm is not active")


def keep(spec: NetworkSpec) -> NetworkValue:
    """What a configuration's row holds, of a request that `network_plan.check` has seen."""
    return NetworkValue(
        driver="null",
        bridge="",
        ranges=tuple(
            Range(
                subnet=each.subnet,
                gateway=each.gateway,
                within=each.within,
                reserved=dict(each.reserved),
                gateway_asked=bool(each.gateway),
                asked=True,
            )
            for each in spec.ranges
            if each.subnet
        ),
        ipv4=bool(spec.ipv4),
        ipv6=bool(spec.ipv6),
        config_only=True,
        labels=dict(spec.labels),
        options=dict(spec.options),
        ipam_options=spec.ipam_options,
    )


def apply(spec: NetworkSpec, value: NetworkValue) -> NetworkSpec:
    """The request with what the configuration says."""
    return replace(
        spec,
        ranges=tuple(
            AddressRange(subnet=each.subnet, gateway=each.gateway, within=each.within, reserved=each.reserved)
            for each in value.ranges
        ),
        ipv4=value.ipv4,
        ipv6=value.ipv6,
        labels=value.labels,
        options=value.options,
        ipam_options=value.ipam_options,
    )
