"""The library on both its back ends: the same objects, values and errors."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from knarr import Engine, Healthcheck, Mount, errors
from knarr.api.client.refusals import DaemonFailed
from tests.support import host
from tests.support.registries import knarr_registry

pytestmark = pytest.mark.asyncio(loop_scope="package")
SERVE = "sh -c 'echo one; echo two >&2; echo hello > /index.html; exec httpd -f -p 80 -h /'"


async def test_a_server_from_run_to_removal(engine: Engine) -> None:
    check = Healthcheck(["test", "-e", "/index.html"], interval=0.1, retries=50)
    async with engine.containers.run(
        "busybox", SERVE, name="web", ports={80: None}, healthcheck=check
    ) as web:
        await web.wait_healthy()
        address = await web.wait_port(80)
        assert (address.host, web.port("80/tcp")) == ("127.0.0.1", address.port)
        assert host.fetch("127.0.0.1", web.port(80)) == "hello\n"
        assert (web.name, web.status, web.details.config.cmd[0]) == ("web", "running", "sh")
        assert web.ip.count(".") == 3
        assert [each.name for each in await engine.containers.list(wanted={"name": "web"})] == ["web"]
        assert (await engine.containers.get("web")).id == web.id
        with pytest.raises(errors.NotFound, match="81/tcp"):
            web.port(81)
    with pytest.raises(errors.NotFound, match="No such container: web"):
        await engine.containers.get("web")


async def test_logs(engine: Engine) -> None:
    async with engine.containers.run(
        "busybox", ["sh", "-c", "echo one; echo two >&2; printf three; sleep 1000"]
    ) as one:
        await one.wait_log("two")
        assert {(line.stream, line.text) async for line in one.logs()} >= {
            ("stdout", "one"),
            ("stderr", "two"),
        }
        async with one.logs(follow=True, timestamps=True) as lines:
            first = await anext(lines)
            assert first.at is not None
            assert first.at.tzinfo is not None
            await one.stop(timeout=0)
            assert {line.text async for line in lines} | {first.text} == {"one", "two", "three"}
        assert [line.text async for line in one.logs(stderr=False, tail=1)] == ["three"]
        with pytest.raises(errors.Invalid, match="without having logged 'four'"):
            await one.wait_log("four")


async def test_processes_beside_it(engine: Engine) -> None:
    async with engine.containers.run("busybox", "sleep 1000") as one:
        assert (await one.exec(["true"])).code == 0
        result = await one.exec(
            ["sh", "-c", "cat; echo $WORD >&2; pwd; exit 3"],
            stdin=b"in",
            env={"WORD": "w"},
            working_dir="/tmp",
        )
        assert result == (3, b"in/tmp\n", b"w\n")
        missing = await one.exec("nothing-like-that")
        assert missing.code == 127
        assert "executable file not found" in missing.text
        async with await one.process("cat") as process:
            await process.write(b"abc")
            assert await anext(aiter(process)) == ("stdout", b"abc")
            await process.close_stdin()
            assert await process.wait() == 0
        async with await one.process(["sh", "-c", "read x; stty size"], tty=True) as terminal:
            await terminal.resize(91, 17)
            await terminal.write(b"\n")
            assert b"17 91" in (await terminal.communicate()).stdout
        async with await one.process("stty size", tty=True, size=(81, 19)) as terminal:
            assert b"19 81" in (await terminal.communicate()).stdout
        large = bytes(range(256)) * 8192
        assert await one.exec("cat", stdin=large) == (0, large, b"")


async def test_one_after_the_other_to_its_end(engine: Engine) -> None:
    assert await engine.containers.output("busybox", "cat", data=b"data") == (0, b"data", b"")
    result = await engine.containers.output(
        "busybox", ["sh", "-c", "echo a; echo b >&2; exit 7"], tmpfs=["/t"], memory="64m"
    )
    assert result == (7, b"a\n", b"b\n")
    assert result.text == "a\n"


async def test_files(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "file").write_text("text")
    (tmp_path / "tree" / "link").symlink_to("below/file")
    async with engine.containers.create("busybox", "true") as one:
        await one.write("/etc/made", b"bytes", mode=0o600)
        assert await one.read("/etc/made") == b"bytes"
        await one.copy_in(tmp_path / "tree", "/srv")
        await one.copy_in(tmp_path / "tree" / "below" / "file", "/tmp/")
        assert await one.read("/tmp/file") == b"text"
        out = await one.copy_out("/srv", tmp_path / "other")
        assert ((out / "link").readlink(), (out / "link").read_text()) == (Path("below/file"), "text")
        (tmp_path / "there").mkdir()
        assert await one.copy_out("/srv/below/file", tmp_path / "there") == tmp_path / "there" / "file"
        assert ("added", "/etc/made") in await one.changes()
        with pytest.raises(errors.NotFound):
            await one.read("/nothing")
        with pytest.raises(errors.Invalid, match="not a regular file"):
            await one.read("/etc")
        assert b"etc/made" in b"".join([piece async for piece in one.export()])


async def test_lives(engine: Engine) -> None:
    async with engine.containers.create("busybox", "sleep 1000", memory="64m") as one:
        assert one.status == "created"
        await one.start()
        await one.start()
        await one.pause()
        assert one.status == "paused"
        await one.unpause()
        await one.rename("other")
        assert (one.name, one.status) == ("other", "running")
        await one.update(memory="32m", restart="on-failure:2")
        assert one.details.raw["HostConfig"]["Memory"] == 32 << 20
        await one.restart(timeout=0)
        ending = asyncio.ensure_future(one.wait())
        await one.kill("KILL")
        assert await ending == (137, "")
        await one.stop()
        assert one.status == "exited"


async def test_use(engine: Engine) -> None:
    async with engine.containers.run("busybox", "sleep 1000", memory="64m") as one:
        usage = await one.usage()
        assert (usage.memory_limit, usage.pids) == (64 << 20, 1)
        async with one.stats() as samples:
            assert (await anext(samples)).pids == 1
        assert [row["CMD"] for row in await one.top()] == ["sleep 1000"]


async def test_networks_and_volumes(engine: Engine) -> None:
    async with (
        engine.networks.create("lib-net", internal=True, labels={"a": "b"}) as network,
        engine.volumes.create("lib-data") as volume,
        engine.containers.run(
            "busybox", "sleep 1000", network="lib-net", aliases=["db"], volumes=["lib-data:/data"]
        ) as one,
        engine.containers.run(
            "busybox", "sleep 1000", mounts=[Mount("/in", "lib-data", read_only=True)]
        ) as two,
    ):
        await one.write("/data/file", b"shared")
        assert (await two.exec("cat /in/file")).text == "shared"
        assert (await two.exec("touch /in/file")).code != 0
        await network.connect(two, aliases=["two"])
        assert set(two.details.network_settings.networks) == {"bridge", "lib-net"}
        assert (await two.exec("ping -c1 -W20 db")).code == 0
        details = await network.refresh()
        assert (details.internal, details.labels, len(details.containers)) == (True, {"a": "b"}, 2)
        assert details.subnets[0].subnet.endswith("/16")
        await network.disconnect(two)
        assert set(two.details.network_settings.networks) == {"bridge"}
        with pytest.raises(errors.Conflict):
            await volume.remove()
        with pytest.raises(errors.Denied):
            await network.remove()
        assert "lib-data" in [each.name for each in await engine.volumes.list()]
        assert "lib-net" in [each.name for each in await engine.networks.list({"driver": "bridge"})]


async def test_events(engine: Engine) -> None:
    async with engine.events({"type": "container", "event": ["create", "start", "die", "destroy"]}) as events:
        async with engine.containers.run("busybox", "false", name="lib-ends") as one:
            assert await one.wait() == (1, "")
        found = [await anext(events) for _ in range(4)]
    assert [event.action for event in found] == ["create", "start", "die", "destroy"]
    assert {event.id for event in found} == {one.id}
    assert found[2].attributes["exitCode"] == "1"


async def test_images(engine: Engine, tmp_path: Path) -> None:
    async with engine.containers.create("busybox", "true") as one:
        await one.write("/etc/mine", b"1")
        made = await one.commit("lib-made:1", changes=['CMD ["cat", "/etc/mine"]'])
    image = await engine.images.get("lib-made:1")
    assert (image.id, image.config.cmd, len(image.layers)) == (made, ("cat", "/etc/mine"), 2)
    await engine.images.tag("lib-made:1", "lib-made:2")
    assert [each.tags for each in await engine.images.list(wanted={"reference": "lib-made"})]
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"".join([piece async for piece in engine.images.save("lib-made:1")]))
    for name in ("lib-made:1", "lib-made:2"):
        await engine.images.remove(name)
    with pytest.raises(errors.NotFound):
        await engine.images.get("lib-made:1")
    assert await engine.images.load(archive) == ["lib-made:1"]
    assert (await engine.images.history("lib-made:1"))[0].size >= 0
    assert await engine.containers.output("lib-made:1") == (0, b"1", b"")
    await engine.images.remove("lib-made:1")


async def test_transfers(engine: Engine, tmp_path: Path) -> None:
    with knarr_registry(tmp_path) as port:
        name = f"127.0.0.1:{port}/lib/busybox:1"
        await engine.images.tag("busybox", name)
        pushed = [step async for step in engine.images.push(name)]
        assert "Pushed" in {step.status for step in pushed}
        await engine.images.remove(name)
        pull = engine.images.pull(name)
        steps = [step async for step in pull]
        assert "Pulling from lib/busybox" in {step.status for step in steps}
        image = await pull
        assert image.id == (await engine.images.get(name)).id
        await engine.images.remove(name)
        async with engine.containers.run(name, "sleep 1000") as one:
            assert one.details.config.image == name
        await engine.images.remove(name)
        with pytest.raises(errors.KnarrError, match=r"unknown|not found"):
            await engine.images.pull(f"127.0.0.1:{port}/lib/nothing")


async def test_build(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS base\nARG WORD=none\nCOPY . /srv/\nRUN echo $WORD > /word\nFROM base\nCMD cat /word; find /srv -type f | sort\n"
    )
    (tmp_path / ".dockerignore").write_text("*.log\nsecrets\n!keep.log\nDockerfile\n")
    for name in ("kept", "a.log", "keep.log", "secrets/one", "below/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    building = engine.images.build(tmp_path, tag="lib-built:1", args={"WORD": "given"}, labels={"a": "b"})
    steps = [step.stream async for step in building]
    assert any("COPY" in step for step in steps)
    image = await building
    assert (image.tags, image.config.labels) == (("lib-built:1",), {"a": "b"})
    found = (await engine.containers.output("lib-built:1")).text.split()
    assert {name for name in found if "ocker" not in name} == {
        "given",
        "/srv/kept",
        "/srv/keep.log",
        "/srv/below/b.txt",
    }
    await engine.images.remove("lib-built:1")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN exit 9\n")
    with pytest.raises(DaemonFailed, match="9"):
        await engine.images.build(tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nNOTHING\n")
    with pytest.raises(errors.KnarrError, match=r"(?i)unknown instruction: NOTHING"):
        await engine.images.build(tmp_path)


async def test_errors(engine: Engine) -> None:
    with pytest.raises(errors.Invalid):
        await engine.containers.run(
            "busybox", "true", network="no-such-network", aliases=["UPPER case"], name="/bad name"
        )
    with pytest.raises(errors.NoSuchCommand):
        await engine.containers.run("busybox", "nothing-like-that")
    with pytest.raises(errors.NotFound):
        await engine.containers.run("lib-nothing", "true", pull="never")
    async with engine.containers.run("busybox", "sleep 1000", name="lib-one", ports={80: None}) as one:
        with pytest.raises(errors.Conflict, match="lib-one"):
            await engine.containers.create("busybox", "true", name="lib-one")
        with pytest.raises(errors.Conflict):
            await engine.containers.run("busybox", "true", ports={80: one.port(80)})
        with pytest.raises(errors.Invalid, match="no health check"):
            await one.wait_healthy()
        with pytest.raises(TimeoutError):
            await one.wait_port(80, timeout=0.2)
    assert await engine.containers.list(all=True) == []


async def broken() -> AsyncIterator[bytes]:
    yield b"x" * 1000
    raise ZeroDivisionError


async def test_a_stream_that_breaks(engine: Engine) -> None:
    with pytest.raises((ZeroDivisionError, errors.KnarrError, DaemonFailed)):
        await engine.images.load(broken())
    assert (await engine.info()).cpus > 0


async def test_many_at_a_time(engine: Engine) -> None:
    results = await asyncio.gather(*(engine.containers.output("busybox", ["echo", str(n)]) for n in range(8)))
    assert [each.text for each in results] == [f"{n}\n" for n in range(8)]
    assert await engine.containers.prune() == ((), 0)


async def test_what_it_is(engine: Engine) -> None:
    assert (await engine.version()).os == "linux"
    assert engine.api_version == (await engine.version()).api_version
    assert (await engine.info()).raw["OSType"] == "linux"
    assert (await engine.ask("GET", "/images/json", {"all": True}))[0]["RepoTags"] == ["busybox:latest"]
