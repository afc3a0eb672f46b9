"""What only an engine in this process has: a place of its own, a data root that is kept, a socket for others."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knarr import Engine, errors
from knarr.sync import Engine as SyncEngine
from tests.support import host
from tests.support.daemons import CLIENTS, Daemon
from tests.system.library.conftest import CHANGES


@pytest.fixture
def bridge() -> Iterator[str]:
    """A bridge's name that is free again afterwards."""
    yield "ktlibkeep0"
    subprocess.run(["ip", "link", "delete", "ktlibkeep0"], check=False)
    host.nft("delete", "table", "ip", "knarr-ktlibkeep0")


async def test_containers_outlive_a_data_root_that_is_kept(
    busybox: Path, tmp_path: Path, bridge: str
) -> None:
    settings: dict[str, Any] = {"exec_root": tmp_path / "exec", "bridge": bridge, "bip": "10.234.1.1/24"}
    async with Engine.embedded(tmp_path / "data", **settings) as engine:
        await engine.images.import_root(busybox, "busybox", changes=CHANGES)
        one = await engine.containers.run("busybox", "sleep 1000", name="kept")
        with pytest.raises(errors.Invalid, match="another daemon is running"):
            await Engine.embedded(tmp_path / "data", **settings).open()
    async with Engine.embedded(tmp_path / "data", **settings) as engine:
        again = await engine.containers.get("kept")
        assert (again.id, again.status) == (one.id, "running")
        await again.remove(force=True)


async def test_others_may_come_in(busybox: Path, tmp_path: Path) -> None:
    async with Engine.embedded(listen=tmp_path / "sock") as engine:
        environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/sock"}
        process = await asyncio.create_subprocess_exec(
            str(CLIENTS / "usr/bin/docker"),
            "import",
            str(busybox),
            "busybox",
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        assert await process.wait() == 0
        assert [each.tags for each in await engine.images.list()] == [("busybox:latest",)]
    assert not (tmp_path / "sock").exists()


async def test_wrong_settings() -> None:
    with pytest.raises(errors.Invalid, match="unknown setting: colour"):
        Engine.embedded(colour="red")


async def test_nobody_listens(tmp_path: Path) -> None:
    for address in (f"unix://{tmp_path}/none", "tcp://127.0.0.1:1"):
        with pytest.raises(errors.Unavailable, match="Cannot connect to the knarr daemon"):
            await Engine.connect(address).open()
    for wrong in ("http://x", "unix://", "tcp://x", "nothing"):
        with pytest.raises(errors.Invalid, match="unable to parse docker host"):
            Engine.connect(wrong)


def test_without_await(busybox: Path) -> None:
    with SyncEngine.embedded() as engine:
        engine.images.import_root(busybox, "busybox", changes=CHANGES)
        assert engine.containers.output("busybox", "cat", data=b"x") == (0, b"x", b"")
        with (
            engine.networks.create("net") as network,
            engine.volumes.create() as volume,
            engine.containers.run(
                "busybox", "sh -c 'echo up; exec sleep 1000'", volumes=[f"{volume.name}:/data"]
            ) as one,
        ):
            assert one.wait_log("up").text == "up"
            assert [line.text for line in one.logs()] == ["up"]
            with one.logs(follow=True) as lines:
                assert next(iter(lines)).text == "up"
            one.write("/data/x", b"y")
            assert one.exec("cat /data/x").text == "y"
            network.connect(one)
            assert "net" in one.details.network_settings.networks
            network.disconnect(one)
            one.stop(timeout=0)
            assert one.wait().code == 137
            with pytest.raises(errors.NotFound):
                engine.images.get("nothing")
        assert engine.containers.list(all=True) == []
        assert [image.tags for image in engine.images.list()] == [("busybox:latest",)]


RELAY = """#!{python}
import os, selectors, socket, sys
assert sys.argv[-7:-1] == ["-l", "me", "-p", "2222", "--", "build"] and "dial-stdio" in sys.argv[-1], sys.argv
other = socket.socket(socket.AF_UNIX)
other.connect({path!r})
selector = selectors.DefaultSelector()
selector.register(0, selectors.EVENT_READ)
selector.register(other, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        if key.fd == 0:
            if data := os.read(0, 65536):
                other.sendall(data)
            else:
                selector.unregister(0)
                other.shutdown(socket.SHUT_WR)
        elif data := other.recv(65536):
            os.write(1, data)
        else:
            sys.exit()
"""


async def test_over_ssh(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a program in ssh's place that joins its streams with the socket, as the command on the other side does."""
    program = tmp_path / "ssh"
    program.write_text(RELAY.format(python=sys.executable, path=str(daemon.socket)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    async with Engine.connect("ssh://me@build:2222") as engine:
        assert await engine.containers.output("busybox", "cat", data=b"far away") == (0, b"far away", b"")
        assert [each.tags for each in await engine.images.list()] == [("busybox:latest",)]
