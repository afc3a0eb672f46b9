"""What the command line and daemon.json say together: one table of values, checked, then the engine's settings. Pure.

A value comes from the file or from a flag, never from both. `reload` says what a changed file changes in a running daemon;
everything else waits for its next start, as with dockerd.
"""

import json
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from posixpath import normpath
from typing import Any

from knarr.engine.checks import size, ulimit
from knarr.engine.logdrivers import check_driver
from knarr.engine.settings import Settings
from knarr.model.errors import Invalid
from knarr.network.pools import Pool
from knarr.service.builder import builder
from knarr.service.flags import BY_KEY, FLAGS, LEVELS, REFUSED, refused

_WORDS = {
    "text": "string", "list": "array", "int": "number", "bool": "bool", "size": "number", "pairs": "object",
    "switches": "object", "limits": "object", "pools": "array", "nested": "object", "builder": "object",
}  # fmt: skip
_NESTED = {
    "log-opts",
    "default-ulimits",
    "features",
    "default-network-opts",
    "runtimes",
    "builder",
    "nri-opts",
}
_OLD = {"host-gateway-ip": "host-gateway-ips"}
_FLAG_ONLY = frozenset({"registry"})
Values = dict[str, Any]


def read(text: str) -> Values:
    """The values of a daemon.json, those of "proxies" and its like among the others. Raises Invalid."""
    text = text.removeprefix("\ufeff").strip()
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Invalid(f"invalid JSON: {error}") from None
    if not isinstance(found, dict):
        raise Invalid("invalid JSON: not an object")
    values: Values = {}
    for key, value in found.items():
        if isinstance(value, dict) and key not in _NESTED:
            values |= value
        else:
            values[key] = value
    _check_keys(values)
    return {key: _typed(key, value) for key, value in _renamed(values).items()}


def _check_keys(values: Mapping[str, Any]) -> None:
    known = set(BY_KEY) | set(_OLD)
    refusals = {key or name: name for name, key in REFUSED.items()}
    unknown = sorted(key for key in values if key not in known and key not in refusals)
    if unknown:
        raise Invalid(f"the following directives don't match any configuration option: {', '.join(unknown)}")
    for key in sorted(values):
        if key in refusals:
            raise refused(key)


def _renamed(values: Values) -> Values:
    for old, new in _OLD.items():
        if old in values:
            if new in values:
                raise Invalid(f"{old} and {new} must not both be specified in the config file")
            values = {**values, new: [values[old]]}
            del values[old]
    return values


def _typed(key: str, value: Any) -> Any:
    kind = BY_KEY[key].kind
    if kind == "size" and isinstance(value, str):
        return size(value)
    good = {
        "text": isinstance(value, str),
        "bool": isinstance(value, bool),
        "list": _texts(value),
        "pairs": isinstance(value, dict) and _texts(list(value.values())),
        "switches": isinstance(value, dict) and all(isinstance(each, bool) for each in value.values()),
        "nested": isinstance(value, dict) and all(isinstance(each, dict) for each in value.values()),
        "builder": isinstance(value, dict),
        "limits": isinstance(value, dict) and all(isinstance(each, dict) for each in value.values()),
        "pools": isinstance(value, list) and all(isinstance(each, dict) for each in value),
    }.get(kind, isinstance(value, int) and not isinstance(value, bool))
    if not good:
        raise Invalid(
            f"invalid JSON: cannot read {key}: it is to be of type {_WORDS[kind]}, not {json.dumps(value)}"
        )
    if kind == "limits":
        return [_limit(name, each) for name, each in value.items()]
    return value


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _limit(name: str, value: Mapping[str, Any]) -> str:
    table = {key.lower(): each for key, each in value.items()}
    hard = table.get("hard", table.get("soft", 0))
    return f"{table.get('name', name)}={table.get('soft', hard)}:{hard}"


def merge(file: Values, flags: Values) -> Values:
    """Flags over the file, by dockerd's rule: what both say is an error. Raises Invalid."""
    both = [flag.key for flag in sorted(FLAGS) if flag.key in file and flag.key in flags]
    if both:
        words = ", ".join(
            f"{key}: (from flag: {_go(flags[key])}, from file: {_go(file[key])})" for key in both
        )
        raise Invalid(
            f"the following directives are specified both as a flag and in the configuration file: {words}"
        )
    return check({**file, **flags})


