"""A little internet of namespaces: the "host" is one too, so that a test touches nothing of the machine.

`@isolated` runs a coroutine in a process of its own whose network namespace is the host; when it ends, everything that it
made is gone with the namespace.
"""

import asyncio
import functools
import importlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from knarr.kernel.netlink import codec, route
from knarr.kernel.process import CLONE_NEWNET, setns, unshare
from knarr.model.ports import Port, PortBinding
from knarr.network.bridge import Bridge
from knarr.network.config import NetworkConfig
from knarr.network.plan import EndpointPlan, plan_endpoint

T = TypeVar("T")
Scenario = Callable[[], Awaitable[None]]
PATIENCE = 60
SILENCE = 1.0
SKIPPED = "SKIPPED: "
"""What a scenario prints that this kernel has no means for."""
OUTSIDE_HOST, OUTSIDE = "10.210.200.1", "10.210.200.2"
OUTSIDE_HOST6, OUTSIDE6 = "fd00:210:200::1", "fd00:210:200::2"


def isolated(scenario: Scenario) -> Callable[[], None]:
    """Makes a test of a coroutine function."""

    @pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")
    def test() -> None:
        command = [sys.executable, "-m", __name__, scenario.__module__, scenario.__name__]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        if SKIPPED in done.stdout:
            pytest.skip(done.stdout.partition(SKIPPED)[2].strip())

    test.__name__ = scenario.__name__
    test.__doc__ = scenario.__doc__
    test.__module__ = scenario.__module__
    test.scenario = scenario  # type: ignore[attr-defined]
    return test


class Namespace:
    """A network namespace with a loopback; functions run in it in a thread of their own."""

    def __init__(self) -> None:
        self.fd, self.route = _in_thread(_new_namespace)

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """Calls the function in the namespace; sockets that it makes stay there."""

        def entered() -> T:
            setns(self.fd, CLONE_NEWNET)
            return function(*args)

        return _in_thread(entered)

    def ip(self, *arguments: str) -> None:
        """Runs ip(8) in the namespace."""
        self.run(functools.partial(subprocess.run, ["ip", *arguments], check=True))

    def serve(self, port: int, protocol: str = "tcp") -> None:
        """Answers every client at the port with the address that it seems to come from."""
        target = _answer_streams if protocol == "tcp" else _answer_datagrams
        sock = self.run(_server_socket, port, protocol)
        threading.Thread(target=target, args=(sock,), daemon=True).start()

    async def ask(self, address: str, port: int, protocol: str = "tcp") -> str:
        """The server's answer; raises OSError when refused."""
        return await asyncio.to_thread(self.run, ask, address, port, protocol)

    async def silent(self, address: str, port: int, protocol: str = "tcp") -> bool:
        """Whether the port is refused or says nothing."""
        return await asyncio.to_thread(self.run, silent, address, port, protocol)

    def addresses(self) -> set[str]:
        """The IPv4 addresses of the namespace."""
        return {ip for _, ip, _ in route.parse_addresses(codec.dump(self.route, route.get_addresses()))}

    def close(self) -> None:
        """Lets go of the namespace."""
        self.route.close()
        os.close(self.fd)


