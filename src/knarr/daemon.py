"""The composition root of knarrd: settings, engine, API, sockets; signals to an orderly end, and to a reload.

Containers outlive the daemon: SIGTERM stops the engine and leaves them running; the next start takes them up again. Only
where --live-restore is off they end with it. Configuration, sockets and supervisor are `service`'s.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from typing import Any, NoReturn

from knarr.api.server.app import Api
from knarr.engine.engine import Engine
from knarr.engine.settings import Settings
from knarr.kernel import limits, malloc
from knarr.loop.blocking import blocking
from knarr.loop.http.server import Server
from knarr.loop.tasks import Tasks
from knarr.model.errors import Invalid, KnarrError
from knarr.model.version import VERSION
from knarr.registry.client.client import RegistryClient
from knarr.service import config, ownlog
from knarr.service.flags import DEFAULT_CONFIG, parse
from knarr.service.listening import address, listen, tls_context
from knarr.service.supervisor import Activation, Notifier, locked, pidfile

log = logging.getLogger("knarrd")
_GC = (10_000, 20, 20)


class Configured:
    """What the daemon was told: by flags once, by a file that may change."""

    def __init__(self, flags: dict[str, Any], path: str):
        self._flags, self._path = flags, path
        self.values = _rooted(config.merge(self._read(), flags))
        self.settings: Settings = config.settings_from(self.values)

    def _read(self) -> config.Values:
        try:
            with open(self._path, encoding="utf-8") as file:
                return config.read(file.read())
        except FileNotFoundError:
            if self._path != DEFAULT_CONFIG:
                raise Invalid(
                    f"unable to configure the daemon with file {self._path}: no such file"
                ) from None
            return {}
        except (Invalid, UnicodeDecodeError) as error:
            raise Invalid(f"unable to configure the daemon with file {self._path}: {error}") from None

    def again(self) -> None:
        """The file as it is now. Raises Invalid, and changes nothing then."""
        values = config.reload(self.values, self._read(), self._flags)
        self.settings = config.settings_from(values)
        self.values = values


def _rooted(values: config.Values) -> config.Values:
    return {
        key: os.path.abspath(value) if key in ("data-root", "exec-root") else value
        for key, value in values.items()
    }


class Daemon:
    """One running knarrd."""

    def __init__(self, configured: Configured):
        self._configured = configured
        self._notifier = Notifier()
        self._activation = Activation()
        self._stop = asyncio.Event()
        self._again = asyncio.Event()

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._again.set)
        values = self._configured.values
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(locked(self._configured.settings.data_root))
            stack.enter_context(pidfile(values.get("pidfile")))
            self._registry = self._registry_client()
            stack.push_async_callback(self._registry.close)
            engine = await Engine.open(self._configured.settings, self._registry)
            stack.push_async_callback(engine.close)
            stack.push_async_callback(self._end_containers, engine)
            api = Api(engine, self._registry.ping)
            stack.push_async_callback(api.close)
            await self._serve_registry(stack)
            server = Server(api.handle)
            stack.push_async_callback(self._close, server)
            hosts = await listen(server, values, self._activation)
            self._activation.close()
            _settle()
            await self._serve(engine, hosts)

    async def _serve(self, engine: Engine, hosts: list[str]) -> None:
        tasks = Tasks("knarrd")
        tasks.start(self._notifier.beat(), "the watchdog")
        tasks.start(self._reload(engine), "reload")
        self._notifier.tell("READY=1", f"STATUS=API listen on {', '.join(hosts)}")
        log.info("API listen on %s", ", ".join(hosts))
        try:
            await self._stop.wait()
        finally:
            self._notifier.tell("STOPPING=1")
            await tasks.close()

    async def _reload(self, engine: Engine) -> None:
        while True:
            await self._again.wait()
            self._again.clear()
            self._notifier.reloading()
            try:
                await blocking(self._configured.again)
                values, settings = self._configured.values, self._configured.settings
                ownlog.level(values)
                self._registry.reconfigure(mirrors=_mirrors(settings), insecure=settings.insecure_registries)
                await engine.reload(settings, config.attributes(values))
                log.info("reloaded configuration")
            except (KnarrError, OSError) as error:
                log.error("cannot reload the configuration: %s", error)
            self._notifier.tell("READY=1")

    async def _close(self, server: Server) -> None:
        await server.close(self._configured.settings.shutdown_timeout)

    async def _end_containers(self, engine: Engine) -> None:
        if not self._configured.settings.live_restore:
            await engine.containers.end_all(self._configured.settings.shutdown_timeout)

    def _registry_client(self) -> RegistryClient:
        settings = self._configured.settings
        return RegistryClient(
            mirrors=_mirrors(settings), insecure=settings.insecure_registries, agent=f"knarr/{VERSION}"
        )

    async def _serve_registry(self, stack: contextlib.AsyncExitStack) -> None:
        place = self._configured.values.get("registry")
        if not place:
            return
        from knarr.registry.server.server import RegistryServer

        files = RegistryServer(os.path.join(self._configured.settings.data_root, "registry"))
        stack.callback(files.close)
        registry = Server(files.handle)
        stack.push_async_callback(registry.close, 5)
        host, port = address(place)
        log.info("registry on http://%s:%d", host, await registry.listen_tcp(host, port))


def _mirrors(settings: Settings) -> dict[str, tuple[str, ...]]:
    return {**settings.registry_mirrors, **({"docker.io": settings.mirrors} if settings.mirrors else {})}


def _settle() -> None:
    """What is there now stays: the collector need not look at it again, and what starting needed goes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC)
    malloc.trim()
    malloc.forget_code()


def _set_proxies(values: config.Values) -> None:
    """Where asking for a proxy is the environment's matter."""
    for key in ("http-proxy", "https-proxy", "no-proxy"):
        if key in values:
            name = key.replace("-", "_")
            os.environ[name] = os.environ[name.upper()] = values[key]


def _fail(message: str) -> NoReturn:
    print(f"knarrd: {message}", file=sys.stderr)
    sys.exit(1)


def main() -> None:
    """The console script."""
    malloc.one_arena()
    limits.raise_open_files()
    flags, config_file, validate = parse(sys.argv[1:])
    try:
        configured = Configured(flags, config_file)
        if validate:
            tls_context(configured.values)
            print("configuration OK", file=sys.stderr)
            return
        ownlog.begin(configured.values)
        _set_proxies(configured.values)
        if os.geteuid() != 0:
            _fail("the daemon needs to be started as root")
        asyncio.run(Daemon(configured).run())
    except (KnarrError, OSError) as error:
        logging.getLogger().debug("cannot start", exc_info=True)
        _fail(f"failed to start daemon: {error}")


if __name__ == "__main__":
    main()
