"""An engine in the caller's process and on its event loop: the composition of knarrd without its sockets and signals.

Each connection of the library is one end of a socket pair whose other end the API serves, so nothing listens anywhere unless asked. The
only room of the library that knows the engine.
"""

import contextlib
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Mapping
from typing import Any

from knarr.api.server.app import Api
from knarr.engine.engine import Engine
from knarr.engine.settings import Settings
from knarr.loop.blocking import blocking
from knarr.loop.http.server import Server
from knarr.model.errors import Denied, Invalid, KnarrError
from knarr.model.version import VERSION
from knarr.registry.client.client import RegistryClient
from knarr.service.supervisor import locked


class Embedded:
    """A back end of the library. Without a data root it leaves nothing behind."""

    host = "127.0.0.1"

    def __init__(
        self, data_root: str, exec_root: str, bridge: str, bip: str, listen: str, others: Mapping[str, Any]
    ):
        unknown = set(others) - set(Settings.__dataclass_fields__)
        if unknown:
            raise Invalid(f"unknown setting: {min(unknown)}")
        self._passing = not data_root
        self._listen = listen
        self._given = {**others, "bridge": bridge, "bip": bip}
        self._roots = (os.path.abspath(data_root) if data_root else "", exec_root)
        self._stack = contextlib.AsyncExitStack()
        self._server: Server | None = None

    async def open(self) -> None:
        """Starts the engine. Raises Denied without root, Invalid while another has the data root."""
        if os.geteuid() != 0:
            raise Denied("an embedded engine needs root: connect to a daemon instead")
        async with contextlib.AsyncExitStack() as stack:
            settings = self._settings(stack)
            stack.enter_context(locked(settings.data_root))
            mirrors = {**settings.registry_mirrors}
            if settings.mirrors:
                mirrors["docker.io"] = settings.mirrors
            registry = RegistryClient(
                mirrors=mirrors, insecure=settings.insecure_registries, agent=f"knarr/{VERSION}"
            )
            stack.push_async_callback(registry.close)
            engine = await Engine.open(settings, registry)
            stack.push_async_callback(engine.close)
            if self._passing:
                stack.push_async_callback(_sweep, engine)
            api = Api(engine, registry.ping)
            stack.push_async_callback(api.close)
            self._server = Server(api.handle)
            stack.push_async_callback(self._server.close, 5)
            if self._listen:
                await self._server.listen_unix(self._listen)
            self._stack = stack.pop_all()

    def _settings(self, stack: contextlib.AsyncExitStack) -> Settings:
        data_root, exec_root = self._roots
        given = {key: value for key, value in self._given.items() if value != ""}
        if self._passing:
            place = tempfile.mkdtemp(prefix="knarr-engine-")
            stack.push_async_callback(blocking, shutil.rmtree, place, ignore_errors=True)
            data_root, exec_root = f"{place}/data", exec_root or f"{place}/exec"
            given.setdefault("bridge", f"kn{secrets.token_hex(4)}")
        return Settings(
            data_root=data_root, exec_root=os.path.abspath(exec_root or f"{data_root}/exec"), **given
        )

    async def dial(self) -> socket.socket:
        """One end of a pair; the API has the other."""
        if self._server is None:
            raise Invalid("this engine is not open")
        mine, theirs = socket.socketpair()
        mine.setblocking(False)
        try:
            await self._server.adopt(theirs)
        except BaseException:
            mine.close()
            theirs.close()
            raise
        return mine

    async def close(self) -> None:
        """Containers go on, unless the engine was a passing one."""
        self._server = None
        await self._stack.aclose()


async def _sweep(engine: Engine) -> None:
    """Everything that a passing engine has on the host."""
    for view in await engine.containers.list(all=True):
        with contextlib.suppress(KnarrError):
            await engine.containers.remove(view.id, force=True, volumes=True)
    await engine.networks.prune()
    await engine.unmake()
