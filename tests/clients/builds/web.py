"""A small web: files, a git repository, and a registry that fails in each way.

An image's name says what becomes of it: `WEB/fails-404` has no manifest, `WEB/good` can be had.
"""

import contextlib
import hashlib
import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.clients.builds.archives import TIME, archive

_DATE = "Sat, 03 Jan 1998 04:05:06 GMT"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
       for what, value in (("NAME", "A"), ("EMAIL", "a@example.org"), ("DATE", f"{TIME} +0000"))},
}  # fmt: skip


class Answer(NamedTuple):
    """`cut`: how many bytes fewer come than are promised."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    cut: int = 0


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Registry:
    """One image under many names."""

    def __init__(self) -> None:
        plain = archive({"hello": b"hello\n"}, "")
        self.layer = archive({"hello": b"hello\n"}, "gz")
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["GOOD=1"]},
            "history": [{"created_by": "made"}],
            "rootfs": {"type": "layers", "diff_ids": [_digest(plain)]},
        }
        self.config = json.dumps(config).encode()
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": self._descriptor(_CONFIG, self.config),
                "layers": [self._descriptor(_LAYER, self.layer)],
            }
        ).encode()

    @property
    def digest(self) -> str:
        """The manifest's, in hexadecimal."""
        return hashlib.sha256(self.manifest).hexdigest()

    @staticmethod
    def _descriptor(kind: str, data: bytes) -> dict[str, object]:
        return {"mediaType": kind, "digest": _digest(data), "size": len(data)}

    def answer(self, path: str) -> Answer:
        """To a path below /v2/."""
        name, _, rest = path.partition("/")
        kind, _, ref = rest.partition("/")
        if kind == "manifests":
            return self._manifest(name)
        data = {_digest(self.config): self.config, _digest(self.layer): self.layer}.get(ref)
        if data is None or (name == "fails-blob" and data is self.layer):
            return self._error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if name == "fails-config" and data is self.config:
            return Answer(200, data.replace(b"GOOD=1", b"GOOD=2"))
        return Answer(200, data, (("Docker-Content-Digest", ref),))

    def _manifest(self, name: str) -> Answer:
        found = {
            "fails-401": self._error(401, "UNAUTHORIZED", "authentication required"),
            "fails-403": self._error(403, "DENIED", "requested access to the resource is denied"),
            "fails-404": self._error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            "fails-418": Answer(418, b"short and stout"),
            "fails-500": self._error(500, "UNKNOWN", "unknown error"),
            "fails-json": Answer(200, b"{", (("Content-Type", _MANIFEST),)),
            "fails-cut": Answer(200, b"", (("Content-Type", _MANIFEST),), cut=-1),
        }
        headers = (("Content-Type", _MANIFEST), ("Docker-Content-Digest", _digest(self.manifest)))
        return found.get(name, Answer(200, self.manifest, headers))

    @staticmethod
    def _error(status: int, code: str, message: str) -> Answer:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        asks = (("WWW-Authenticate", 'Basic realm="case"'),) if status == 401 else ()
        return Answer(status, body, (("Content-Type", "application/json"), *asks))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # an answer in clear to TLS's first words makes clients try without
    root: Path
    registry: Registry

    def do_GET(self) -> None:
        self._send(body=True)

    def do_HEAD(self) -> None:
        self._send(body=False)

    def _send(self, *, body: bool) -> None:
        found = self._answer(self.path.partition("?")[0])
        self.close_connection = bool(found.cut)
        if found.cut < 0:
            return
        self.send_response(found.status)
        for name, value in found.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(found.body) + found.cut))
        self.end_headers()
        if body:
            self.wfile.write(found.body)

    def _answer(self, path: str) -> Answer:
        if path.startswith("/v2/"):
            return self.registry.answer(path.removeprefix("/v2/")) if path != "/v2/" else Answer(200, b"{}")
        if path == "/fails-500":
            return Answer(500, b"broken")
        if path == "/fails-cut":
            return Answer(200, b"half of", cut=1000)
        if path == "/moved":
            return Answer(302, b"", (("Location", "/file.txt"),))
        file = self.root / path.lstrip("/")
        if not file.is_file():
            return Answer(404, b"no such thing")
        named = (("Content-Disposition", 'attachment; filename="named.txt"'),) if path == "/named" else ()
        return Answer(200, file.read_bytes(), (("Last-Modified", _DATE), *named))

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that goes is none."""


@contextlib.contextmanager
def serving(root: Path) -> Iterator[str]:
    """The address of a web whose files are below `root`."""
    (root / "file.txt").write_text("from the web\n")
    (root / "named").write_text("named\n")
    (root / "tree.tar.gz").write_bytes(archive({"d/f": b"in a tar\n"}, "gz"))
    (root / "Dockerfile.web").write_text("FROM busybox\nENV A=web\n")
    (root / "context.tar.gz").write_bytes(
        archive({"Dockerfile": b"FROM busybox\nCOPY f /x\n", "f": b"1"}, "gz")
    )
    _repository(root)
    handler = type("Handler", (_Handler,), {"root": root, "registry": Registry()})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _repository(root: Path) -> None:
    """Two commits on main, the first one tagged, and a branch."""
    work = root / "work"
    (work / "sub").mkdir(parents=True)
    (work / "Dockerfile").write_text("FROM busybox\nCOPY . /x/\n")
    (work / "sub/Dockerfile").write_text("FROM busybox\nCOPY g.txt /y\n")
    (work / "sub/g.txt").write_text("g\n")
    (work / "f.txt").write_text("first\n")
    (work / "link").symlink_to("f.txt")
    (work / "run.sh").write_text("#!/bin/sh\n")
    (work / "run.sh").chmod(0o755)
    _git(work, "init", "-q", "-b", "main")
    _git(work, "add", ".")
    _git(work, "commit", "-qm", "First")
    _git(work, "tag", "v1")
    (work / "f.txt").write_text("second\n")
    _git(work, "commit", "-qam", "Second")
    _git(work, "branch", "other", "v1")
    _git(root, "clone", "-q", "--bare", str(work), "repo.git")
    _git(root / "repo.git", "update-server-info")


def _git(directory: Path, *words: str) -> None:
    subprocess.run(
        ["git", *words], cwd=directory, env={**os.environ, **_ENVIRONMENT}, check=True, capture_output=True
    )
