"""The embedded name server: answers from a table, and forwarding between real ones on loopback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from dnslib import QTYPE, RCODE, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from knarr.network.dns import answers
from knarr.network.dns.resolver import Resolver, Upstream


class Table:
    """Names of a test."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self._names = names

    def addresses(self, name: str) -> Sequence[str] | None:
        return self._names.get(name)

    def name(self, address: str) -> str | None:
        return next((name for name, found in self._names.items() if address in found), None)


TABLE = Table({"web": ["10.0.0.2"], "many": ["10.0.0.3", "10.0.0.4"], "six": ["10.0.0.5", "fd00::5"]})


def ask(name: str, kind: str = "A", table: Table = TABLE) -> DNSRecord | None:
    found = answers.answer(DNSRecord.question(name, kind), table, lambda addresses: None)
    return DNSRecord.parse(found) if found is not None else None


def told(name: str, kind: str = "A") -> list[str]:
    reply = ask(name, kind)
    assert reply is not None
    assert reply.header.rcode == RCODE.NOERROR
    return [str(each.rdata) for each in reply.rr]


def test_addresses() -> None:
    assert told("web") == ["10.0.0.2"]
    assert told("WEB.") == ["10.0.0.2"]
    assert told("many") == ["10.0.0.3", "10.0.0.4"]
    assert told("six", "AAAA") == ["fd00::5"]


def test_a_name_without_an_address_of_that_family_is_empty_not_missing() -> None:
    assert told("web", "AAAA") == []


def test_reverse() -> None:
    assert told("2.0.0.10.in-addr.arpa", "PTR") == ["web."]
    reverse = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"
    assert told(reverse, "PTR") == ["six."]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("elsewhere", "A"),
        ("web", "MX"),
        ("9.0.0.10.in-addr.arpa", "PTR"),
        ("x.ip6.arpa", "PTR"),
        ("a", "PTR"),
    ],
)
def test_what_is_not_ours(name: str, kind: str) -> None:
    assert ask(name, kind) is None


def test_the_answer_repeats_id_and_question() -> None:
    query = DNSRecord.question("web")
    found = answers.answer(query, TABLE, lambda addresses: None)
    assert found is not None
    reply = DNSRecord.parse(found)
    assert reply.header.id == query.header.id
    assert str(reply.q.qname) == "web."
    assert QTYPE[reply.q.qtype] == "A"
    assert (reply.header.qr, reply.header.ra) == (1, 1)


@given(st.binary(max_size=80))
def test_garbage_is_no_query(message: bytes) -> None:
    record = answers.parse(message)
    assert record is None or len(record.questions) == 1


@contextlib.asynccontextmanager
async def serving(table: Table, upstreams: Sequence[Upstream]) -> AsyncIterator[Upstream]:
    """A resolver on a free port of loopback."""
    tcp = socket.socket()
    tcp.bind(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", port))
    resolver = Resolver(table, upstreams)
    await resolver.serve(udp, tcp)
    try:
        yield ("127.0.0.1", port)
    finally:
        resolver.close()
        for _ in range(3):  # closed transports let go of their sockets in the loop's next turns
            await asyncio.sleep(0)


async def look(server: Upstream, name: str, *, tcp: bool = False) -> DNSRecord:
    query = DNSRecord.question(name)
    return DNSRecord.parse(await asyncio.to_thread(query.send, server[0], server[1], tcp=tcp, timeout=30))


@pytest.mark.parametrize("tcp", [False, True])
async def test_own_names_and_those_of_others(tcp: bool) -> None:
    world = Table({"example.org": ["192.0.2.7"]})
    async with serving(world, ()) as outside, serving(TABLE, [outside]) as server:
        assert [str(each.rdata) for each in (await look(server, "web", tcp=tcp)).rr] == ["10.0.0.2"]
        assert [str(each.rdata) for each in (await look(server, "example.org", tcp=tcp)).rr] == ["192.0.2.7"]


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_dead_server_is_passed_over(tcp: bool) -> None:
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        gone = ("127.0.0.1", dead.getsockname()[1])
        world = Table({"example.org": ["192.0.2.7"]})
        async with serving(world, ()) as outside, serving(TABLE, [gone, outside]) as server:
            assert len((await look(server, "example.org", tcp=tcp)).rr) == 1


@pytest.mark.parametrize("tcp", [False, True])
async def test_without_servers_the_rest_of_the_world_fails(tcp: bool) -> None:
    async with serving(TABLE, ()) as server:
        assert (await look(server, "example.org", tcp=tcp)).header.rcode == RCODE.SERVFAIL


async def test_many_at_once() -> None:
    world = Table({f"host{number}.example": [f"192.0.2.{number}"] for number in range(100)})
    async with serving(world, ()) as outside, serving(TABLE, [outside]) as server:
        replies = await asyncio.gather(*(look(server, f"host{number}.example") for number in range(100)))
    assert [str(reply.rr[0].rdata) for reply in replies] == [f"192.0.2.{number}" for number in range(100)]


async def test_one_container_does_not_take_all_of_the_daemons_descriptors() -> None:
    async with serving(TABLE, ()) as server:
        held = [await asyncio.open_connection(*server) for _ in range(64)]
        reader, writer = await asyncio.open_connection(*server)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
        held[0][1].close()
        await held[0][1].wait_closed()
        reply = None
        while reply is None:  # until the server has seen that one of them is gone
            with contextlib.suppress(Exception):
                reply = await look(server, "web", tcp=True)
        assert [str(each.rdata) for each in reply.rr] == ["10.0.0.2"]
        for _, other in held:
            other.close()
