"""Errors on their way through gRPC: ours as statuses, and a client's as failures of the build."""

import base64
import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from knarr.build.errors import BadBuild, BuildFailed, Place
from knarr.grpc.status import RpcError
from knarr.grpc.status import Status as Code
from knarr.model.errors import Invalid, KnarrError, NotFound

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any as Packed

_NO_TEXT = re.compile("[\ud800-\udfff]")
_DETAILS = "github.com/moby/buildkit"


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """What the client's half of a call raises, as the build's failure."""
    try:
        yield
    except RpcError as error:
        raise BuildFailed(error.message or error.status.name) from error
    except ConnectionError as error:
        raise BuildFailed("the client's session ended") from error


def failure(error: KnarrError) -> RpcError:
    """An error as a gRPC status, with the place in the Dockerfile as BuildKit's clients look for it."""
    code = Code.UNKNOWN
    if isinstance(error, NotFound):
        code = Code.NOT_FOUND
    elif isinstance(error, Invalid) and not isinstance(error, BadBuild):
        code = Code.INVALID_ARGUMENT
    return RpcError(code, clean(str(error)), list(_details(error)))


def clean(text: str) -> str:
    """Without what is no text: a Dockerfile may have any bytes, a message may not."""
    return text if text.isascii() else _NO_TEXT.sub("\ufffd", text)


def _details(error: KnarrError) -> "Iterable[Packed]":
    if not isinstance(error, BuildFailed):
        return
    yield from getattr(error, "details", ())
    for each in (error.place, *error.around):
        if each is not None:
            yield _packed("errdefs.Source+json", _source(each))
    if error.vertex:
        yield _packed("errdefs.Vertex+json", {"digest": error.vertex})
    if error.exit_code is not None:
        yield _packed("gatewayapi.ExitMessage+json", {"Code": error.exit_code})


def _packed(name: str, value: Mapping[str, Any]) -> "Packed":
    from google.protobuf.any_pb2 import Any as Packed

    return Packed(type_url=f"{_DETAILS}/{name}", value=json.dumps(value).encode())


def _source(place: Place) -> dict[str, Any]:
    return {
        "info": {
            "filename": place.filename,
            "data": base64.b64encode(place.source).decode(),
            "language": "Dockerfile",
        },
        "ranges": [
            {
                "start": {"line": first, "character": column},
                "end": {"line": last, "character": end},
            }
            for (first, column), (last, end) in place.ranges
        ],
    }