def _go(value: Any) -> str:
    """As Go prints a value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_go(each)}' for key, each in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_go, value))}]"
    return str(value)


def check(values: Values) -> Values:
    """The values, if they can be. Raises Invalid."""
    level, form = values.get("log-level", "info"), values.get("log-format", "text")
    if level not in LEVELS:
        raise Invalid(f"invalid logging level: {level}")
    if form not in ("text", "json"):
        raise Invalid(f"invalid log format: {form}")
    for key, word in (("mtu", "default MTU"), ("max-concurrent-downloads", "max concurrent downloads"),
                      ("max-concurrent-uploads", "max concurrent uploads"), ("default-stop-timeout", "default stop timeout")):  # fmt: skip
        if values.get(key, 0) < 0:
            raise Invalid(f"invalid {word}: {values[key]}")
    for key in ("dns", "host-gateway-ips"):
        for text in values.get(key, ()):
            _address(text, f"{text} is not an ip address")
    if "ip" in values:
        _address(values["ip"], f'invalid argument "{values["ip"]}" for "--ip" flag: failed to parse IP')
    _check_labels(values.get("labels", ()))
    _check_words(values)
    _check_firewall(values)
    check_driver(values.get("log-driver", "json-file"), values.get("log-opts", {}))
    for text in values.get("default-ulimits", ()):
        ulimit(text)
    builder(values.get("builder", {}))
    return values


def _check_words(values: Values) -> None:
    if values.get("default-ipc-mode", "private") not in ("private", "shareable"):
        raise Invalid(
            f"IPC mode {_quoted(values['default-ipc-mode'])} is not supported as default value for containers"
        )
    if values.get("default-cgroupns-mode", "private") not in ("private", "host"):
        raise Invalid(f"invalid default cgroup namespace ({values['default-cgroupns-mode']})")
    if values.get("default-runtime", "runc") not in ("runc", "knarr", "io.containerd.runc.v2"):
        raise Invalid(f"specified default runtime '{values['default-runtime']}' does not exist")
    for option in values.get("exec-opts", ()):
        if option != "native.cgroupdriver=cgroupfs":
            raise Invalid(
                f"invalid exec-opt: {_quoted(option)}: knarrd has native.cgroupdriver=cgroupfs only"
            )


def _check_firewall(values: Values) -> None:
    for key in ("iptables", "ip6tables"):
        if not values.get(key, True):
            raise Invalid(f"{key} cannot be false: published ports are rules of nftables here")
    if values.get("publish-firewall", "obey") not in ("obey", "bypass"):
        raise Invalid(f"invalid publish-firewall: {values['publish-firewall']}: it is obey or bypass")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _address(text: str, words: str) -> None:
    try:
        ip_address(text)
    except ValueError:
        raise Invalid(words) from None


def _check_labels(labels: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for label in labels:
        key, equals, value = label.partition("=")
        if not equals or not key:
            raise Invalid(f"bad attribute format: {label}")
        if seen.setdefault(key, value) != value:
            raise Invalid(f"conflict labels for {key}={value} and {key}={seen[key]}")


def settings_from(values: Mapping[str, Any]) -> Settings:
    """The engine's part. Raises Invalid."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if key == "registry-mirrors":
            out |= _mirrors(value)
        elif key == "builder":
            out["builder"] = builder(value)
        elif key == "default-address-pools":
            out["default_address_pools"] = tuple(_pool(each) for each in value)
        elif key in _ENGINE:
            out[_ENGINE[key]] = tuple(value) if isinstance(value, list) else value
    for name in ("data_root", "exec_root"):
        if name in out and not out[name].startswith("/"):
            raise Invalid(f"{name.replace('_', '-')} is to be an absolute path: {out[name]}")
        if name in out:
            out[name] = normpath(out[name])
    return Settings(**out)


_NAMES = {
    "dns-opts": "dns_options", "log-opts": "log_options", "init-path": "init_path", "host-gateway-ips": "host_gateways", "ip": "host_ip",
}  # fmt: skip
_OUTER = frozenset(
    [
        "hosts",
        "pidfile",
        "group",
        "tls",
        "tlsverify",
        "tlscacert",
        "tlscert",
        "tlskey",
        "registry",
        "exec-opts",
        "http-proxy",
        "https-proxy",
        "no-proxy",
        "log-level",
        "log-format",
        "raw-logs",
        "features",
        "default-runtime",
        "registry-mirrors",
        "default-address-pools",
        "iptables",
        "ip6tables",
    ]
)
_ENGINE = {key: _NAMES.get(key, key.replace("-", "_")) for key in BY_KEY if key not in _OUTER}


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


def _pool(table: Mapping[str, Any]) -> Pool:
    try:
        return Pool(str(table["base"]), int(table["size"]))
    except (KeyError, ValueError):
        raise Invalid(f"invalid default address pool: {json.dumps(table)}") from None


def reload(running: Values, file: Values, flags: Values) -> Values:
    """The values of a daemon that runs with `running` once its file says `file`. Raises Invalid: nothing changes then."""
    merge(file, flags)
    fresh = {key: value for key, value in file.items() if BY_KEY[key].reloads}
    reset = {key: value for key, value in running.items() if key not in _RESET or key in flags}
    return check({**reset, **fresh})


_RESET = ("max-concurrent-downloads", "max-concurrent-uploads", "features")
"""dockerd takes these back to their defaults when the file no longer has them."""


def attributes(values: Mapping[str, Any]) -> dict[str, str]:
    """What a reload event tells, as dockerd's does."""
    settings = settings_from(values)

    def listed(key: str) -> str:
        return json.dumps(list(values.get(key, ())), separators=(",", ":"))

    return {
        "debug": _go(settings.debug),
        "default-cgroupns-mode": settings.default_cgroupns_mode,
        "default-ipc-mode": settings.default_ipc_mode,
        "default-runtime": str(values.get("default-runtime", "runc")),
        "default-shm-size": str(settings.default_shm_size),
        "default-stop-timeout": str(settings.default_stop_timeout),
        "features": _go(values.get("features", {})),
        "insecure-registries": listed("insecure-registries"),
        "labels": listed("labels"),
        "live-restore": _go(settings.live_restore),
        "log-level": str(values.get("log-level", "info")),
        "max-concurrent-downloads": str(settings.max_concurrent_downloads),
        "max-concurrent-uploads": str(settings.max_concurrent_uploads),
        "registry-mirrors": listed("registry-mirrors"),
        "shutdown-timeout": str(settings.shutdown_timeout),
    }
