"""The composition root of knarrd: flags and daemon.json to settings, engine, API, sockets; signals to an orderly end.

Containers outlive the daemon: SIGTERM stops the engine and leaves them running; the next start takes them up again.
"""

import argparse
import asyncio
import contextlib
import fcntl
import gc
import grp
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, NoReturn

from knarr.api.server.app import Api
from knarr.engine.engine import Engine
from knarr.engine.settings import Settings
from knarr.kernel import malloc
from knarr.loop.http.server import Server
from knarr.model.errors import Invalid, KnarrError
from knarr.model.version import VERSION
from knarr.network.pools import Pool
from knarr.registry.client.client import RegistryClient

log = logging.getLogger("knarrd")
DEFAULT_HOST = "unix:///run/knarr/knarr.sock"
DEFAULT_CONFIG = "/etc/knarr/daemon.json"
_GC = (10_000, 20, 20)
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}


def arguments() -> argparse.ArgumentParser:
    """dockerd's flags, where knarrd has the thing. A flag that is not given leaves daemon.json's value."""
    parser = argparse.ArgumentParser(
        "knarrd", description="The knarr daemon.", argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "-H",
        "--host",
        action="append",
        dest="hosts",
        metavar="ADDRESS",
        help="unix://PATH, tcp://HOST:PORT or fd://; may be repeated",
    )
    add(
        "--data-root",
        metavar="DIR",
        help="where images, containers and volumes are kept (default /var/lib/knarr)",
    )
    add(
        "--exec-root",
        metavar="DIR",
        help="where the state of running containers is kept (default /run/knarr)",
    )
    add("--pidfile", "-p", metavar="FILE", help="write the daemon's process id there")
    add(
        "--config-file",
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help=f"settings as JSON (default {DEFAULT_CONFIG})",
    )
    add(
        "--bridge",
        "-b",
        metavar="NAME",
        help="the default network's bridge (default knarr0); 'none' for no default network",
    )
    add("--bip", metavar="CIDR", help="the bridge's address, as 172.17.0.1/16")
    add("--mtu", type=int, metavar="BYTES", help="the containers' MTU")
    add(
        "--icc",
        type=_boolean,
        metavar="BOOL",
        help="let containers of the default network talk to each other (default true)",
    )
    add(
        "--default-address-pool",
        action="append",
        dest="default-address-pools",
        metavar="base=CIDR,size=N",
        help="where networks get their subnets",
    )
    add(
        "--registry-mirror",
        action="append",
        dest="registry-mirrors",
        metavar="URL",
        help="a mirror of Docker Hub, or HOST=URL for any other registry",
    )
    add(
        "--insecure-registry",
        action="append",
        dest="insecure-registries",
        metavar="HOST",
        help="a registry that speaks plain HTTP",
    )
    add("--registry", metavar="HOST:PORT", help="serve a registry there, kept under the data root")
    add("--storage-driver", "-s", metavar="NAME", help="overlay2 or vfs")
    add("--log-driver", metavar="NAME", help="the containers' logging driver: json-file or none")
    add(
        "--log-opt",
        action="append",
        dest="log-opts",
        metavar="KEY=VALUE",
        help="an option of the logging driver",
    )
    add("--label", action="append", dest="labels", metavar="KEY=VALUE", help="a label of the daemon")
    add("--dns", action="append", metavar="ADDRESS", help="name servers of containers")
    add(
        "--dns-opt", action="append", dest="dns-opts", metavar="OPTION", help="resolver options of containers"
    )
    add("--dns-search", action="append", metavar="DOMAIN", help="search domains of containers")
    add(
        "--default-ulimit",
        action="append",
        dest="default-ulimits",
        metavar="NAME=SOFT:HARD",
        help="a limit of containers that set none",
    )
    add(
        "--default-shm-size",
        type=int,
        metavar="BYTES",
        help="the size of /dev/shm in containers (default 64 MiB)",
    )
    add("--seccomp-profile", metavar="FILE", help="the default seccomp profile, or 'unconfined'")
    add("--no-new-privileges", action="store_true", help="set no_new_privs in containers by default")
    add(
        "--userns-remap",
        metavar="USER",
        help="give containers a user namespace of the ids that /etc/subuid and /etc/subgid have for USER[:GROUP], or 'default'",
    )
    add("--cgroup-parent", metavar="PATH", help="the parent of the containers' cgroups")
    add(
        "--group",
        "-G",
        metavar="NAME",
        help="the group that may use the unix socket (default docker, where it exists)",
    )
    add(
        "--shutdown-timeout",
        type=int,
        metavar="SECONDS",
        help="how long requests may take to end (default 15)",
    )
    add("--log-level", "-l", choices=_LEVELS, help="how much the daemon says (default info)")
    add("--debug", "-D", action="store_true", help="log level debug")
    add("--version", "-v", action="version", version=f"knarrd {VERSION}")
    return parser


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"not a boolean: {text!r}")
    return text.lower() in ("true", "1")


