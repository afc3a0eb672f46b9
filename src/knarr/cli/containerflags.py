"""The flags that `run` and `create` share, and what they mean in the API's words."""

import os
from collections.abc import Iterable
from typing import Any

from knarr.cli.flags import Flag, Options, UsageError, size
from knarr.cli.networkflags import networks
from knarr.model.durations import parse_duration
from knarr.model.errors import Invalid

FLAGS = (
    Flag("add-host", "", "list", "Add a custom host-to-IP mapping (host:ip)"),
    Flag("annotation", "", "list", "Add an annotation to the container"),
    Flag("attach", "a", "list", "Attach to STDIN, STDOUT or STDERR"),
    Flag("blkio-weight", "", "int", "Block IO (relative weight), between 10 and 1000, or 0 to disable"),
    Flag("blkio-weight-device", "", "list", "Block IO weight (relative device weight)"),
    Flag("cap-add", "", "list", "Add Linux capabilities"),
    Flag("cap-drop", "", "list", "Drop Linux capabilities"),
    Flag("cgroup-parent", "", "string", "Optional parent cgroup for the container"),
    Flag("cgroupns", "", "string", "Cgroup namespace to use (host|private)"),
    Flag("cidfile", "", "string", "Write the container ID to the file"),
    Flag("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
    Flag("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    Flag("cpu-shares", "c", "int", "CPU shares (relative weight)"),
    Flag("cpus", "", "float", "Number of CPUs"),
    Flag("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag("device", "", "list", "Add a host device to the container"),
    Flag("device-cgroup-rule", "", "list", "Add a rule to the cgroup allowed devices list"),
    Flag("device-read-bps", "", "list", "Limit read rate (bytes per second) from a device"),
    Flag("device-read-iops", "", "list", "Limit read rate (IO per second) from a device"),
    Flag("device-write-bps", "", "list", "Limit write rate (bytes per second) to a device"),
    Flag("device-write-iops", "", "list", "Limit write rate (IO per second) to a device"),
    Flag("dns", "", "list", "Set custom DNS servers"),
    Flag("dns-option", "", "list", "Set DNS options"),
    Flag("dns-search", "", "list", "Set custom DNS search domains"),
    Flag("domainname", "", "string", "Container NIS domain name"),
    Flag("entrypoint", "", "string", "Overwrite the default ENTRYPOINT of the image"),
    Flag("env", "e", "list", "Set environment variables"),
    Flag("env-file", "", "list", "Read in a file of environment variables"),
    Flag("expose", "", "list", "Expose a port or a range of ports"),
    Flag("group-add", "", "list", "Add additional groups to join"),
    Flag("health-cmd", "", "string", "Command to run to check health"),
    Flag("health-interval", "", "string", "Time between running the check (ms|s|m|h)"),
    Flag("health-retries", "", "int", "Consecutive failures needed to report unhealthy"),
    Flag(
        "health-start-interval",
        "",
        "string",
        "Time between running the check during the start period (ms|s|m|h)",
    ),
    Flag("health-start-period", "", "string", "Start period for the container to initialize (ms|s|m|h)"),
    Flag("health-timeout", "", "string", "Maximum time to allow one check to run (ms|s|m|h)"),
    Flag("hostname", "h", "string", "Container host name"),
    Flag("ip", "", "string", "IPv4 address (e.g., 172.30.100.104)"),
    Flag("init", "", "bool", "Run an init inside the container that forwards signals and reaps processes"),
    Flag("interactive", "i", "bool", "Keep STDIN open even if not attached"),
    Flag("ipc", "", "string", "IPC mode to use"),
    Flag("label", "l", "list", "Set meta data on a container"),
    Flag("label-file", "", "list", "Read in a line delimited file of labels"),
    Flag("link", "", "list", "Add link to another container"),
    Flag("log-driver", "", "string", "Logging driver for the container"),
    Flag("log-opt", "", "list", "Log driver options"),
    Flag("mac-address", "", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    Flag("memory", "m", "bytes", "Memory limit"),
    Flag("memory-reservation", "", "bytes", "Memory soft limit"),
    Flag("memory-swap", "", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    Flag("memory-swappiness", "", "int", "Tune container memory swappiness (0 to 100)", -1),
    Flag("mount", "", "list", "Attach a filesystem mount to the container"),
    Flag("name", "", "string", "Assign a name to the container"),
    Flag("network", "", "list", "Connect a container to a network"),
    Flag("net", "", "list", "Connect a container to a network", hidden=True),
    Flag("network-alias", "", "list", "Add network-scoped alias for the container"),
    Flag("net-alias", "", "list", "Add network-scoped alias for the container", hidden=True),
    Flag("no-healthcheck", "", "bool", "Disable any container-specified HEALTHCHECK"),
    Flag("oom-kill-disable", "", "bool", "Disable OOM Killer"),
    Flag("oom-score-adj", "", "int", "Tune host's OOM preferences (-1000 to 1000)"),
    Flag("pid", "", "string", "PID namespace to use"),
    Flag("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)"),
    Flag("platform", "", "string", "Set platform if server is multi-platform capable"),
    Flag("privileged", "", "bool", "Give extended privileges to this container"),
    Flag("publish", "p", "list", "Publish a container's port(s) to the host"),
    Flag("publish-all", "P", "bool", "Publish all exposed ports to random ports"),
    Flag("pull", "", "string", 'Pull image before running ("always", "missing", "never")', "missing"),
    Flag(
        "on-unhealthy",
        "",
        "string",
        'What to do when a health check fails for good: "restart" lets the restart policy decide',
    ),
    Flag("quiet", "q", "bool", "Suppress the pull output"),
    Flag("read-only", "", "bool", "Mount the container's root filesystem as read only"),
    Flag("restart", "", "string", "Restart policy to apply when a container exits", "no"),
    Flag("rm", "", "bool", "Automatically remove the container when it exits"),
    Flag("runtime", "", "string", "Runtime to use for this container"),
    Flag("security-opt", "", "list", "Security Options"),
    Flag("shm-size", "", "bytes", "Size of /dev/shm"),
    Flag("stop-signal", "", "string", "Signal to stop the container"),
    Flag("stop-timeout", "", "int", "Timeout (in seconds) to stop a container", -1),
    Flag("storage-opt", "", "list", "Storage driver options for the container"),
    Flag("sysctl", "", "list", "Sysctl options"),
    Flag("tmpfs", "", "list", "Mount a tmpfs directory"),
    Flag("tty", "t", "bool", "Allocate a pseudo-TTY"),
    Flag("ulimit", "", "list", "Ulimit options"),
    Flag("user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    Flag("userns", "", "string", "User namespace to use"),
    Flag("uts", "", "string", "UTS namespace to use"),
    Flag("volume", "v", "list", "Bind mount a volume"),
    Flag("volume-driver", "", "string", "Optional volume driver for the container"),
    Flag("volumes-from", "", "list", "Mount volumes from the specified container(s)"),
    Flag("workdir", "w", "string", "Working directory inside the container"),
)


def body(options: Options, *, attach: bool) -> dict[str, Any]:
    """The body of POST /containers/create. Raises UsageError."""
    image, *command = options.args
    streams = {word.lower() for word in options.attach}
    default = attach and not streams
    config: dict[str, Any] = {
        "Image": image,
        "Hostname": options.hostname,
        "Domainname": options.domainname,
        "User": options.user,
        "AttachStdin": "stdin" in streams or (default and options.interactive),
        "AttachStdout": "stdout" in streams or default,
        "AttachStderr": "stderr" in streams or default,
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": options.interactive and attach,
        "Env": [
            *(line for path in options.env_file for line in env_file(path)),
            *map(_variable, options.env),
        ],
        "Cmd": command or None,
        "WorkingDir": options.workdir,
        "Labels": pairs([*(line for path in options.label_file for line in env_file(path)), *options.label]),
        "Volumes": {word: {} for word in options.volume if _anonymous(word)},
        "HostConfig": host_config(options),
    }
    if "entrypoint" in options.given:
        config["Entrypoint"] = [options.entrypoint]
    if options.stop_signal:
        config["StopSignal"] = options.stop_signal
    if options.stop_timeout >= 0:
        config["StopTimeout"] = options.stop_timeout
    if check := _healthcheck(options):
        config["Healthcheck"] = check
    exposed, bindings = ports(options.publish)
    for word in options.expose:
        exposed.update(dict.fromkeys(_exposed(word)))
    config["ExposedPorts"] = {port: {} for port in exposed}
    config["HostConfig"]["PortBindings"] = bindings
    config["NetworkingConfig"] = {"EndpointsConfig": networks(options)}
    if options.mac_address:
        config["MacAddress"] = options.mac_address
    return config


_CHECK_TIMES = {
    "Interval": "health_interval",
    "Timeout": "health_timeout",
    "StartPeriod": "health_start_period",
    "StartInterval": "health_start_interval",
}


def _healthcheck(options: Options) -> dict[str, Any]:
    given = {name: getattr(options, key) for name, key in _CHECK_TIMES.items() if getattr(options, key)}
    if options.no_healthcheck:
        if given or options.health_cmd or options.health_retries:
            raise UsageError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    try:
        check: dict[str, Any] = {name: parse_duration(text) for name, text in given.items()}
    except Invalid as error:
        raise UsageError(str(error)) from None
    if options.health_cmd:
        check["Test"] = ["CMD-SHELL", options.health_cmd]
    if options.health_retries:
        check["Retries"] = options.health_retries
    return check


def host_config(options: Options) -> dict[str, Any]:
    """The HostConfig of the body."""
    policy, _, retries = options.restart.partition(":")
    if retries and not retries.isdigit():
        raise UsageError("maximum retry count must be an integer")
    host: dict[str, Any] = {
        "Binds": [word for word in options.volume if not _anonymous(word)],
        "Mounts": [mount(word) for word in options.mount],
        "Tmpfs": dict(_tmpfs(word) for word in options.tmpfs),
        "VolumesFrom": options.volumes_from,
        "VolumeDriver": options.volume_driver,
        "NetworkMode": next(iter(networks(options)), "default"),
        "Links": options.link,
        "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(retries or 0)},
        "AutoRemove": options.rm,
        "CapAdd": options.cap_add,
        "CapDrop": options.cap_drop,
        "CgroupnsMode": options.cgroupns,
        "CgroupParent": options.cgroup_parent,
        "Dns": options.dns,
        "DnsOptions": options.dns_option,
        "DnsSearch": options.dns_search,
        "ExtraHosts": [word.replace("=", ":", 1) for word in options.add_host],
        "GroupAdd": options.group_add,
        "IpcMode": options.ipc,
        "PidMode": options.pid,
        "UTSMode": options.uts,
        "UsernsMode": options.userns,
        "Privileged": options.privileged,
        "PublishAllPorts": options.publish_all,
        "ReadonlyRootfs": options.read_only,
        "SecurityOpt": [_security(word) for word in options.security_opt],
        "StorageOpt": pairs(options.storage_opt) or None,
        "Sysctls": pairs(options.sysctl),
        "ShmSize": options.shm_size,
        "OomScoreAdj": options.oom_score_adj,
        "Runtime": options.runtime,
        "LogConfig": {"Type": options.log_driver, "Config": pairs(options.log_opt)},
        "Annotations": pairs(options.annotation),
        **({"OnUnhealthy": options.on_unhealthy} if options.on_unhealthy else {}),
        "Init": options.init if "init" in options.given else None,
        **resources(options),
    }
    return host


def resources(options: Options) -> dict[str, Any]:
    """The limits."""
    return {
        "Memory": options.memory,
        "MemoryReservation": options.memory_reservation,
        "MemorySwap": options.memory_swap,
        "MemorySwappiness": options.memory_swappiness if options.memory_swappiness >= 0 else None,
        "OomKillDisable": options.oom_kill_disable,
        "NanoCpus": round(options.cpus * 1_000_000_000),
        "CpuShares": options.cpu_shares,
        "CpuPeriod": options.cpu_period,
        "CpuQuota": options.cpu_quota,
        "CpusetCpus": options.cpuset_cpus,
        "CpusetMems": options.cpuset_mems,
        "PidsLimit": options.pids_limit or None,
        "BlkioWeight": options.blkio_weight,
        "BlkioWeightDevice": [{"Path": p, "Weight": int(v)} for p, v in _rates(options.blkio_weight_device)],
        "BlkioDeviceReadBps": [{"Path": p, "Rate": size(v)} for p, v in _rates(options.device_read_bps)],
        "BlkioDeviceWriteBps": [{"Path": p, "Rate": size(v)} for p, v in _rates(options.device_write_bps)],
        "BlkioDeviceReadIOps": [{"Path": p, "Rate": int(v)} for p, v in _rates(options.device_read_iops)],
        "BlkioDeviceWriteIOps": [{"Path": p, "Rate": int(v)} for p, v in _rates(options.device_write_iops)],
        "Devices": [_device(word) for word in options.device],
        "DeviceCgroupRules": options.device_cgroup_rule,
        "Ulimits": [_ulimit(word) for word in options.ulimit],
    }


def pairs(words: Iterable[str]) -> dict[str, str]:
    """key=value words as a mapping; a word without "=" has an empty value."""
    return dict(_pair(word) for word in words)


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


def env_file(path: str) -> list[str]:
    """The lines of an environment file; a bare NAME takes this process' value. Raises UsageError."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.rstrip("\r\n").lstrip() for line in file]
    except OSError as error:
        raise UsageError(f"open {path}: {(error.strerror or '').lower()}") from None
    words = [line for line in lines if line and not line.startswith("#")]
    for word in words:
        name = word.partition("=")[0]
        if any(character.isspace() for character in name):
            raise UsageError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
    return [word for word in map(_variable, words) if word]


def _variable(word: str) -> str:
    if "=" in word:
        return word
    return f"{word}={os.environ[word]}" if word in os.environ else word


def _anonymous(word: str) -> bool:
    return ":" not in word


def _tmpfs(word: str) -> tuple[str, str]:
    path, _, options = word.partition(":")
    return path, options


def _security(word: str) -> str:
    """A seccomp profile travels as its text."""
    key, equals, value = word.partition("=")
    if key == "seccomp" and equals and value not in ("unconfined", "builtin"):
        try:
            with open(value, encoding="utf-8") as file:
                return f"seccomp={file.read()}"
        except OSError as error:
            raise UsageError(f"opening seccomp profile ({value}) failed: {error.strerror}") from None
    return word


def _rates(words: Iterable[str]) -> Iterable[tuple[str, str]]:
    for word in words:
        path, colon, value = word.partition(":")
        if not colon or not path.startswith("/dev/"):
            raise UsageError(f"bad format for path: {word}")
        yield path, value


def _device(word: str) -> dict[str, str]:
    source, *rest = word.split(":")
    modes = rest.pop() if rest and set(rest[-1]) <= set("rwm") else "rwm"
    return {"PathOnHost": source, "PathInContainer": rest[0] if rest else source, "CgroupPermissions": modes}


def _ulimit(word: str) -> dict[str, Any]:
    name, _, values = word.partition("=")
    soft, _, hard = values.partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
    except ValueError:
        raise UsageError(
            f'invalid argument "{word}" for "--ulimit" flag: invalid ulimit argument: {word}'
        ) from None


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    try:
        numbers = range(int(first), int(last or first) + 1)
    except ValueError:
        raise UsageError(f"invalid port specification: {text}") from None
    if not numbers or numbers[0] < 0 or numbers[-1] > 65535:
        raise UsageError(f"invalid port specification: {text}")
    return numbers


def _exposed(word: str) -> list[str]:
    number, _, protocol = word.partition("/")
    return [f"{port}/{protocol or 'tcp'}" for port in _range(number)]


def ports(words: Iterable[str]) -> tuple[dict[str, None], dict[str, list[dict[str, str]]]]:
    """-p words as exposed ports and bindings: [ip:][host[-range]:]container[-range][/protocol]."""
    exposed: dict[str, None] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for word in words:
        address, _, protocol = word.partition("/")
        address, _, container = address.rpartition(":")
        ip, host = "", address
        if address.startswith("["):
            ip, _, host = address[1:].partition("]")
            host = host.removeprefix(":")
        elif ":" in address:
            ip, _, host = address.rpartition(":")
        inside = _range(container)
        outside = [""] * len(inside) if not host else [str(port) for port in _range(host)]
        if len(inside) == 1 and len(outside) > 1:
            outside = [host]
        if len(outside) != len(inside):
            raise UsageError(f"invalid ranges specified for container and host Ports: {container} and {host}")
        for port, bound in zip(inside, outside, strict=True):
            key = f"{port}/{protocol or 'tcp'}"
            exposed[key] = None
            bindings.setdefault(key, []).append({"HostIp": ip, "HostPort": bound})
    return exposed, bindings


def mount(word: str) -> dict[str, Any]:
    """--mount type=…,source=…,target=… as the API's Mount. Raises UsageError."""
    value: dict[str, Any] = {"Type": "volume"}
    bind: dict[str, Any] = {}
    volume: dict[str, Any] = {}
    tmpfs: dict[str, Any] = {}
    for part in word.split(","):
        key, equals, text = part.partition("=")
        key = key.strip().lower()
        if key == "type":
            value["Type"] = text.lower()
        elif key in ("source", "src"):
            value["Source"] = text
        elif key in ("target", "dst", "destination"):
            value["Target"] = text
        elif key in ("readonly", "ro"):
            value["ReadOnly"] = not equals or text.lower() in ("true", "1")
        elif key == "bind-propagation":
            bind["Propagation"] = text
        elif key == "bind-nonrecursive":
            bind["NonRecursive"] = text.lower() in ("", "true", "1")
        elif key == "volume-nocopy":
            volume["NoCopy"] = not equals or text.lower() in ("true", "1")
        elif key == "volume-driver":
            volume.setdefault("DriverConfig", {})["Name"] = text
        elif key == "volume-label":
            volume.setdefault("Labels", {}).update(pairs([text]))
        elif key == "tmpfs-size":
            tmpfs["SizeBytes"] = size(text)
        elif key == "tmpfs-mode":
            tmpfs["Mode"] = int(text, 8)
        elif not equals:
            raise UsageError(
                f'invalid argument "{word}" for "--mount" flag: invalid field \'{part}\' must be a key=value pair'
            )
        else:
            raise UsageError(
                f"invalid argument \"{word}\" for \"--mount\" flag: unexpected key '{key}' in '{part}'"
            )
    if "Target" not in value:
        raise UsageError(f'invalid argument "{word}" for "--mount" flag: target is required')
    kinds = {"BindOptions": bind, "VolumeOptions": volume, "TmpfsOptions": tmpfs}
    return {**value, **{key: each for key, each in kinds.items() if each}}
