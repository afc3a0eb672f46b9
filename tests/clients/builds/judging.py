"""What a build is judged by: exit code and error, or the image's configuration, history and files."""

import hashlib
import http.client
import io
import json
import re
import socket
import tarfile
from typing import Any

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
# What a registry that fails is said to have said.
_REFUSED = re.compile(r"(failed to resolve source metadata for \S+): (?!.*: not found$).*")
_MERGED = re.compile(r"/\S*/merged(?=/)|/\S*/buildkit-mount\d+/")
_FIXED = 1_000_000_000
# What busybox has: told of as one.
_BUSYBOX = {
    "bin": "d 0755 0:0",
    "etc/group": "- 0644 0:0 c1914731a4b5bdb8",
    "etc/passwd": "- 0644 0:0 929051e07129dd60",
    "root": "d 0755 0:0",
    "tmp": "d 1777 0:0",
    "usr": "d 0755 0:0",
    "usr/bin": "d 0755 0:0",
    "var": "d 0755 0:0",
    "var/www": "d 0755 0:0",
}


def image(daemon: Daemon, tag: str) -> dict[str, Any]:
    """What a built image says of itself and has."""
    _, data = _get(daemon, f"/v1.47/images/{tag}/json")
    value = json.loads(data)
    config = {key: value["Config"].get(key) for key in _CONFIG}
    _, data = _get(daemon, f"/v1.47/images/{tag}/history")
    return {
        "exit": 0,
        "config": {key: value for key, value in config.items() if value},
        "history": [_step(step["CreatedBy"]) for step in json.loads(data)],
        "files": _files(daemon, tag),
    }


def _step(text: str) -> str:
    """BuildKit's versions print a health check in different ways."""
    return text.partition(" ")[0] if text.startswith("HEALTHCHECK") else text


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
    if found.items() >= _BUSYBOX.items():
        found = {
            "busybox": "all of it",
            **{name: line for name, line in found.items() if name not in _BUSYBOX},
        }
    return dict(sorted(found.items()))


def _line(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    """Times are told of files that have one of the last century: the time of a build is its own."""
    kind = {tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.LNKTYPE: "h", tarfile.FIFOTYPE: "p"}
    text = f"{kind.get(member.type, '-')} {member.mode:04o} {member.uid}:{member.gid}"
    if member.islnk() or member.issym():
        return f"{text} -> {member.linkname}"
    if member.isreg() and 0 < member.mtime < _FIXED:
        text += f" t={int(member.mtime)}"
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


def error(text: str) -> list[str]:
    """The excerpt of the Dockerfile and the error, without what differs between two runs."""
    lines = text.splitlines()
    start = next((at for at, line in enumerate(lines) if re.match(r"^\S*Dockerfile\S*:\d+$", line)), None)
    if start is None:
        start = next((at for at, line in enumerate(lines) if line.startswith("ERROR: ")), len(lines))
    kept = [line for line in lines[start:] if not line.startswith(("View build details", "WARNING"))]
    return [_told(line) for line in kept if line.strip()]


def _told(line: str) -> str:
    return _REFUSED.sub(r"\1", _REFERENCE.sub("ID", _MERGED.sub("", line))).rstrip()


def output(text: str) -> list[str]:
    """What steps printed, lines like `#8 0.073 text`, sorted: which of two streams comes first is chance."""
    return sorted(
        found.group(1) for line in text.splitlines() if (found := re.match(r"^#\d+ \d+\.\d+ (.*)$", line))
    )
