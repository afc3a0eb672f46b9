"""Sends on to containers the connections that the host's own firewall has let in (docs/decisions/0011).

The first packet of a connection to a published port runs through the host's rules at the input hook as if it were for the host.
Our last chain there (`rules`) drops what got through and tells us of it by nfnetlink_log; we send it once more from the host,
where our output chain translates it. The rest of the connection follows its translation in the kernel.
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Iterator

from knarr.kernel.netlink.log import open_log, read_packets
from knarr.network.packets import whole

log = logging.getLogger(__name__)
_GROUPS = 64
_FIRST = 27438


class Admission:
    """Listens on the running loop, in the network namespace of the thread that made it. `group` is what rules log to."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._log, self.group = _listen()
        try:
            self._four = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            self._six = _raw_six()
        except BaseException:
            self._log.close()
            raise
        self._loop.add_reader(self._log, self._hear)

    def close(self) -> None:
        """Connections that come from now on wait in vain."""
        self._loop.remove_reader(self._log)
        for sock in (self._log, self._four, self._six):
            if sock is not None:
                sock.close()

    def _hear(self) -> None:
        for packet in read_packets(self._log):
            try:
                self._send(whole(packet))
            except (OSError, ValueError) as error:
                log.debug("a connection cannot be sent on: %s", error)

    def _send(self, packet: bytes) -> None:
        if packet[0] >> 4 == 4:
            self._four.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))
        elif self._six is not None:
            self._six.sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))


def _listen() -> tuple[socket.socket, int]:
    """Each daemon of a namespace has a group of its own; one that may have none is refused as for one that is taken."""
    refused = OSError(errno.EPERM, "every group of nfnetlink_log is taken")
    for group in _candidates():
        try:
            return open_log(group), group
        except PermissionError as error:
            refused = error
    raise refused


def _candidates() -> Iterator[int]:
    for number in range(_GROUPS):
        yield _FIRST + (os.getpid() + number) % _GROUPS


def _raw_six() -> socket.socket | None:
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    except OSError:
        return None
    sock.setblocking(False)
    return sock
