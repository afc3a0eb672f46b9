"""`knarr info`: what the client and the daemon say of themselves, in docker's order."""

import os
import sys
from collections.abc import Iterator
from typing import Any

from knarr.api.client.http import ApiError, CannotConnect, Http
from knarr.cli import config, contexts, plugins
from knarr.cli.about import version
from knarr.cli.common import Failed
from knarr.cli.flags import Flag, Options, Verb
from knarr.cli.units import binary_size

INFO = Verb(
    "info",
    "Display system-wide information",
    "[OPTIONS]",
    (Flag("format", "f", "string", "Format output using a custom template: 'json' or a Go template"),),
    most=0,
)


def info(http: Http, options: Options) -> int:
    """The text, JSON or a template; where no daemon answers, the client's part still comes."""
    client = {
        "Version": version(),
        "Context": contexts.current(),
        "Debug": contexts.CHOSEN[0].debug,
        "Plugins": _plugins(),
        "Warnings": None,
    }
    failure = ""
    value: dict[str, Any] | None = None
    try:
        with http.request("GET", "/info") as answer:
            value = answer.json()
    except ApiError as error:
        failure = f"Error response from daemon: {error}"
    except CannotConnect as error:
        failure = str(error)
    if options.format:
        _formatted({**(value or {}), "ClientInfo": client}, options.format)
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _client(client)))
        print("\nServer:")
        if value is not None:
            sys.stdout.write("".join(f"{line}\n" for line in _server(value, debug=bool(client["Debug"]))))
            print(flush=True)
            for warning in value.get("Warnings") or ():
                print(warning, file=sys.stderr)
    if failure:
        raise Failed(failure)
    return 0


