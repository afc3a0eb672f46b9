"""One container: what can be done with it. The handle itself never changes but for `details`, what was last seen of it."""

import asyncio
import contextlib
import posixpath
from collections.abc import AsyncIterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from knarr.api.client.aio import Answer, Http
from knarr.library import files, logs, options, reading
from knarr.library.feeds import Feed, Moment, json_lines, moment
from knarr.library.process import Process
from knarr.library.values import Address, Change, ContainerDetails, ExecResult, Exit, LogLine, Stats
from knarr.model.errors import Invalid, KnarrError, NotFound, Unavailable, Unchanged

_KINDS: tuple[Any, ...] = ("modified", "added", "deleted")
_SOON = 0.05
_TRIES = 200


class Container:
    """Made by `engine.containers`. Methods raise the kinds of `knarr.errors`."""

    def __init__(self, http: Http, details: ContainerDetails, host: str):
        self._http, self._host = http, host
        self.id = details.id
        self.details = details

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.id[:12]}>"

    @property
    def name(self) -> str:
        """As last seen."""
        return self.details.name.removeprefix("/")

    @property
    def status(self) -> str:
        """As last seen."""
        return self.details.state.status

    @property
    def ip(self) -> str:
        """Its address on its first network, as last seen; empty while it does not run."""
        found = (each.ip for each in self.details.network_settings.networks.values())
        return next((ip for ip in found if ip), "")

    def address(self, port: int | str) -> Address:
        """Where a published port answers, as last seen. Raises NotFound."""
        key = options.port(port)
        bindings = self.details.network_settings.ports.get(key) or ()
        for each in sorted(bindings, key=lambda binding: ":" in binding.host_ip):
            local = each.host_ip in ("", "0.0.0.0", "::")
            return Address(self._host if local else each.host_ip, int(each.host_port))
        raise NotFound(f"no public port '{key}' published for {self.name}")

    def port(self, port: int | str) -> int:
        """The host's port that a port is published at, as last seen. Raises NotFound."""
        return self.address(port).port

    async def refresh(self) -> ContainerDetails:
        """Looks again."""
        value = await self._http.ask("GET", self._path("json"))
        self.details = reading.read_whole(ContainerDetails, value)
        return self.details

    async def start(self) -> None:
        """Does nothing where it runs."""
        with contextlib.suppress(Unchanged):
            async with await self._http.request("POST", self._path("start"), starting=True):
                pass
        await self.refresh()

    async def stop(self, timeout: int | None = None, signal: str = "") -> None:
        """Does nothing where it does not run; after `timeout` seconds it is killed."""
        await self._act("stop", {"t": timeout, "signal": signal or None})

    async def restart(self, timeout: int | None = None) -> None:
        """Stops it if it runs, and starts it."""
        await self._act("restart", {"t": timeout})

    async def kill(self, signal: str | int = "KILL") -> None:
        """Sends a signal."""
        await self._act("kill", {"signal": str(signal)})

    async def pause(self) -> None:
        """Freezes its processes."""
        await self._act("pause")

    async def unpause(self) -> None:
        """And lets them go on."""
        await self._act("unpause")

    async def rename(self, name: str) -> None:
        """Another name."""
        await self._act("rename", {"name": name})

    async def update(
        self, *, memory: int | str = 0, cpus: float = 0, pids_limit: int = 0, restart: str = ""
    ) -> None:
        """Other limits, other restart policy; what is not given stays."""
        body: dict[str, Any] = {}
        if memory:
            body["Memory"] = options.size(memory)
        if cpus:
            body["NanoCpus"] = int(cpus * 1_000_000_000)
        if pids_limit:
            body["PidsLimit"] = pids_limit
        if restart:
            name, _, count = restart.partition(":")
            body["RestartPolicy"] = {"Name": name, "MaximumRetryCount": int(count or 0)}
        await self._http.ask("POST", self._path("update"), body=body)
        await self.refresh()

    async def remove(self, *, force: bool = False, volumes: bool = False) -> None:
        """With `volumes` its anonymous ones too."""
        await self._http.ask("DELETE", f"/containers/{self.id}", {"force": force, "v": volumes})

    async def wait(self) -> Exit:
        """Until it does not run."""
        value = await self._http.ask("POST", self._path("wait"))
        return Exit(int(value["StatusCode"]), str((value.get("Error") or {}).get("Message", "")))

    async def wait_healthy(self, timeout: float = 60) -> None:
        """Until its health check passes. Raises Invalid without one or where it ended, TimeoutError."""
        asked = {"container": [self.id], "event": ["health_status", "die"]}
        begin = json_lines(self._http, "/events", {"filters": asked})
        async with asyncio.timeout(timeout):
            async with Feed(begin, Answer.lines) as events:
                if self._healthy(await self.refresh()):
                    return
                async for _ in events:
                    if self._healthy(await self.refresh()):
                        return

    def _healthy(self, details: ContainerDetails) -> bool:
        if not details.state.running:
            raise Invalid(f"container {self.name} is not running (exit code {details.state.exit_code})")
        if details.state.health is None or details.state.health.status in ("", "none"):
            raise Invalid(f"container {self.name} has no health check")
        return details.state.health.status == "healthy"

    async def wait_log(self, text: str, timeout: float = 60, *, count: int = 1) -> LogLine:
        """Until `text` has been in `count` lines of its log since it was made. Raises Invalid where it ended, TimeoutError."""
        async with asyncio.timeout(timeout):
            async with self.logs(follow=True) as lines:
                async for line in lines:
                    count -= text in line.text
                    if not count:
                        return line
        raise Invalid(f"container {self.name} ended without having logged {text!r}")

    async def wait_port(self, port: int | str, timeout: float = 60) -> Address:
        """Until a published TCP port takes connections. Raises NotFound where it is not published, TimeoutError."""
        address = self.address(port)
        async with asyncio.timeout(timeout):
            while not await _answers(address):
                if not (await self.refresh()).state.running:
                    raise Invalid(
                        f"container {self.name} is not running (exit code {self.details.state.exit_code})"
                    )
                await asyncio.sleep(_SOON)
        return address

    def logs(
        self,
        *,
        follow: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        since: Moment = None,
        until: Moment = None,
        tail: int | None = None,
        timestamps: bool = False,
    ) -> Feed[LogLine]:
        """Its lines, one after the other; with `follow` until it ends."""
        query = {
            "follow": follow,
            "stdout": stdout,
            "stderr": stderr,
            "since": moment(since),
            "until": moment(until),
            "tail": tail,
            "timestamps": timestamps,
        }
        framed = not self.details.config.tty
        return Feed(
            json_lines(self._http, self._path("logs"), query),
            lambda answer: logs.lines(answer, framed, timestamps),
        )

    async def exec(
        self,
        command: str | Sequence[str],
        *,
        stdin: bytes | None = None,
        env: Mapping[str, str] | Sequence[str] = (),
        user: str = "",
        working_dir: str = "",
        privileged: bool = False,
    ) -> ExecResult:
        """Runs a command in it, to its end."""
        process = await self.process(
            command,
            stdin=stdin is not None,
            env=env,
            user=user,
            working_dir=working_dir,
            privileged=privileged,
        )
        async with process:
            return await process.communicate(stdin)

    async def process(
        self,
        command: str | Sequence[str],
        *,
        stdin: bool = True,
        tty: bool = False,
        size: tuple[int, int] = (0, 0),
        env: Mapping[str, str] | Sequence[str] = (),
        user: str = "",
        working_dir: str = "",
        privileged: bool = False,
    ) -> Process:
        """Starts a command in it, to talk to; use it with `async with`. `size` is its terminal's width and height."""
        body: dict[str, Any] = {
            "Cmd": options.words(command),
            "AttachStdin": stdin,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": tty,
            "Env": options.environment(env),
            "User": user,
            "WorkingDir": working_dir,
            "Privileged": privileged,
        }
        made = str((await self._http.ask("POST", self._path("exec"), body=body))["Id"])
        begin: dict[str, Any] = {"Detach": False, "Tty": tty}
        if any(size):
            begin["ConsoleSize"] = [size[1], size[0]]
        channel, _ = await self._http.hijack(f"/exec/{made}/start", body=begin)

        async def ended() -> int:
            while True:
                value = await self._http.ask("GET", f"/exec/{made}/json")
                if not value["Running"] and value["ExitCode"] is not None:
                    return int(value["ExitCode"])
                await asyncio.sleep(_SOON)

        async def resized(width: int, height: int) -> None:
            for _ in range(_TRIES):  # the connection is taken over before the process begins
                try:
                    await self._http.ask("POST", f"/exec/{made}/resize", {"h": height, "w": width})
                    return
                except KnarrError:
                    if (await self._http.ask("GET", f"/exec/{made}/json"))["ExitCode"] is not None:
                        return
                    await asyncio.sleep(_SOON)
            raise Unavailable(f"the terminal of exec {made} cannot be resized")

        return Process(channel, not tty, ended, resized)

    async def attach(self, *, stdin: bool = True, logs: bool = False) -> Process:
        """Its main process, to talk to; with `logs` first what it wrote before."""
        query = {"stream": True, "stdin": stdin, "stdout": True, "stderr": True, "logs": logs}
        channel, _ = await self._http.hijack(self._path("attach"), query)

        async def ended() -> int:
            return (await self.wait()).code

        async def resized(width: int, height: int) -> None:
            await self._http.ask("POST", self._path("resize"), {"h": height, "w": width})

        return Process(channel, not self.details.config.tty, ended, resized)

    async def read(self, path: str) -> bytes:
        """A file's content."""
        async with await self._archive(path) as answer:
            return await files.content(answer.pieces(), path)

    async def write(self, path: str, data: bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        """Makes or replaces a file; its directory must be there."""
        directory, name = posixpath.split(path)
        archive = files.single(name, data, mode, uid, gid)

        async def once() -> AsyncIterator[bytes]:
            yield archive

        await self._put(directory or "/", once())

    async def copy_in(self, source: str | PathLike[str], target: str) -> None:
        """A file or directory of this host becomes `target`; one that ends with / is the directory that gets it. It is root's."""
        path = Path(source)
        directory, name = posixpath.split(target)
        with await files.packed(path, name or path.absolute().name) as file:
            await self._put(directory or "/", files.stream(file))

    async def copy_out(self, path: str, target: str | PathLike[str]) -> Path:
        """A file or directory becomes `target`, or goes into it where that is a directory; where it is now."""
        async with await self._archive(path) as answer:
            return await files.unpacked(answer.pieces(), Path(target))

    async def _archive(self, path: str) -> Answer:
        return await self._http.request("GET", self._path("archive"), {"path": path})

    async def _put(self, directory: str, stream: AsyncIterator[bytes]) -> None:
        query = {"path": directory, "noOverwriteDirNonDir": True}
        async with await self._http.request("PUT", self._path("archive"), query, stream=stream):
            pass

    def export(self) -> Feed[bytes]:
        """Its whole file system, as the pieces of a tar."""
        return Feed(json_lines(self._http, self._path("export"), {}), Answer.pieces)

    def stats(self) -> Feed[Stats]:
        """What it uses, about every second."""

        async def items(answer: Answer) -> AsyncIterator[Stats]:
            async for line in answer.lines():
                yield reading.stats(line)

        return Feed(json_lines(self._http, self._path("stats"), {}), items)

    async def usage(self) -> Stats:
        """What it uses, seen for a second."""
        return reading.stats(await self._http.ask("GET", self._path("stats"), {"stream": "false"}))

    async def top(self) -> list[dict[str, str]]:
        """Its processes, as ps -ef lists them."""
        value = await self._http.ask("GET", self._path("top"))
        return [dict(zip(value["Titles"], row, strict=False)) for row in value["Processes"]]

    async def changes(self) -> list[Change]:
        """What differs from its image."""
        value = await self._http.ask("GET", self._path("changes"))
        return [Change(_KINDS[each["Kind"]], each["Path"]) for each in value or ()]

    async def commit(
        self, name: str, *, message: str = "", author: str = "", changes: Sequence[str] = ()
    ) -> str:
        """An image of it, called `name`; its id."""
        repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "")
        query: dict[str, Any] = {"container": self.id, "repo": repository, "tag": tag or None}
        query |= {"comment": message or None, "author": author or None, "changes": list(changes)}
        return str((await self._http.ask("POST", "/commit", query, {}))["Id"])

    async def _act(self, verb: str, query: Mapping[str, Any] | None = None) -> None:
        with contextlib.suppress(Unchanged):
            await self._http.ask("POST", self._path(verb), query)
        with contextlib.suppress(NotFound):  # it may remove itself at its end
            await self.refresh()

    def _path(self, verb: str) -> str:
        return f"/containers/{self.id}/{verb}"


async def _answers(address: Address) -> bool:
    """A relay before the container takes every connection, and closes it at once where nobody listens behind it."""
    try:
        reader, writer = await asyncio.open_connection(*address)
    except OSError:
        return False
    try:
        async with asyncio.timeout(_SOON):
            return bool(await reader.read(1))
    except TimeoutError:
        return True
    except OSError:
        return False
    finally:
        writer.close()
