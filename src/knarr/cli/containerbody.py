"""What the flags of `run` and `create` mean in the API's words."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from knarr.cli import config
from knarr.cli import containervalues as values
from knarr.cli.common import Failed, refused
from knarr.cli.containerflags import FLAGS
from knarr.cli.flags import Options, bad
from knarr.cli.mountflags import bind, mount
from knarr.cli.networkflags import attachment, networks
from knarr.cli.portflags import exposed, ports

_WINDOWS = ("cpu_count", "cpu_percent", "io_maxbandwidth", "io_maxiops")
_CHECK_TIMES = {
    "Interval": "health_interval",
    "Timeout": "health_timeout",
    "StartPeriod": "health_start_period",
    "StartInterval": "health_start_interval",
}


def body(options: Options, *, attach: bool, host: str = "") -> dict[str, Any]:
    """The body of POST /containers/create. Raises UsageError for a flag's value, Failed for what goes wrong together."""
    _check_flags(options)
    image, *command = options.args
    streams = {word.lower() for word in options.attach}
    everything = not streams
    stdin = options.interactive and (attach or "stdin" in streams)
    main, endpoints = networks(options)
    value: dict[str, Any] = {
        "Image": image,
        "Hostname": options.hostname,
        "Domainname": options.domainname,
        "User": options.user,
        "AttachStdin": stdin or "stdin" in streams,
        "AttachStdout": attach and (everything or "stdout" in streams),
        "AttachStderr": attach and (everything or "stderr" in streams),
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": stdin,
        "Env": environment(options, host),
        "Cmd": command or None,
        "WorkingDir": options.workdir,
        "Labels": pairs([*lines(options.label_file), *options.label]),
        "Volumes": {word: {} for word in options.volume if ":" not in word},
        "HostConfig": _host_config(options, main),
        "NetworkingConfig": {"EndpointsConfig": endpoints},
    }
    if "entrypoint" in options.given:
        value["Entrypoint"] = [options.entrypoint]
    if options.stop_signal:
        value["StopSignal"] = options.stop_signal
    if "stop_timeout" in options.given:
        value["StopTimeout"] = options.stop_timeout
    if check := _healthcheck(options):
        value["Healthcheck"] = check
    opened, bindings = ports(options.publish)
    opened.update(exposed(options.expose))
    value["ExposedPorts"] = {port: {} for port in opened}
    value["HostConfig"]["PortBindings"] = bindings
    if options.mac_address:
        value["MacAddress"] = options.mac_address
    return value


def _parsed(options: Options, name: str, parse: Callable[[str], Any]) -> list[Any]:
    """A list flag's values; what cannot be read is told as pflag does."""
    flag = next(each for each in FLAGS if each.name == name)
    found = []
    for word in getattr(options, flag.key):
        try:
            found.append(parse(word))
        except ValueError as error:
            raise bad(flag, word, str(error)) from None
    return found


def _check_flags(options: Options) -> None:
    for key in _WINDOWS:
        if key in options.given:
            name = key.replace("_", "-")
            raise Failed(
                f'"--{name}" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux'
            )
    for name, parse in _CHECKS.items():
        _parsed(options, name, parse)
    if options.mac_address and not values.mac(options.mac_address):
        raise refused(f"{options.mac_address} is not a valid mac address")
    restart_policy(options.restart)
    if "" in options.volume:
        raise refused("invalid empty volume spec")
    if options.rm and options.restart not in ("no", ""):
        raise refused("conflicting options: cannot specify both --restart and --rm")
    if options.pid and options.pid != "host" and not options.pid.startswith("container:"):
        raise refused("--pid: invalid PID mode")
    for key, word in (("uts", "UTS"), ("userns", "USER")):
        value = getattr(options, key)
        if value not in ("", "host") and not (key == "userns" and value in ("auto", "private")):
            raise refused(f"--{key}: invalid {word} mode")
    if options.cgroupns not in ("", "host", "private"):
        raise refused("--cgroupns: invalid CGROUP mode")
    if options.memory_swappiness != -1 and not 0 <= options.memory_swappiness <= 100:
        raise refused(f"invalid value: {options.memory_swappiness}. Valid memory swappiness range is 0-100")


