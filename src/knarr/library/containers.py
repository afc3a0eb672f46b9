"""`engine.containers`: made, found, listed, pruned."""

import contextlib
from typing import Any, Unpack

from knarr.api.client.aio import Http
from knarr.library import options as wishes
from knarr.library import reading
from knarr.library.container import Container
from knarr.library.feeds import Filters, Made, filters
from knarr.library.images import Images
from knarr.library.options import Command, Options
from knarr.library.values import ContainerDetails, ContainerSummary, ExecResult, Pruned
from knarr.model.errors import NotFound


class Containers:
    """Containers of one engine; `host` is where their published ports answer."""

    def __init__(self, http: Http, images: Images, host: str):
        self._http, self._images, self._host = http, images, host

    def create(self, image: str, command: Command = None, **options: Unpack[Options]) -> Made[Container]:
        """Makes a container and does not start it. `await` leaves it; `async with` removes it at the end."""
        return Made(lambda: self._create(image, command, options), _remove)

    def run(self, image: str, command: Command = None, **options: Unpack[Options]) -> Made[Container]:
        """Makes a container and starts it. `await` leaves it; `async with` removes it at the end, running or not."""
        return Made(lambda: self._run(image, command, options), _remove)

    async def output(
        self, image: str, command: Command = None, *, data: bytes | None = None, **options: Unpack[Options]
    ) -> ExecResult:
        """Runs a container to its end, with `data` as its stdin, and removes it: what it wrote, and its exit code."""
        if data is not None:
            options["stdin"] = True
        async with self.create(image, command, **options) as container:
            process = await container.attach(stdin=data is not None)
            async with process:
                await container.start()
                return await process.communicate(data)

    async def _create(self, image: str, command: Command, options: Options) -> Container:
        body = wishes.body(image, command, options)
        query = {"name": options.get("name"), "platform": options.get("platform")}
        pull, platform = options.get("pull", "missing"), options.get("platform", "")
        if pull == "always":
            await self._images.pull(image, platform=platform)
        try:
            made = await self._http.ask("POST", "/containers/create", query, body)
        except NotFound as error:
            if pull != "missing" or "image" not in str(error).lower():
                raise
            await self._images.pull(image, platform=platform)
            made = await self._http.ask("POST", "/containers/create", query, body)
        return await self.get(made["Id"])

    async def _run(self, image: str, command: Command, options: Options) -> Container:
        container = await self._create(image, command, options)
        try:
            await container.start()
        except BaseException:
            with contextlib.suppress(NotFound):
                await _remove(container)
            raise
        return container

    async def get(self, name: str) -> Container:
        """By name, id, or the beginning of an id. Raises NotFound."""
        value = await self._http.ask("GET", f"/containers/{name}/json")
        return Container(self._http, reading.read_whole(ContainerDetails, value), self._host)

    async def list(self, *, all: bool = False, wanted: Filters = None) -> list[ContainerSummary]:
        """Those that run, or all; `wanted` are docker's filters, such as `{"label": "app=web"}`."""
        query: dict[str, Any] = {"all": all, "filters": filters(wanted)}
        return reading.read(list[ContainerSummary], await self._http.ask("GET", "/containers/json", query))

    async def prune(self, wanted: Filters = None) -> Pruned:
        """Removes those that do not run."""
        value = await self._http.ask("POST", "/containers/prune", {"filters": filters(wanted)})
        return Pruned(tuple(value.get("ContainersDeleted") or ()), int(value.get("SpaceReclaimed") or 0))


async def _remove(container: Container) -> None:
    await container.remove(force=True, volumes=True)