def _formatted(value: dict[str, Any], form: str) -> None:
    if form == "json":
        import json

        print(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
        return
    from knarr.cli.template import Template

    print(Template(form).render(value))


def _plugins() -> list[dict[str, Any]]:
    """The installed ones, each asked what it is."""
    import json
    import subprocess

    found: dict[str, str] = {}
    for directory in plugins.directories():
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
            if name.startswith("docker-") and os.access(os.path.join(directory, name), os.X_OK):
                found.setdefault(name.removeprefix("docker-"), os.path.join(directory, name))
    values = []
    for name, path in sorted(found.items()):
        try:
            done = subprocess.run([path, "docker-cli-plugin-metadata"], capture_output=True, check=True)
            values.append({**json.loads(done.stdout), "Name": name, "Path": path})
        except (OSError, ValueError, subprocess.CalledProcessError):
            continue
    return values


def _client(value: dict[str, Any]) -> Iterator[str]:
    yield "Client:"
    yield f" Version:    {value['Version']}"
    yield f" Context:    {value['Context']}"
    yield f" Debug Mode: {_bool(value['Debug'])}"
    if value["Plugins"]:
        yield " Plugins:"
    for each in value["Plugins"]:
        yield f"  {each['Name']}: {each.get('ShortDescription', '')} ({each.get('Vendor', '')})"
        yield from _filled("    Version: ", each.get("Version", ""))
        yield f"    Path:     {each['Path']}"


def _bool(value: object) -> str:
    return "true" if value else "false"


def _filled(label: str, value: object) -> Iterator[str]:
    if value:
        yield f"{label} {value}"


def _server(value: dict[str, Any], *, debug: bool) -> Iterator[str]:
    yield f" Containers: {value['Containers']}"
    yield f"  Running: {value['ContainersRunning']}"
    yield f"  Paused: {value['ContainersPaused']}"
    yield f"  Stopped: {value['ContainersStopped']}"
    yield f" Images: {value['Images']}"
    yield from _filled(" Server Version:", value.get("ServerVersion"))
    yield from _filled(" Storage Driver:", value.get("Driver"))
    for key, each in value.get("DriverStatus") or ():
        yield f"  {key}: {each}"
    for label, key in (("Logging", "LoggingDriver"), ("Cgroup", "CgroupDriver")):
        yield from _filled(f" {label} Driver:", value.get(key))
    yield from _filled(" Cgroup Version:", value.get("CgroupVersion"))
    yield from _abilities(value)
    yield from _machine(value)
    yield f" Debug Mode: {_bool(value.get('Debug'))}"
    if value.get("Debug") or debug:
        yield f"  File Descriptors: {value.get('NFd', 0)}"
        yield f"  Goroutines: {value.get('NGoroutines', 0)}"
        yield f"  System Time: {value.get('SystemTime', '')}"
        yield f"  EventsListeners: {value.get('NEventsListener', 0)}"
    yield from _settings(value)


def _abilities(value: dict[str, Any]) -> Iterator[str]:
    yield " Plugins:"
    offered = value.get("Plugins") or {}
    yield f"  Volume: {' '.join(offered.get('Volume') or ())}"
    yield f"  Network: {' '.join(offered.get('Network') or ())}"
    if offered.get("Authorization"):
        yield f"  Authorization: {' '.join(offered['Authorization'])}"
    yield f"  Log: {' '.join(offered.get('Log') or ())}"
    if directories := value.get("CDISpecDirs"):
        yield " CDI spec directories:"
        yield from (f"  {directory}" for directory in directories)
    if devices := value.get("DiscoveredDevices"):
        yield " Discovered Devices:"
        yield from (f"  {device['Source']}: {device['ID']}" for device in devices)
    yield f" Swarm: {(value.get('Swarm') or {}).get('LocalNodeState', '')}"
    if runtimes := value.get("Runtimes"):
        yield f" Runtimes: {' '.join(runtimes)}"
        yield f" Default Runtime: {value.get('DefaultRuntime', '')}"


def _machine(value: dict[str, Any]) -> Iterator[str]:
    if value.get("OSType") == "linux":
        yield f" Init Binary: {value.get('InitBinary', '')}"
        for label, key in (
            ("containerd", "ContainerdCommit"),
            ("runc", "RuncCommit"),
            ("init", "InitCommit"),
        ):
            yield f" {label} version: {(value.get(key) or {}).get('ID', '')}"
        if options := value.get("SecurityOptions"):
            yield " Security Options:"
            for option in options:
                words = dict(word.partition("=")[::2] for word in option.split(","))
                yield f"  {words.pop('name', '')}"
                yield from (f"   Profile: {each}" for key, each in words.items() if key == "profile")
    for label, key in (
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
    ):
        yield from _filled(f" {label}:", value.get(key))
    yield f" CPUs: {value['NCPU']}"
    yield f" Total Memory: {binary_size(value['MemTotal'])}"
    yield from _filled(" Name:", value.get("Name"))
    yield from _filled(" ID:", value.get("ID"))
    yield f" Docker Root Dir: {value['DockerRootDir']}"


def _settings(value: dict[str, Any]) -> Iterator[str]:
    for label, key in (("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")):
        yield from _filled(f" {label}:", value.get(key))
    yield from _filled(" Username:", config.credentials(config.INDEX).get("username"))
    if labels := value.get("Labels"):
        yield " Labels:"
        yield from (f"  {label}" for label in labels)
    yield f" Experimental: {_bool(value.get('ExperimentalBuild'))}"
    registries = value.get("RegistryConfig") or {}
    insecure = [
        name for name, each in (registries.get("IndexConfigs") or {}).items() if not each.get("Secure")
    ]
    ranges = registries.get("InsecureRegistryCIDRs") or []
    if registries.get("IndexConfigs") or ranges:
        yield " Insecure Registries:"
        yield from (f"  {each}" for each in [*insecure, *ranges])
    if mirrors := registries.get("Mirrors"):
        yield " Registry Mirrors:"
        yield from (f"  {mirror}" for mirror in mirrors)
    yield f" Live Restore Enabled: {_bool(value.get('LiveRestoreEnabled'))}"
    yield from _filled(" Product License:", value.get("ProductLicense"))
    if pools := value.get("DefaultAddressPools"):
        yield " Default Address Pools:"
        yield from (f"   Base: {pool['Base']}, Size: {pool['Size']}" for pool in pools)