def read_config(path: str, *, required: bool) -> dict[str, Any]:
    """daemon.json. Raises Invalid."""
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except FileNotFoundError:
        if required:
            raise Invalid(f"unable to configure the daemon with file {path}: no such file") from None
        return {}
    except ValueError as error:
        raise Invalid(f"unable to configure the daemon with file {path}: {error}") from None
    if not isinstance(value, dict):
        raise Invalid(f"unable to configure the daemon with file {path}: not a JSON object")
    return value


def merge(config: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Flags over the file, by dockerd's rule: what both say is an error. Raises Invalid."""
    both = sorted(set(config) & set(flags))
    if both:
        words = ", ".join(f"{key}: (from flag: {flags[key]}, from file: {config[key]})" for key in both)
        raise Invalid(
            f"the following directives are specified both as a flag and in the configuration file: {words}"
        )
    return {**config, **flags}


def settings_from(values: dict[str, Any]) -> Settings:
    """The engine's part. Raises Invalid for a key that is not known."""
    known = {field.name for field in fields(Settings)}
    out: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name in _OURS:
            continue
        if name == "registry_mirrors":
            out |= _mirrors(value)
        elif name == "default_address_pools":
            out[name] = tuple(_pool(each) for each in value)
        elif name == "log_opts":
            out["log_options"] = value if isinstance(value, dict) else dict(_pair(word) for word in value)
        elif name == "dns_opts":
            out["dns_options"] = tuple(value)
        elif name in known:
            out[name] = tuple(value) if isinstance(value, list) else value
        else:
            raise Invalid(f"the following directives don't match any configuration option: {key}")
    for name in ("data_root", "exec_root"):
        if name in out:
            out[name] = os.path.abspath(out[name])
    return Settings(**out)


_OURS = frozenset({"hosts", "pidfile", "registry", "group", "log_level", "config_file"})


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


def _mirrors(words: Sequence[str]) -> dict[str, Any]:
    hub = [word for word in words if word.partition("=")[0].startswith(("http://", "https://"))]
    others: dict[str, tuple[str, ...]] = {}
    for word in words:
        if word not in hub:
            host, _, url = word.partition("=")
            if not url.startswith(("http://", "https://")):
                raise Invalid(f"invalid mirror: {word!r} is neither a URL nor HOST=URL")
            others[host] = (*others.get(host, ()), url)
    return {"mirrors": tuple(hub), "registry_mirrors": others}


def _pool(value: Any) -> Pool:
    table = value if isinstance(value, dict) else dict(_pair(word) for word in value.split(","))
    try:
        return Pool(str(table["base"]), int(table["size"]))
    except (KeyError, ValueError):
        raise Invalid(f"invalid default address pool: {value}") from None


class Daemon:
    """One running knarrd."""

    def __init__(self, values: dict[str, Any]):
        self._values = values
        self._settings = settings_from(values)
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(_locked(self._settings.data_root))
            stack.enter_context(_pidfile(self._values.get("pidfile")))
            registry = self._registry_client()
            stack.push_async_callback(registry.close)
            engine = await Engine.open(self._settings, registry)
            stack.push_async_callback(engine.close)
            api = Api(engine, registry.ping)
            stack.push_async_callback(api.close)
            await self._serve_registry(stack)
            server = Server(api.handle)
            stack.push_async_callback(server.close, self._settings.shutdown_timeout)
            for host in self._values.get("hosts") or [DEFAULT_HOST]:
                await self._listen(server, host)
            _settle()
            _notify("READY=1")
            log.info("API listen on %s", ", ".join(self._values.get("hosts") or [DEFAULT_HOST]))
            await self._stop.wait()
            _notify("STOPPING=1")

    def _registry_client(self) -> RegistryClient:
        settings = self._settings
        mirrors = {
            **settings.registry_mirrors,
            **({"docker.io": settings.mirrors} if settings.mirrors else {}),
        }
        return RegistryClient(
            mirrors=mirrors, insecure=settings.insecure_registries, agent=f"knarr/{VERSION}"
        )

    async def _serve_registry(self, stack: contextlib.AsyncExitStack) -> None:
        address = self._values.get("registry")
        if not address:
            return
        from knarr.registry.server.server import RegistryServer

        files = RegistryServer(os.path.join(self._settings.data_root, "registry"))
        stack.callback(files.close)
        registry = Server(files.handle)
        stack.push_async_callback(registry.close, 5)
        host, port = _address(address)
        log.info("registry on http://%s:%d", host, await registry.listen_tcp(host, port))

    async def _listen(self, server: Server, host: str) -> None:
        scheme, _, rest = host.partition("://")
        if scheme == "unix":
            await server.listen_unix(rest, gid=_group(self._values.get("group")))
        elif scheme == "tcp":
            log.warning("the API on %s is open to everyone who can reach it: that is root on this host", host)
            await server.listen_tcp(*_address(rest))
        elif scheme == "fd":
            for sock in _activated():
                await server.listen(sock)
        else:
            raise Invalid(f"invalid bind address format: {host}")


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise Invalid(f"invalid bind address format: {text}")
    return host.strip("[]") or "127.0.0.1", int(port)


def _group(name: str | None) -> int:
    """The group's id; without a name docker's group, or root's where there is none. Raises Invalid."""
    try:
        return grp.getgrnam(name or "docker").gr_gid
    except KeyError:
        if name:
            raise Invalid(f"group {name} not found") from None
        return 0


def _activated() -> list[socket.socket]:
    """The sockets of systemd's socket activation (sd_listen_fds(3)). Raises Invalid where there are none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise Invalid("no sockets found via socket activation: make sure the service was started by systemd")
    return [socket.socket(fileno=number) for number in range(3, 3 + int(os.environ.get("LISTEN_FDS", "0")))]


def _settle() -> None:
    """What is there now stays: the collector need not look at it again, and what starting needed goes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC)
    malloc.trim()