class World:
    """The host with one `Bridge`, and an outside namespace cabled to it."""

    def __init__(self, bridge: Bridge | None = None) -> None:
        self.bridge = bridge or Bridge()
        self.outside = Namespace()
        self._count = 1
        self._cable()

    async def container(
        self, config: NetworkConfig, *bindings: PortBinding, address: str = "", address6: str = ""
    ) -> tuple[Namespace, EndpointPlan]:
        """A wired namespace."""
        self._count += 1
        endpoint_id = f"{self._count:064x}"[::-1]
        namespace = Namespace()
        published = await self.bridge.reserve(
            endpoint_id,
            bindings,
            endpoint=f"c{self._count}",
            config=config,
            four=bool(config.subnet),
            six=bool(address6),
        )
        plan = plan_endpoint(
            config,
            endpoint_id=endpoint_id,
            address=address or (config.subnet and config.subnet.rpartition(".")[0] + f".{self._count}"),
            address6=address6,
            published=published,
        )
        await self.bridge.attach(plan, namespace.fd, namespace.route)
        return namespace, plan

    def _cable(self) -> None:
        host = codec.open_route()
        codec.exchange(
            host, [route.new_veth("ktnout", "eth0", "02:00:00:00:00:02", self.outside.fd, 0, 1500)]
        )
        (answer,) = codec.exchange(host, [route.get_link("ktnout")])
        index = route.parse_link(answer).ifindex
        codec.exchange(
            host,
            [
                route.new_address(index, OUTSIDE_HOST, 24, "10.210.200.255"),
                route.new_address(index, OUTSIDE_HOST6, 64, ""),
            ],
        )
        host.close()
        (answer,) = codec.exchange(self.outside.route, [route.get_link("eth0")])
        index = route.parse_link(answer).ifindex
        codec.exchange(
            self.outside.route,
            [
                route.set_up("eth0"),
                route.new_address(index, OUTSIDE, 24, "10.210.200.255"),
                route.new_address(index, OUTSIDE6, 64, ""),
                route.new_default_route(OUTSIDE_HOST, index),
                route.new_default_route(OUTSIDE_HOST6, index, six=True),
            ],
        )


def config(number: int = 1, **options: Any) -> NetworkConfig:
    """A network of the tests."""
    return NetworkConfig.from_bip(f"ktn{number}", f"ktn{number}", f"10.210.{number}.1/24", **options)


def wish(port: str, host_port: int = 0, host_ip: str = "", last: int = 0) -> PortBinding:
    """`-p host_ip:host_port:port`."""
    return PortBinding(Port.parse(port), host_ip, host_port, last or host_port)


def ask(address: str, port: int, protocol: str = "tcp", patience: float = PATIENCE) -> str:
    """The server's answer; a datagram is sent again until one comes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.settimeout(min(patience, 1.0) if protocol == "udp" else patience)
        sock.connect((address, port))
        return converse(sock, patience)


def converse(sock: socket.socket, patience: float = PATIENCE) -> str:
    """The answer to a question; a question that gets none is asked again, as it may be when a datagram is lost."""
    deadline = time.monotonic() + patience
    while True:
        try:
            sock.send(b"who am I?")
            return sock.recv(100).decode()
        except OSError:
            if sock.type != socket.SOCK_DGRAM or time.monotonic() > deadline:
                raise


def silent(address: str, port: int, protocol: str = "tcp") -> bool:
    """Whether the port is refused or says nothing for a second."""
    try:
        ask(address, port, protocol, SILENCE)
    except OSError:
        return True
    return False


def links() -> set[str]:
    """The names of the host's links."""
    with codec.open_route() as sock:
        return {route.parse_link(each).name for each in codec.dump(sock, route.get_links())}


def nft(*arguments: str, text: str = "") -> str:
    """What nft prints; `text` is its input."""
    return subprocess.run(["nft", *arguments], check=True, capture_output=True, text=True, input=text).stdout


def _in_thread(function: Callable[[], T]) -> T:
    result: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            result.append(function())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def _new_namespace() -> tuple[int, socket.socket]:
    unshare(CLONE_NEWNET)
    sock = codec.open_route()
    codec.exchange(sock, [route.set_up("lo")])
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC), sock


def _server_socket(port: int, protocol: str) -> socket.socket:
    """Of both families; IPv4 clients have mapped addresses."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    if protocol == "tcp":
        sock.listen()
    return sock


def _told(address: str) -> bytes:
    return address.removeprefix("::ffff:").encode()


def _answer_streams(sock: socket.socket) -> None:
    while True:
        client, address = sock.accept()
        with client:
            client.recv(100)
            client.sendall(_told(address[0]))


def _answer_datagrams(sock: socket.socket) -> None:
    while True:
        _, address = sock.recvfrom(100)
        sock.sendto(_told(address[0]), address)


def main(module: str, name: str) -> None:
    """The process of one scenario."""
    unshare(CLONE_NEWNET)
    with codec.open_route() as sock:
        codec.exchange(sock, [route.set_up("lo")])
    scenario: Scenario = getattr(importlib.import_module(module), name).scenario
    asyncio.run(asyncio.wait_for(scenario(), 100))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
