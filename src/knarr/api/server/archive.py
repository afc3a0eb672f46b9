"""/containers/{name}/archive: docker cp. The path's facts go in a header, with Go's mode bits."""

import base64
import stat

from knarr.api.server.call import Call, Route
from knarr.api.server.replies import encode
from knarr.engine.values import PathStat
from knarr.loop.http.messages import Response
from knarr.model.errors import Invalid
from knarr.model.moments import rfc3339

_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}
_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


def go_mode(mode: int) -> int:
    """Linux's st_mode as Go's os.FileMode."""
    bits = sum(go for linux, go in _BITS.items() if mode & linux)
    return (mode & 0o777) | _KINDS.get(stat.S_IFMT(mode), 0) | bits


def _header(found: PathStat) -> str:
    value = {
        "name": found.name,
        "size": found.size,
        "mode": go_mode(found.mode),
        "mtime": rfc3339(found.mtime),
        "linkTarget": found.link_target,
    }
    return base64.b64encode(encode(value)).decode()


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise Invalid("bad parameter: pathcannot be empty")  # dockerd's words
    return path


async def head(call: Call) -> Response:
    """HEAD /containers/{name}/archive"""
    found = await call.engine.containers.archive_stat(call.name, _path(call))
    return Response(200, b"", {"X-Docker-Container-Path-Stat": _header(found)})


async def get(call: Call) -> Response:
    """GET /containers/{name}/archive"""
    found, body = await call.engine.containers.archive_get(call.name, _path(call))
    headers = {"X-Docker-Container-Path-Stat": _header(found), "Content-Type": "application/x-tar"}
    return Response(200, body, headers)


async def put(call: Call) -> Response:
    """PUT /containers/{name}/archive"""
    await call.engine.containers.archive_put(
        call.name,
        _path(call),
        call.request.body(),
        no_overwrite_dir_non_dir=call.flag("noOverwriteDirNonDir"),
        copy_uid_gid=call.flag("copyUIDGID"),
    )
    return Response(200)


ROUTES = (
    Route("HEAD", "/containers/{name}/archive", head),
    Route("GET", "/containers/{name}/archive", get),
    Route("PUT", "/containers/{name}/archive", put),
)
