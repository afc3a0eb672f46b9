"""Networks of containers as the engine wires them."""

import asyncio
import socket
from typing import Any

import pytest

from knarr.engine.errors import NetworkInUse, NoSuchNetwork
from knarr.engine.values import NetworkSpec
from knarr.model.container import EndpointSpec
from knarr.model.errors import Conflict, NotFound
from knarr.model.ports import Port, PortBinding
from knarr.network.bridge import Bridge
from knarr.network.errors import PortTaken
from tests.system.engine.conftest import Lab, until, within

SERVE = ("sh", "-c", "while :; do echo hello | nc -l -p 80; done")


def ask(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            return sock.recv(100).decode()
    except OSError:
        return ""


async def test_a_published_port_answers_and_is_given_back(lab: Lab) -> None:
    made = await lab.start(*SERVE, port_bindings=(PortBinding(Port(80)),), name="web")
    view = await lab.containers.inspect(made)
    (port,) = {each.host_port for each in view.published}
    await until(lambda: asyncio.to_thread(ask, port), "the port answers")
    taken = (PortBinding(Port(80), "", port, port),)
    other = await lab.create("true", name="second", port_bindings=taken)
    with pytest.raises(PortTaken, match=f"Bind for 0.0.0.0:{port} failed: port is already allocated"):
        await lab.containers.start(other)
    await lab.containers.remove(made, force=True)
    await lab.containers.start(other)


async def test_none_and_host(lab: Lab) -> None:
    assert "eth0" not in await lab.output("ip", "link", network_mode="none")
    ours = await lab.output("readlink", "/proc/self/ns/net", network_mode="host")
    import os

    assert ours.strip() == os.readlink("/proc/self/ns/net")


async def test_another_containers_network(lab: Lab) -> None:
    first = await lab.start("sleep", "1000", name="first", hostname="box")
    address = (await lab.containers.inspect(first)).endpoints[0].ipv4
    text = await lab.output(
        "sh", "-c", "ip -o addr; hostname; cat /etc/hosts", network_mode="container:first"
    )
    assert address in text
    assert "box" in text.splitlines()
    await lab.containers.kill(first)
    made = await lab.create("true", network_mode="container:first")
    with pytest.raises(Conflict, match="of a non running container"):
        await lab.containers.start(made)
    lost = await lab.create("true", network_mode="nowhere")
    with pytest.raises(NotFound, match="network nowhere not found"):
        await lab.containers.start(lost)


async def test_shared_pid_and_ipc(lab: Lab) -> None:
    await lab.start("sleep", "4321", name="first", ipc_mode="shareable")
    assert "sleep 4321" in await lab.output("ps", pid_mode="container:first")
    await lab.output("sh", "-c", "echo x > /dev/shm/f", ipc_mode="container:first")
    assert await lab.output("cat", "/dev/shm/f", ipc_mode="container:first") == "x\n"


async def test_the_list_of_networks(lab: Lab) -> None:
    made = await lab.start("sleep", "1000", name="one")
    names = [network.name for network in await lab.engine.networks.list()]
    assert names == ["bridge", "host", "none"]
    bridge = await lab.engine.networks.inspect("bridge")
    (endpoint,) = bridge.endpoints
    assert endpoint.container_id == made
    assert endpoint.ipv4.endswith("/24")
    assert (await lab.engine.networks.inspect(bridge.id[:10])).name == "bridge"
    with pytest.raises(NoSuchNetwork, match="network nowhere not found"):
        await lab.engine.networks.inspect("nowhere")


async def test_no_network_goes_while_a_container_is_on_its_way_into_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lab.engine.networks.create(NetworkSpec(name="front"))
    made = await lab.create("sleep", "1000", network_mode="front", endpoints=(EndpointSpec(network="front"),))
    asked, go_on = asyncio.Event(), asyncio.Event()
    reserve = Bridge.reserve

    async def slow(*args: Any, **options: Any) -> Any:
        asked.set()
        await go_on.wait()
        return await reserve(*args, **options)

    monkeypatch.setattr(Bridge, "reserve", slow)
    starting = asyncio.create_task(lab.containers.start(made))
    await within(asked.wait())
    with pytest.raises(NetworkInUse):
        await lab.engine.networks.remove("front")
    go_on.set()
    await within(starting)
    with pytest.raises(NetworkInUse):
        await lab.engine.networks.remove("front")
    await lab.containers.remove(made, force=True)
    await lab.engine.networks.remove("front")
