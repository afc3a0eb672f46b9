"""One Dockerfile with its context and flags, and what a build of it is judged by."""

import hashlib
import http.client
import io
import json
import re
import socket
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.daemons import Daemon

_CONFIG = (
    "User",
    "Env",
    "Entrypoint",
    "Cmd",
    "WorkingDir",
    "Labels",
    "ExposedPorts",
    "Volumes",
    "StopSignal",
    "Healthcheck",
    "Shell",
    "OnBuild",
)
_BASE = (
    "bin/",
    "dev",
    "proc",
    "sys",
    ".dockerenv",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/mtab",
)
# What differs between two runs: references of snapshots, and where dockerd has them mounted.
_REFERENCE = re.compile(r"[a-z0-9-]{25,}(::[a-z0-9]{25,})?")
_MERGED = re.compile(r"/\S*/merged(?=/)")


class Case(NamedTuple):
    """`files`: path → content; a trailing slash makes a directory, a content "-> x" a link, "+x " before it a program.
    `output`: what a RUN prints is judged, too."""

    name: str
    dockerfile: str
    files: Mapping[str, str] = {}
    args: tuple[str, ...] = ()
    output: bool = False


def lay_out(case: Case, root: Path) -> Path:
    """The context on disk."""
    context = root / case.name.replace("/", "-")
    context.mkdir()
    (context / "Dockerfile").write_text(case.dockerfile)
    for name, content in case.files.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        elif content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_text(content.removeprefix("+x "))
            path.chmod(0o755 if content.startswith("+x ") else 0o644)
    return context


def judged(daemon: Daemon, case: Case, root: Path) -> dict[str, Any]:
    """What came of it: exit code and error, or the image's configuration, history and files."""
    context = lay_out(case, root)
    tag = f"case-{case.name.replace('/', '-').lower()}"
    done = daemon.docker(
        "build",
        "--progress",
        "plain",
        "--provenance=false",
        "-t",
        tag,
        *_placed(case, context),
        str(context),
        check=False,
    )
    found: dict[str, Any] = {"exit": done.returncode}
    if case.output:
        found["output"] = _output(done.stderr)
    if done.returncode:
        return {**found, "error": _error(done.stderr)}
    _, data = _get(daemon, f"/v1.47/images/{tag}/json")
    image = json.loads(data)
    config = {key: image["Config"].get(key) for key in _CONFIG}
    found["config"] = {key: value for key, value in config.items() if value}
    _, data = _get(daemon, f"/v1.47/images/{tag}/history")
    found["history"] = [_step(step["CreatedBy"]) for step in json.loads(data)]
    if not any(argument.startswith("--output") for argument in case.args):
        found["files"] = _files(daemon, tag)
    return found


def _step(text: str) -> str:
    """BuildKit's versions print a health check in different ways."""
    return text.partition(" ")[0] if text.startswith("HEALTHCHECK") else text


def _placed(case: Case, context: Path) -> list[str]:
    return [argument.replace("{context}", str(context)) for argument in case.args]


def _files(daemon: Daemon, tag: str) -> dict[str, str]:
    """Each file that the base has not, in one line."""
    status, body = daemon.api("POST", "/v1.47/containers/create", {"Image": tag, "Cmd": ["x"]})
    assert status == 201, body
    try:
        _, data = _get(daemon, f"/v1.47/containers/{body['Id']}/export")
    finally:
        daemon.api("DELETE", f"/v1.47/containers/{body['Id']}?force=1")
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/")
            if name and name != "etc" and not name.startswith(_BASE):
                found[name] = _line(archive, member)
    return dict(sorted(found.items()))


def _line(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    kind = {tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.LNKTYPE: "h"}.get(member.type, "-")
    text = f"{kind} {member.mode:04o} {member.uid}:{member.gid}"
    if member.islnk() or member.issym():
        return f"{text} -> {member.linkname}"
    if member.isreg():
        content = archive.extractfile(member)
        assert content is not None
        text += f" {hashlib.sha256(content.read()).hexdigest()[:16]}"
    xattrs = {key: value for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr.")}
    return text + (f" {sorted(xattrs.items())}" if xattrs else "")


def _get(daemon: Daemon, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(daemon.socket))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _error(text: str) -> list[str]:
    """The excerpt of the Dockerfile and the error, without what differs between two runs."""
    lines = text.splitlines()
    start = next((at for at, line in enumerate(lines) if re.match(r"^\S*Dockerfile\S*:\d+$", line)), None)
    if start is None:
        start = next((at for at, line in enumerate(lines) if line.startswith("ERROR: ")), len(lines))
    kept = [line for line in lines[start:] if not line.startswith(("View build details", "WARNING"))]
    return [_REFERENCE.sub("ID", _MERGED.sub("", line)).rstrip() for line in kept if line.strip()]


def _output(text: str) -> list[str]:
    """What steps printed, lines like `#8 0.073 text`, sorted: which of two streams comes first is chance."""
    return sorted(
        found.group(1) for line in text.splitlines() if (found := re.match(r"^#\d+ \d+\.\d+ (.*)$", line))
    )
