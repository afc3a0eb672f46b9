"""`knarr-registry serve --root DIR -H HOST:PORT`: the registry as its own process."""

import argparse
import asyncio
import logging
import os
import signal
import sys

from knarr.cli.about import version
from knarr.loop.http.server import Server
from knarr.model.errors import KnarrError
from knarr.registry.server.server import RegistryServer


def main() -> None:
    """The console script."""
    parser = argparse.ArgumentParser("knarr-registry", description="A registry for OCI images, over files.")
    parser.add_argument("--version", action="version", version=f"knarr-registry {version()}")
    verbs = parser.add_subparsers(required=True, metavar="serve")
    serve = verbs.add_parser("serve", help="serve the OCI distribution protocol")
    serve.add_argument(
        "--root", required=True, metavar="DIR", help="where images are kept; made if it is missing"
    )
    serve.add_argument(
        "-H",
        "--host",
        default="127.0.0.1:5000",
        metavar="HOST:PORT",
        help="where to listen (default 127.0.0.1:5000); port 0 takes a free one",
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    host, colon, port = options.host.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        parser.error(f"{options.host!r} is no HOST:PORT")
    try:
        asyncio.run(_serve(os.path.abspath(options.root), host.strip("[]") or "127.0.0.1", int(port)))
    except (OSError, KnarrError) as error:
        print(f"knarr-registry: {error}", file=sys.stderr)
        sys.exit(1)


async def _serve(root: str, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    registry = RegistryServer(root)
    server = Server(registry.handle)
    port = await server.listen_tcp(host, port)
    print(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    await stop.wait()
    await server.close(10)
    registry.close()


if __name__ == "__main__":
    main()
