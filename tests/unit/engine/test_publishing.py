"""What a change of ports makes of a specification; configurations of networks."""

import pytest

from knarr.engine import configurations
from knarr.engine.network_plan import check
from knarr.engine.publishing import changed
from knarr.engine.values import AddressRange, NetworkSpec, PortChange
from knarr.model.container import ContainerSpec
from knarr.model.errors import Denied, Invalid
from knarr.model.ports import Port, PortBinding

WEB, OTHER = Port(80), Port(81)


def bound(*bindings: PortBinding, every: bool = False) -> ContainerSpec:
    return ContainerSpec(
        image="x", port_bindings=bindings, publish_all=every, exposed_ports=(WEB, OTHER) if every else ()
    )


def test_ports_are_added_once_and_exposed() -> None:
    wish = PortBinding(WEB, "", 8080, 8080)
    spec = changed(bound(), PortChange(add=(wish,)))
    assert (spec.port_bindings, spec.exposed_ports) == ((wish,), (WEB,))
    assert changed(spec, PortChange(add=(wish,))).port_bindings == (wish,)


def test_a_port_goes_wholly_or_from_one_place() -> None:
    one, two = PortBinding(WEB, "", 8080, 8080), PortBinding(WEB, "127.0.0.1", 8081, 8081)
    spec = bound(one, two)
    assert changed(spec, PortChange(remove=(PortBinding(WEB),))).port_bindings == ()
    assert changed(spec, PortChange(remove=(PortBinding(WEB, "", 8080),))).port_bindings == (two,)
    assert changed(spec, PortChange(remove=(PortBinding(WEB, "127.0.0.1"),))).port_bindings == (one,)
    with pytest.raises(Invalid, match="port 9:80/tcp is not published"):
        changed(spec, PortChange(remove=(PortBinding(WEB, "", 9),)))


def test_of_all_exposed_ports_the_others_stay() -> None:
    spec = changed(bound(every=True), PortChange(remove=(PortBinding(WEB),)))
    assert (spec.port_bindings, spec.publish_all) == ((PortBinding(OTHER),), False)
    assert changed(bound(every=True), PortChange(add=(PortBinding(Port(82), "", 1, 1),))).publish_all


def test_a_configuration_is_what_a_network_is_made_from() -> None:
    asked = NetworkSpec(
        name="c", config_only=True, ipv6=True, ranges=(AddressRange(subnet="10.0.0.0/24"),), labels={"a": "b"}
    )
    value = configurations.keep(check(asked))
    made = configurations.apply(NetworkSpec(name="n", config_from="c"), value)
    assert (made.ranges, made.ipv6, made.labels) == (asked.ranges, True, {"a": "b"})
    for bad in (
        NetworkSpec(name="n", config_only=True, internal=True),
        NetworkSpec(name="n", config_only=True, config_from="c"),
        NetworkSpec(name="n", config_from="c", ipv6=True),
        NetworkSpec(name="n", config_from="c", options={"x": "y"}),
        NetworkSpec(name="n", ingress=True),
    ):
        with pytest.raises(Denied):
            configurations.check(bad)
