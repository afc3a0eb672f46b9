"""Search: what an index (Docker Hub's, or a registry's) knows under a term, narrowed by Docker's filters."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from knarr.engine import filters as docker_filters
from knarr.engine.images import fetching
from knarr.engine.images.port import Auth
from knarr.engine.images.values import SearchResult
from knarr.model.errors import Invalid, Unavailable

_FILTERS = frozenset({"is-automated", "is-official", "stars"})
_DEFAULT, _MOST = 25, 100
_PATIENCE = 30.0
_LIMIT = 4 << 20


class _Found(msgspec.Struct):
    name: str = ""
    description: str | None = None
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Answer(msgspec.Struct):
    results: list[_Found] = []


async def search(
    term: str, limit: int, filters: Mapping[str, Sequence[str]], auth: Auth | None
) -> list[SearchResult]:
    """The use case."""
    keep = _kept(filters)
    if limit > _MOST:
        raise Invalid(f"limit {limit} is outside the range of [1, {_MOST}]")
    host, name = _index(term)
    if docker_filters.boolean(filters, "is-automated"):
        return []  # no index says of anything any more that it is
    query = urlencode({"q": name, "n": limit if limit > 0 else _DEFAULT})
    url = f"{host}/v1/search?{query}"
    async with fetching.got(url, _authorization(auth), patience=_PATIENCE) as response:
        data = b""
        async for piece in fetching.body(response, url):
            data += piece
            if len(data) > _LIMIT:
                raise Unavailable(f'Get "{url}": an answer of more than {_LIMIT} bytes')
    try:
        answer = msgspec.json.decode(data, type=_Answer)
    except msgspec.MsgspecError as error:
        raise Unavailable(f"cannot read the answer to a search: {error}") from None
    return [
        SearchResult(each.name, each.description or "", each.star_count, each.is_official, each.is_automated)
        for each in answer.results
        if keep(each)
    ]


def _index(term: str) -> tuple[str, str]:
    """The index that is asked, and for what: the first part of a name may be a registry."""
    if "://" in term:
        raise Invalid(f"invalid repository name: repository name ({term}) should not have a scheme")
    host, slash, rest = term.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        return "https://index.docker.io", term.removeprefix("library/")
    if host in ("docker.io", "index.docker.io"):
        return "https://index.docker.io", rest.removeprefix("library/")
    near = host.partition(":")[0] in ("localhost", "127.0.0.1")
    return f"{'http' if near else 'https'}://{host}", rest


def _authorization(auth: Auth | None) -> dict[str, str]:
    name, password = getattr(auth, "username", ""), getattr(auth, "password", "")
    if not name:
        return {}
    return {"Authorization": f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"}


def _kept(filters: Mapping[str, Sequence[str]]) -> Any:
    docker_filters.check(filters, _FILTERS)
    official = docker_filters.boolean(filters, "is-official")
    docker_filters.boolean(filters, "is-automated")
    stars = max((_number(text) for text in filters.get("stars", ())), default=0)

    def keep(found: _Found) -> bool:
        return (official is None or found.is_official == official) and found.star_count >= stars

    return keep


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid(
            f"invalid filter 'stars={text}': strconv.Atoi: parsing \"{text}\": invalid syntax"
        ) from None
