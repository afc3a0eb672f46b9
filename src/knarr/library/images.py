"""`engine.images`: built, pulled, pushed, loaded, saved, listed, tagged, removed."""

import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from knarr.api.client.aio import Answer, Http
from knarr.library import files, reading
from knarr.library.feeds import Feed, Filters, Transfer, filters, json_lines
from knarr.library.values import History, ImageDetails, ImageSummary, Pruned
from knarr.model.errors import Invalid
from knarr.model.reference import Reference


class Login(NamedTuple):
    """Credentials for one transfer."""

    username: str
    password: str
    server: str = ""


class Images:
    """Images of one engine."""

    def __init__(self, http: Http):
        self._http = http

    def build(
        self,
        context: str | PathLike[str],
        *,
        tag: str = "",
        dockerfile: str = "Dockerfile",
        args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        target: str = "",
        platform: str = "",
        no_cache: bool = False,
        pull: bool = False,
    ) -> Transfer[ImageDetails]:
        """From a directory, without what its .dockerignore leaves out. `await` it for the image, iterate it for the steps (in
        `stream`). Raises Invalid for a wrong Dockerfile, DaemonFailed for a step that fails."""
        query = {
            "t": tag or None,
            "dockerfile": dockerfile,
            "buildargs": dict(args or {}),
            "labels": dict(labels or {}),
            "target": target or None,
            "platform": platform or None,
            "nocache": no_cache,
            "pull": pull,
            "rm": True,
        }
        made: list[str] = []

        async def begin() -> Answer:
            archive = await files.context(Path(context), dockerfile)
            try:
                return await self._http.request("POST", "/build", query, stream=files.sent(archive))
            except BaseException:
                archive.close()
                raise

        def note(line: Mapping[str, Any]) -> None:
            made.extend([line["aux"]["ID"]] if "ID" in (line.get("aux") or {}) else [])

        return Transfer(begin, lambda: self.get(made[-1] if made else tag), note)

    def pull(self, name: str, *, platform: str = "", login: Login | None = None) -> Transfer[ImageDetails]:
        """`await` it for the image, iterate it for the progress. Raises NotFound, Denied, Unavailable."""
        ref = Reference.parse(name).tagged()
        query = {
            "fromImage": ref.familiar_name,
            "tag": str(ref.digest or ref.tag),
            "platform": platform or None,
        }
        return Transfer(
            lambda: self._http.request("POST", "/images/create", query, headers=_header(login)),
            lambda: self.get(name),
        )

    def push(self, name: str, *, login: Login | None = None) -> Transfer[None]:
        """`await` it, or iterate it for the progress."""
        ref = Reference.parse(name).tagged()
        return Transfer(
            lambda: self._http.request(
                "POST",
                f"/images/{ref.familiar_name}/push",
                {"tag": ref.tag},
                headers=_header(login) or {"X-Registry-Auth": "e30="},
            ),
            _nothing,
        )

    async def load(self, source: str | PathLike[str] | AsyncIterable[bytes]) -> list[str]:
        """An archive that `save` (or docker save) made: a file's path, or its pieces. The names, or ids, of its images."""
        if not isinstance(source, str | PathLike):
            return await self._load(source)
        with Path(source).open("rb") as file:
            return await self._load(files.stream(file))

    async def _load(self, pieces: AsyncIterable[bytes]) -> list[str]:
        found: list[str] = []
        loading: Transfer[None] = Transfer(
            lambda: self._http.request("POST", "/images/load", {"quiet": True}, stream=pieces), _nothing
        )
        async for line in loading:
            head, _, name = line.stream.strip().partition(": ")
            if head in ("Loaded image", "Loaded image ID"):
                found.append(name)
        return found

    def save(self, *names: str) -> Feed[bytes]:
        """An archive of these images, in pieces."""
        return Feed(json_lines(self._http, "/images/get", {"names": list(names)}), Answer.pieces)

    async def import_root(
        self, source: str | PathLike[str] | AsyncIterable[bytes], name: str, *, changes: Sequence[str] = ()
    ) -> ImageDetails:
        """A tar of a root file system becomes an image; `changes` are a Dockerfile's lines, such as `CMD ["sh"]`."""
        if not isinstance(source, str | PathLike):
            return await self._import(source, name, changes)
        with Path(source).open("rb") as file:
            return await self._import(files.stream(file), name, changes)

    async def _import(self, pieces: AsyncIterable[bytes], name: str, changes: Sequence[str]) -> ImageDetails:
        ref = Reference.parse(name).tagged()
        query = {"fromSrc": "-", "repo": ref.familiar_name, "tag": ref.tag, "changes": list(changes)}
        return await Transfer(
            lambda: self._http.request("POST", "/images/create", query, stream=pieces), lambda: self.get(name)
        )

    async def get(self, name: str) -> ImageDetails:
        """By name or id. Raises NotFound."""
        return reading.read_whole(ImageDetails, await self._http.ask("GET", f"/images/{name}/json"))

    async def history(self, name: str) -> list[History]:
        """How it was made, the last step first."""
        return reading.read(list[History], await self._http.ask("GET", f"/images/{name}/history"))

    async def list(self, *, all: bool = False, wanted: Filters = None) -> list[ImageSummary]:
        """`wanted` are docker's filters, such as `{"reference": "nginx"}`."""
        query: dict[str, Any] = {"all": all, "filters": filters(wanted)}
        return reading.read(list[ImageSummary], await self._http.ask("GET", "/images/json", query))

    async def tag(self, name: str, new: str) -> None:
        """Another name for an image."""
        ref = Reference.parse(new).tagged()
        if ref.digest:
            raise Invalid("refusing to create a tag with a digest reference")
        await self._http.ask("POST", f"/images/{name}/tag", {"repo": ref.familiar_name, "tag": ref.tag})

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Takes the name away, and with the last one the image."""
        await self._http.ask("DELETE", f"/images/{name}", {"force": force})

    async def prune(self, wanted: Filters = None) -> Pruned:
        """Removes images without a name; with `{"dangling": False}` all that no container uses."""
        value = await self._http.ask("POST", "/images/prune", {"filters": filters(wanted)})
        removed = (each.get("Deleted") or each.get("Untagged") for each in value.get("ImagesDeleted") or ())
        return Pruned(tuple(map(str, removed)), int(value.get("SpaceReclaimed") or 0))


def _header(login: Login | None) -> dict[str, str]:
    if login is None:
        return {}
    told = {"username": login.username, "password": login.password, "serveraddress": login.server}
    return {"X-Registry-Auth": urlsafe_b64encode(json.dumps(told).encode()).decode()}


async def _nothing() -> None:
    return


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    """Bytes that are here already, where pieces are asked for."""
    yield data