def _notify(text: str) -> None:
    """sd_notify(3), where a supervisor asks for it."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            sock.sendto(text.encode(), "\0" + path[1:] if path.startswith("@") else path)


@contextlib.contextmanager
def _locked(data_root: str) -> Iterator[None]:
    """Holds the data root for this daemon alone. Raises Invalid while another has it."""
    os.makedirs(data_root, mode=0o710, exist_ok=True)
    # What images and containers keep in here, set-uid programs too, is not for the host's other users (CVE-2021-41091).
    os.chmod(data_root, 0o710)
    fd = os.open(os.path.join(data_root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Invalid(f"another daemon is running on the data root {data_root}") from None
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _pidfile(path: str | None) -> Iterator[None]:
    if not path:
        yield
        return
    with open(path, "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _fail(message: str) -> NoReturn:
    print(f"knarrd: {message}", file=sys.stderr)
    sys.exit(1)


def main() -> None:
    """The console script."""
    malloc.one_arena()
    flags = vars(arguments().parse_args())
    config_file = flags.pop("config_file")
    flags = {key.replace("_", "-"): value for key, value in flags.items()}
    try:
        values = merge(read_config(config_file, required=config_file != DEFAULT_CONFIG), flags)
        level = "debug" if values.get("debug") else values.get("log-level", "info")
        logging.basicConfig(
            level=_LEVELS[level], format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
        )
        if os.geteuid() != 0:
            _fail("the daemon needs to be started as root")
        asyncio.run(Daemon(values).run())
    except (KnarrError, OSError) as error:
        logging.getLogger().debug("cannot start", exc_info=True)
        _fail(f"failed to start daemon: {error}")


if __name__ == "__main__":
    main()
