"""Netlink bytes: pyroute2 reads what we write and writes what we read."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from knarr.kernel.netlink import codec, route


def decoded(kind: type, request: codec.Request) -> dict[str, object]:
    """The attributes that pyroute2 sees in a request."""
    message = kind(codec.pack(request, 1))
    message.decode()
    assert message["header"]["type"] == request.type
    return {"message": message, **{name: message.get_attr(name) for name, _ in message["attrs"]}}


def test_a_veth_pair_is_what_pyroute2_reads() -> None:
    seen = decoded(ifinfmsg, route.new_veth("kvx", "eth0", "02:42:ac:11:00:02", 7, 3, 1400))
    assert (seen["IFLA_IFNAME"], seen["IFLA_MASTER"], seen["IFLA_MTU"]) == ("kvx", 3, 1400)
    info = seen["message"].get_attr("IFLA_LINKINFO")  # type: ignore[attr-defined]
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert peer.get_attr("IFLA_IFNAME") == "eth0"
    assert peer.get_attr("IFLA_ADDRESS") == "02:42:ac:11:00:02"
    assert peer.get_attr("IFLA_NET_NS_FD") in (7, b"\x07\0\0\0")


def test_an_address_and_a_route_are_what_pyroute2_reads() -> None:
    seen = decoded(ifaddrmsg, route.new_address(5, "10.0.0.2", 24, "10.0.0.255"))
    assert (seen["IFA_LOCAL"], seen["IFA_ADDRESS"], seen["IFA_BROADCAST"]) == (
        "10.0.0.2",
        "10.0.0.2",
        "10.0.0.255",
    )
    seen = decoded(rtmsg, route.new_default_route("10.0.0.1", 5))
    assert (seen["RTA_GATEWAY"], seen["RTA_OIF"]) == ("10.0.0.1", 5)


def test_a_link_that_pyroute2_writes_is_read() -> None:
    message = ifinfmsg()
    message["index"], message["flags"] = 9, 1
    message["attrs"] = [
        ("IFLA_IFNAME", "br0"),
        ("IFLA_MTU", 1500),
        ("IFLA_MASTER", 4),
        ("IFLA_ADDRESS", "02:42:00:00:00:01"),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}),
    ]
    message["header"]["type"] = route.RTM_NEWLINK
    message.encode()
    (parsed,) = codec.parse_messages(bytes(message.data))
    expected = route.Link(9, "br0", True, "02:42:00:00:00:01", 1500, 4, "bridge")
    assert route.parse_link(parsed) == expected


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=50), max_size=10))
def test_attributes_come_back(attributes: dict[int, bytes]) -> None:
    data = b"".join(codec.attribute(kind, payload) for kind, payload in attributes.items())
    assert len(data) % 4 == 0
    assert codec.parse_attributes(data) == attributes


@given(st.binary(max_size=200))
def test_garbage_is_refused_with_a_value_error_or_read(data: bytes) -> None:
    for parse in (codec.parse_attributes, lambda each: list(codec.parse_messages(each))):
        try:
            parse(data)
        except ValueError:
            continue


def test_the_kernel_answers_and_explains() -> None:
    with codec.open_route() as sock:
        (answer,) = codec.exchange(sock, [route.get_link("lo")])
        assert route.parse_link(answer).name == "lo"
        names = {route.parse_link(each).name for each in codec.dump(sock, route.get_links())}
        assert names == {name for _, name in socket.if_nameindex()}
        with pytest.raises(OSError, match=r"No such device.*find link ktn-none"):
            codec.exchange(sock, [route.get_link("ktn-none")])
        (again,) = codec.exchange(sock, [route.get_link("lo")])
        assert again.body[:8] == answer.body[:8]


def test_a_bad_hardware_address_is_a_value_error() -> None:
    for bad in ("", "02:42", "02:42:00:00:00:zz"):
        with pytest.raises(ValueError, match=r"MAC|hexadecimal"):
            route.parse_mac(bad)