_CHECKS: dict[str, Callable[[str], Any]] = {
    "add-host": values.extra_host,
    "attach": values.stream,
    "device-cgroup-rule": values.device_rule,
    "dns": values.address,
    "env": values.variable_name,
    "label": values.label,
    "network": attachment,
    "sysctl": values.sysctl,
}


def environment(options: Options, host: str = "") -> list[str]:
    """Files first, then --env, then what config.json says of proxies."""
    words = [*lines(options.env_file, variables=True), *(word for word in map(_variable, options.env))]
    return [*words, *config.proxies(host, {word.partition("=")[0] for word in options.env})]


def _healthcheck(options: Options) -> dict[str, Any]:
    given = {name: getattr(options, key) for name, key in _CHECK_TIMES.items() if getattr(options, key)}
    if options.no_healthcheck:
        if given or options.health_cmd or options.health_retries:
            raise refused("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if options.health_retries < 0:
        raise refused("--health-retries cannot be negative")
    check: dict[str, Any] = given
    if options.health_cmd:
        check["Test"] = ["CMD-SHELL", options.health_cmd]
    if options.health_retries:
        check["Retries"] = options.health_retries
    return check


def restart_policy(text: str) -> dict[str, Any]:
    """--restart. Raises Failed."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise refused("invalid restart policy format: no policy provided before colon")
    if colon:
        try:
            return {"Name": name, "MaximumRetryCount": int(count)}
        except ValueError:
            raise refused("invalid restart policy format: maximum retry count must be an integer") from None
    return {"Name": name, "MaximumRetryCount": 0}


def _host_config(options: Options, main: str) -> dict[str, Any]:
    security = [_security(word) for word in options.security_opt]
    value: dict[str, Any] = {
        "Binds": [bind(word) for word in options.volume if ":" in word],
        "Mounts": _parsed(options, "mount", mount),
        "Tmpfs": dict(word.partition(":")[::2] for word in options.tmpfs),
        "VolumesFrom": options.volumes_from,
        "VolumeDriver": options.volume_driver,
        "NetworkMode": main,
        "Links": options.link,
        "ContainerIDFile": options.cidfile,
        "RestartPolicy": restart_policy(options.restart),
        "AutoRemove": options.rm,
        "CapAdd": options.cap_add,
        "CapDrop": options.cap_drop,
        "CgroupnsMode": options.cgroupns,
        "CgroupParent": options.cgroup_parent,
        "Dns": options.dns,
        "DnsOptions": options.dns_option,
        "DnsSearch": options.dns_search,
        "ExtraHosts": _parsed(options, "add-host", values.extra_host),
        "GroupAdd": options.group_add,
        "IpcMode": options.ipc,
        "Isolation": options.isolation,
        "PidMode": options.pid,
        "UTSMode": options.uts,
        "UsernsMode": options.userns,
        "Privileged": options.privileged,
        "PublishAllPorts": options.publish_all,
        "ReadonlyRootfs": options.read_only,
        "SecurityOpt": [word for word in security if word != "systempaths=unconfined"],
        "StorageOpt": _storage(options.storage_opt),
        "Sysctls": pairs(options.sysctl),
        "ShmSize": options.shm_size,
        "OomScoreAdj": options.oom_score_adj,
        "Runtime": options.runtime,
        "LogConfig": {"Type": options.log_driver, "Config": _log_options(options)},
        "Annotations": pairs(options.annotation),
        **({"OnUnhealthy": options.on_unhealthy} if options.on_unhealthy else {}),
        "Init": options.init if "init" in options.given else None,
        **_resources(options),
    }
    if "systempaths=unconfined" in security:
        value.update(MaskedPaths=[], ReadonlyPaths=[])
    return value


def _log_options(options: Options) -> dict[str, str]:
    if options.log_driver == "none" and options.log_opt:
        raise refused("invalid logging opts for driver none")
    return pairs(options.log_opt)


def _storage(words: Iterable[str]) -> dict[str, str]:
    if any("=" not in word for word in words):
        raise refused("invalid storage option")
    return pairs(words)


def _resources(options: Options) -> dict[str, Any]:
    devices = [word for word in options.device if not values.is_cdi(word)]
    requests = _parsed(options, "gpus", values.gpus)
    if names := [word for word in options.device if values.is_cdi(word)]:
        requests.append({"Driver": "cdi", "DeviceIDs": names})
    return {
        "Memory": options.memory,
        "MemoryReservation": options.memory_reservation,
        "MemorySwap": options.memory_swap,
        "MemorySwappiness": options.memory_swappiness if options.memory_swappiness >= 0 else None,
        "KernelMemory": options.kernel_memory,
        "OomKillDisable": options.oom_kill_disable,
        "NanoCpus": round(options.cpus * 1_000_000_000),
        "CpuShares": options.cpu_shares,
        "CpuPeriod": options.cpu_period,
        "CpuQuota": options.cpu_quota,
        "CpuRealtimePeriod": options.cpu_rt_period,
        "CpuRealtimeRuntime": options.cpu_rt_runtime,
        "CpusetCpus": options.cpuset_cpus,
        "CpusetMems": options.cpuset_mems,
        "PidsLimit": options.pids_limit or None,
        "BlkioWeight": options.blkio_weight,
        "BlkioWeightDevice": _parsed(options, "blkio-weight-device", values.weight),
        "BlkioDeviceReadBps": _parsed(options, "device-read-bps", values.bytes_rate),
        "BlkioDeviceWriteBps": _parsed(options, "device-write-bps", values.bytes_rate),
        "BlkioDeviceReadIOps": _parsed(options, "device-read-iops", values.operations_rate),
        "BlkioDeviceWriteIOps": _parsed(options, "device-write-iops", values.operations_rate),
        "Devices": [_device(word) for word in devices],
        "DeviceRequests": requests,
        "DeviceCgroupRules": options.device_cgroup_rule,
        "Ulimits": _parsed(options, "ulimit", values.ulimit),
    }


def pairs(words: Iterable[str]) -> dict[str, str]:
    """key=value words as a mapping; a word without "=" has an empty value."""
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def lines(paths: Iterable[str], *, variables: bool = False) -> list[str]:
    """The lines of environment or label files; a bare NAME takes this process' value or goes. Raises Failed."""
    found = []
    for path in paths:
        for word in _file(path):
            name = word.partition("=")[0]
            if any(character.isspace() for character in name):
                raise refused(f"invalid env file ({path}): variable '{name}' contains whitespaces")
            if "=" in word:
                found.append(word)
            elif variables and word in os.environ:
                found.append(f"{word}={os.environ[word]}")
    return found


def _file(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            stripped = [line.rstrip("\r\n").lstrip() for line in file]
    except OSError as error:
        raise refused(f"open {path}: {(error.strerror or '').lower()}") from None
    return [line for line in stripped if line and not line.startswith("#")]


def _variable(word: str) -> str:
    if "=" in word:
        return word
    return f"{word}={os.environ[word]}" if word in os.environ else word


def _security(word: str) -> str:
    """A seccomp profile travels as its text."""
    key, sign, value = word.partition("=")
    if not sign and key != "no-new-privileges":
        key, sign, value = word.partition(":")
    if not value and key.partition(":")[0] != "no-new-privileges":
        raise refused(f'Invalid --security-opt: "{word}"')
    if key == "seccomp" and value not in ("unconfined", "builtin"):
        import json

        try:
            with open(value, encoding="utf-8") as file:
                return "seccomp=" + json.dumps(json.load(file), separators=(",", ":"))
        except OSError as error:
            why = f"open {value}: {(error.strerror or '').lower()}"
            raise refused(f"opening seccomp profile ({value}) failed: {why}") from None
        except ValueError as error:
            raise refused(f"compacting json for seccomp profile ({value}) failed: {error}") from None
    return word


def _device(word: str) -> dict[str, str]:
    source, *rest = word.split(":")
    if not source or len(rest) > 2:
        raise refused(f"bad format for path: {word}")
    modes = "rwm"
    if rest and rest[-1] and len(set(rest[-1])) == len(rest[-1]) and set(rest[-1]) <= set("rwm"):
        modes = rest.pop()
    elif len(rest) == 2:
        raise refused(f"bad mode specified: {rest[1]}")
    target = rest[0] if rest else source
    if not target.startswith("/"):
        raise refused(f"{target} is not an absolute path")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": modes}
