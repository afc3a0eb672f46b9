"""Queries about containers, answered from a table of names. No I/O; messages are dnslib's.

What Docker answers is answered: A and AAAA of names (none of the asked family: an empty answer, not NXDOMAIN), PTR of
addresses. Everything else is somebody else's to answer.
"""

from collections.abc import Callable, Sequence
from ipaddress import IPv6Address
from typing import Any, Protocol

from dnslib import AAAA, PTR, QTYPE, RCODE, RR, A, DNSError, DNSRecord

TTL = 600
_IN_ADDR, _IP6 = ".in-addr.arpa", ".ip6.arpa"

Order = Callable[[list[str]], None]


class Names(Protocol):
    """What a container may ask for. Names come without the last dot, in lower case."""

    def addresses(self, name: str) -> Sequence[str] | None:
        """IPv4 and IPv6 addresses; None for a name that is nobody's here."""

    def name(self, address: str) -> str | None:
        """Who has an address."""


def parse(message: bytes) -> DNSRecord | None:
    """A query with one question; None for anything else."""
    try:
        record = DNSRecord.parse(message)
    except DNSError:
        return None
    return record if record.header.qr == 0 and len(record.questions) == 1 else None


def answer(query: DNSRecord, names: Names, order: Order) -> bytes | None:
    """The answer, or None if the question is not ours. `order` puts several addresses in turn."""
    question = query.questions[0]
    name = str(question.qname).rstrip(".").lower()
    kind = QTYPE[question.qtype]
    if kind == "PTR":
        owner = names.name(_address(name))
        return _reply(query, [PTR(owner)]) if owner else None
    if kind not in ("A", "AAAA"):
        return None
    found = names.addresses(name)
    if found is None:
        return None
    wanted = [address for address in found if (":" in address) == (kind == "AAAA")]
    order(wanted)
    return _reply(query, [A(address) if kind == "A" else AAAA(address) for address in wanted])


def _reply(query: DNSRecord, data: Sequence[Any]) -> bytes:
    reply = query.reply(ra=1, aa=0)
    question = query.questions[0]
    for each in data:
        reply.add_answer(RR(question.qname, question.qtype, ttl=TTL, rdata=each))
    return bytes(reply.pack())


def failure(query: DNSRecord) -> bytes:
    """SERVFAIL: nobody could be asked."""
    reply = query.reply(ra=1, aa=0)
    reply.header.rcode = RCODE.SERVFAIL
    return bytes(reply.pack())


def _address(name: str) -> str:
    """The address that a reverse name stands for, "" if it is none."""
    if name.endswith(_IN_ADDR):
        return ".".join(reversed(name.removesuffix(_IN_ADDR).split(".")))
    if name.endswith(_IP6):
        digits = "".join(reversed(name.removesuffix(_IP6).split(".")))
        groups = [digits[at : at + 4] for at in range(0, len(digits), 4)]
        try:
            return str(IPv6Address(":".join(groups)))
        except ValueError:
            return ""
    return ""
