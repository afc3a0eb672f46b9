"""Registries on loopback ports: knarr-registry as its own process, and a small one that does wrong what it is told to."""

import contextlib
import http.server
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.daemons import BIN
from tests.support.images import MANIFEST, Image, digest

Fault = Callable[[str, bytes], tuple[bytes, int]]


@contextlib.contextmanager
def knarr_registry(root: Path) -> Iterator[int]:
    """A running `knarr-registry`: its port."""
    process = subprocess.Popen(
        [str(BIN / "knarr-registry"), "serve", "--root", str(root), "-H", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline().decode()
        found = re.search(r":(\d+)\s*$", line)
        assert found, f"knarr-registry does not start: {line!r}"
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def correct(name: str, data: bytes) -> tuple[bytes, int]:
    """No fault."""
    return data, len(data)


class FaultyRegistry:
    """Serves images for pulling. `fault(digest, data)` returns what to claim the blob is, and after how many bytes to hang up."""

    def __init__(self) -> None:
        self.fault: Fault = correct
        self.asked: list[str] = []
        self.served = 0
        self._blobs: dict[str, bytes] = {}
        self._manifests: dict[str, bytes] = {}
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    def add(self, repository: str, made: Image, tag: str = "latest") -> None:
        """One more image."""
        self._blobs.update(made.blobs)
        for name in (tag, digest(made.manifest)):
            self._manifests[f"/v2/{repository}/manifests/{name}"] = made.manifest

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "FaultyRegistry":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._serve(body=False)

            def do_GET(self) -> None:
                self._serve(body=True)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

            def _serve(self, *, body: bool) -> None:
                registry.asked.append(self.path)
                name = self.path.rpartition("/")[2]
                if self.path == "/v2/":
                    self._answer(b"{}", "application/json", body=body)
                elif self.path in registry._manifests:
                    self._answer(registry._manifests[self.path], MANIFEST, body=body)
                elif name in registry._blobs:
                    self._blob(name, body=body)
                else:
                    self.send_response(404)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def _answer(self, data: bytes, media_type: str, *, body: bool) -> None:
                self.send_response(200)
                self.send_header("Content-Type", media_type)
                self.send_header("Docker-Content-Digest", digest(data))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if body:
                    self.wfile.write(data)

            def _blob(self, name: str, *, body: bool) -> None:
                data, end = registry.fault(name, registry._blobs[name])
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                first = int(asked[1]) if asked else 0
                self.send_response(206 if asked else 200)
                if asked:
                    self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Content-Length", str(len(data) - first))
                self.end_headers()
                if body:
                    self.wfile.write(data[first:end])
                    registry.served += max(0, end - first)
                    if end < len(data):
                        self.close_connection = True

        return Handler
