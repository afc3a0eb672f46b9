"""IP packets as bytes: their transport checksums, which a virtual link may have left to hardware that is not there. Pure.

Out of scope: SCTP's (CRC32c, which links do not leave out) and IPv6 with extension headers, which stay as they are.
"""

_TCP, _UDP = 6, 17
_AT = {_TCP: 16, _UDP: 6}
_LEAST = {_TCP: 20, _UDP: 8}


def whole(packet: bytes) -> bytes:
    """The packet with a right checksum of TCP or UDP. Raises ValueError for what is no IP packet."""
    if not packet:
        raise ValueError("an empty packet")
    version = packet[0] >> 4
    if version == 4 and len(packet) >= 20:
        start, protocol = (packet[0] & 15) * 4, packet[9]
        packet, addresses = packet[: int.from_bytes(packet[2:4], "big")], packet[12:20]
    elif version == 6 and len(packet) >= 40:
        start, protocol, addresses = 40, packet[6], packet[8:40]
        packet = packet[: 40 + int.from_bytes(packet[4:6], "big")]
    else:
        raise ValueError("no packet of IPv4 or IPv6")
    at = _AT.get(protocol)
    if at is None or len(packet) - start < _LEAST[protocol]:
        return packet
    segment = bytearray(packet[start:])
    segment[at : at + 2] = bytes(2)
    pseudo = addresses + len(segment).to_bytes(4, "big") + protocol.to_bytes(4, "big")
    segment[at : at + 2] = (checksum(pseudo + segment) or 0xFFFF).to_bytes(2, "big")
    return packet[:start] + bytes(segment)


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
