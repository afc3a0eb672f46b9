"""How a container shall be: keyword options, and the JSON that they become. Pure.

Names are docker's flags where there is one, sizes are bytes or docker's words ("64m"), durations are seconds.
"""

import shlex
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any, Literal, NamedTuple, TypedDict

from knarr.model.errors import Invalid

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SECOND = 1_000_000_000
PortWish = int | str | tuple[str, int] | None
Command = str | Sequence[str] | None


class Mount(NamedTuple):
    """What `--mount` asks for; a volume without a source is anonymous."""

    target: str
    source: str = ""
    type: Literal["volume", "bind", "tmpfs", "image"] = "volume"
    read_only: bool = False
    subpath: str = ""
    size: int | str = 0


class Healthcheck(NamedTuple):
    """`test` is a command as a list, or a line for the container's shell; times in seconds, 0 is Docker's default."""

    test: str | Sequence[str]
    interval: float = 0
    timeout: float = 0
    retries: int = 0
    start_period: float = 0
    start_interval: float = 0


class Options(TypedDict, total=False):
    """`docker run`'s flags. `ports` maps the container's port (80, "53/udp") to the host's: None is any free one, a number or
    (address, number) a certain one. `volumes` are `-v`'s texts. `pull` is "missing", "always" or "never". `host_config` is
    laid over Docker's HostConfig as it is: for what has no name here."""

    name: str
    env: Mapping[str, str] | Sequence[str]
    ports: Mapping[int | str, PortWish]
    publish_all: bool
    volumes: Sequence[str]
    mounts: Sequence[Mount]
    tmpfs: Mapping[str, str] | Sequence[str]
    volumes_from: Sequence[str]
    network: str
    networks: Sequence[str]
    aliases: Sequence[str]
    links: Sequence[str]
    hostname: str
    extra_hosts: Mapping[str, str]
    dns: Sequence[str]
    user: str
    working_dir: str | PathLike[str]
    entrypoint: str | Sequence[str]
    labels: Mapping[str, str]
    tty: bool
    stdin: bool
    restart: str
    auto_remove: bool
    privileged: bool
    read_only: bool
    init: bool
    cap_add: Sequence[str]
    cap_drop: Sequence[str]
    security_opt: Sequence[str]
    devices: Sequence[str]
    memory: int | str
    cpus: float
    pids_limit: int
    shm_size: int | str
    ulimits: Mapping[str, int | tuple[int, int]]
    sysctls: Mapping[str, str]
    ipc: str
    pid: str
    healthcheck: Healthcheck | None
    stop_signal: str
    stop_timeout: int
    log_driver: str
    log_options: Mapping[str, str]
    runtime: str
    platform: str
    pull: Literal["missing", "always", "never"]
    host_config: Mapping[str, Any]


def size(value: int | str) -> int:
    """Bytes of 67108864 or "64m". Raises Invalid."""
    if isinstance(value, int):
        return value
    text = value.strip().lower().removesuffix("b") or "b"
    number, unit = (text[:-1], text[-1]) if text[-1].isalpha() else (text, "")
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, KeyError):
        raise Invalid(f"invalid size: '{value}'") from None


def body(image: str, command: Command, options: Options) -> dict[str, Any]:
    """The body of POST /containers/create. Raises Invalid."""
    unknown = set(options) - Options.__optional_keys__
    if unknown:
        raise Invalid(f"unknown option: {min(unknown)}")
    value = _config(image, command, options)
    value["HostConfig"] = _host(options) | dict(options.get("host_config", {}))
    networks = _networks(options)
    if networks:
        value["NetworkingConfig"] = {"EndpointsConfig": networks}
    return value


def _config(image: str, command: Command, options: Options) -> dict[str, Any]:
    value: dict[str, Any] = {"Image": image}
    given: Mapping[str, object] = options
    if command is not None:
        value["Cmd"] = words(command)
    if "entrypoint" in options:
        value["Entrypoint"] = words(options["entrypoint"])
    for key, name in (
        ("hostname", "Hostname"),
        ("user", "User"),
        ("tty", "Tty"),
        ("stdin", "OpenStdin"),
        ("stop_signal", "StopSignal"),
        ("stop_timeout", "StopTimeout"),
    ):
        if key in given:
            value[name] = given[key]
    if "working_dir" in options:
        value["WorkingDir"] = fspath(options["working_dir"])
    if "env" in options:
        value["Env"] = environment(options["env"])
    if "labels" in options:
        value["Labels"] = dict(options["labels"])
    if options.get("stdin"):
        value["StdinOnce"] = True
    if "ports" in options:
        value["ExposedPorts"] = {port(key): {} for key in options["ports"]}
    if "healthcheck" in options:
        value["Healthcheck"] = _health(options["healthcheck"])
    return value


def words(command: str | Sequence[str]) -> list[str]:
    """A command; a text is split as a shell splits it, and nothing else."""
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]


def environment(env: Mapping[str, str] | Sequence[str]) -> list[str]:
    """Docker's list."""
    return [f"{key}={each}" for key, each in env.items()] if isinstance(env, Mapping) else list(env)


