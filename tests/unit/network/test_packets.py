"""Checksums of packets that are sent once more."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.network.packets import checksum, whole


def ip4(protocol: int, segment: bytes) -> bytes:
    head = bytes([0x45, 0]) + (20 + len(segment)).to_bytes(2, "big") + bytes([0, 0, 0, 0, 64, protocol, 0, 0])
    return head + socket.inet_aton("192.0.2.1") + socket.inet_aton("192.0.2.2") + segment


def ip6(protocol: int, segment: bytes) -> bytes:
    head = bytes([0x60, 0, 0, 0]) + len(segment).to_bytes(2, "big") + bytes([protocol, 64])
    both = socket.inet_pton(socket.AF_INET6, "fd00::1") + socket.inet_pton(socket.AF_INET6, "fd00::2")
    return head + both + segment


def right(packet: bytes) -> bool:
    """A receiver's sum over everything is zero (RFC 1071)."""
    if packet[0] >> 4 == 4:
        addresses, protocol, segment = packet[12:20], packet[9], packet[20:]
    else:
        addresses, protocol, segment = packet[8:40], packet[6], packet[40:]
    pseudo = addresses + len(segment).to_bytes(4, "big") + protocol.to_bytes(4, "big")
    return checksum(pseudo + segment) == 0


@given(st.binary(min_size=20, max_size=80), st.sampled_from([6, 17]), st.sampled_from([ip4, ip6]))
def test_the_checksum_is_right(segment: bytes, protocol: int, make: object) -> None:
    assert callable(make)
    packet = make(protocol, segment)
    assert right(whole(packet))
    assert len(whole(packet)) == len(packet)
    assert whole(packet + b"pad") == whole(packet)


def test_other_protocols_stay_and_rubbish_is_refused() -> None:
    assert whole(ip4(132, b"x" * 30)) == ip4(132, b"x" * 30)
    assert whole(ip4(6, b"short")) == ip4(6, b"short")
    for rubbish in (b"", b"\x45", b"\x10" * 60):
        with pytest.raises(ValueError, match="packet"):
            whole(rubbish)