def port(key: int | str) -> str:
    """80 and "80" are `80/tcp`."""
    text = str(key)
    return text if "/" in text else f"{text}/tcp"


def _binding(wish: PortWish) -> dict[str, str]:
    if wish is None:
        return {"HostIp": "", "HostPort": ""}
    if isinstance(wish, tuple):
        return {"HostIp": wish[0], "HostPort": str(wish[1] or "")}
    address, _, number = str(wish).rpartition(":")
    return {"HostIp": address, "HostPort": number if number != "0" else ""}


def _health(check: Healthcheck | None) -> dict[str, Any]:
    if check is None:
        return {"Test": ["NONE"]}
    test = ["CMD-SHELL", check.test] if isinstance(check.test, str) else ["CMD", *check.test]
    times = (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    )
    return {"Test": test, "Retries": check.retries} | {
        key: int(seconds * _SECOND) for key, seconds in times if seconds
    }


_PLAIN = (
    ("publish_all", "PublishAllPorts"),
    ("auto_remove", "AutoRemove"),
    ("privileged", "Privileged"),
    ("read_only", "ReadonlyRootfs"),
    ("init", "Init"),
    ("pids_limit", "PidsLimit"),
    ("ipc", "IpcMode"),
    ("pid", "PidMode"),
    ("runtime", "Runtime"),
)
_LISTS = (
    ("volumes", "Binds"),
    ("volumes_from", "VolumesFrom"),
    ("links", "Links"),
    ("dns", "Dns"),
    ("cap_add", "CapAdd"),
    ("cap_drop", "CapDrop"),
    ("security_opt", "SecurityOpt"),
)


def _host(options: Options) -> dict[str, Any]:
    given: Mapping[str, Any] = options
    value: dict[str, Any] = {name: given[key] for key, name in _PLAIN if key in given}
    value |= {name: list(given[key]) for key, name in _LISTS if key in given}
    value |= {
        name: size(given[key])
        for key, name in (("memory", "Memory"), ("shm_size", "ShmSize"))
        if key in given
    }
    if "ports" in options:
        value["PortBindings"] = {port(key): [_binding(wish)] for key, wish in options["ports"].items()}
    if "mounts" in options:
        value["Mounts"] = [_mount(each) for each in options["mounts"]]
    if "tmpfs" in options:
        tmpfs = options["tmpfs"]
        value["Tmpfs"] = dict(tmpfs) if isinstance(tmpfs, Mapping) else dict.fromkeys(tmpfs, "")
    if "cpus" in options:
        value["NanoCpus"] = int(options["cpus"] * _SECOND)
    if "restart" in options:
        name, _, count = options["restart"].partition(":")
        value["RestartPolicy"] = {"Name": name, "MaximumRetryCount": int(count or 0)}
    if "extra_hosts" in options:
        value["ExtraHosts"] = [f"{name}:{address}" for name, address in options["extra_hosts"].items()]
    if "sysctls" in options:
        value["Sysctls"] = dict(options["sysctls"])
    if "ulimits" in options:
        value["Ulimits"] = [_ulimit(name, each) for name, each in options["ulimits"].items()]
    if "devices" in options:
        value["Devices"] = [_device(text) for text in options["devices"]]
    if "log_driver" in options or "log_options" in options:
        value["LogConfig"] = {
            "Type": options.get("log_driver", ""),
            "Config": dict(options.get("log_options", {})),
        }
    network = options.get("network") or next(iter(options.get("networks", ())), "")
    if network:
        value["NetworkMode"] = network
    return value


def _ulimit(name: str, limit: int | tuple[int, int]) -> dict[str, Any]:
    soft, hard = limit if isinstance(limit, tuple) else (limit, limit)
    return {"Name": name, "Soft": soft, "Hard": hard}


def _device(text: str) -> dict[str, str]:
    host, _, rest = text.partition(":")
    inside, _, permissions = rest.partition(":")
    return {"PathOnHost": host, "PathInContainer": inside or host, "CgroupPermissions": permissions or "rwm"}


def _mount(mount: Mount) -> dict[str, Any]:
    value: dict[str, Any] = {"Type": mount.type, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.source:
        value["Source"] = mount.source
    if mount.subpath:
        value["VolumeOptions" if mount.type == "volume" else "ImageOptions"] = {"Subpath": mount.subpath}
    if mount.size:
        value["TmpfsOptions"] = {"SizeBytes": size(mount.size)}
    return value


def _networks(options: Options) -> dict[str, Any]:
    """Each network by name; the aliases hold on all of the users' own."""
    names = dict.fromkeys([options["network"]] if "network" in options else [])
    names |= dict.fromkeys(options.get("networks", ()))
    aliases = list(options.get("aliases", ()))
    if len(names) < 2 and not aliases:
        return {}
    if not names:
        raise Invalid("aliases need a network of their own: name it with network=")
    return {name: {"Aliases": aliases} if aliases else {} for name in names}
