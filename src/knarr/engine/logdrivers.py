"""Logging drivers: what Docker takes and refuses as their options, and what a shim is told to do. Pure.

Tags and attributes are made here, once a life: the shim knows no templates and no labels. `daemon` and `host` facts come in.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from knarr.engine.checks import size
from knarr.engine.gotags import render
from knarr.model.container import LogConfig
from knarr.model.durations import parse_duration
from knarr.model.errors import Invalid, KnarrError

DRIVERS = ("fluentd", "journald", "json-file", "local", "none", "syslog")
MAX_SIZE, MAX_FILE = "10m", "3"
_COMMON = frozenset(("env", "env-regex", "labels", "labels-regex", "tag"))
_FILES = frozenset(("max-file", "max-size", "compress"))
_CACHE = frozenset(f"cache-{key}" for key in ("disabled", *_FILES))
_BUILT_IN = frozenset(("mode", "max-buffer-size")) | _CACHE
_OWN = {
    "json-file": _FILES,
    "local": _FILES,
    "journald": frozenset(),
    "syslog": frozenset(
        f"syslog-{key}" for key in ("address", "facility", "format", "tls-ca-cert", "tls-cert", "tls-key", "tls-skip-verify")
    ),
    "fluentd": frozenset(
        f"fluentd-{key}"
        for key in ("address", "async", "async-reconnect-interval", "buffer-limit", "max-retries", "request-ack", "retry-wait",
                    "sub-second-precision", "write-timeout", "read-timeout")
    ),
}  # fmt: skip
_WORDS = {
    "local": "unknown log opt '{}' for log driver local",
    **{
        name: f"unknown log opt '{{}}' for {name} log driver"
        for name in ("json-file", "journald", "syslog", "fluentd")
    },
}
_FACILITIES = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
]
_FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_BUFFER = 1_000_000


class CannotLog(KnarrError):
    """The driver cannot begin: the container does not start."""

    def __init__(self, reason: object) -> None:
        super().__init__(
            f"failed to create task for container: failed to initialize logging driver: {reason}"
        )


class Subject(NamedTuple):
    """Whose output it is."""

    id: str
    name: str
    image: str
    image_id: str
    command: Sequence[str]
    labels: Mapping[str, str]
    environment: Sequence[str]
    hostname: str


def settled(log: LogConfig, driver: str, options: Mapping[str, str]) -> LogConfig:
    """The configuration over the daemon's: options of another driver are no defaults, but those of the cache."""
    chosen = log.driver or driver
    defaults = options if chosen == driver else {key: each for key, each in options.items() if key in _CACHE}
    return LogConfig(driver=chosen, options={**defaults, **log.options})


def check_driver(driver: str, options: Mapping[str, str]) -> None:
    """Raises Invalid for a driver or an option that is not here, in Docker's words and order."""
    if driver == "none":
        return
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise Invalid(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise Invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        try:
            size(options["max-buffer-size"])
        except Invalid as error:
            raise Invalid(f"error parsing option max-buffer-size: {error}") from None
    disabled = options.get("cache-disabled", "")
    if disabled and disabled not in (*_TRUE, *_FALSE):
        raise Invalid(f"invalid value for option cache-disabled: {disabled}")
    if driver not in DRIVERS:
        raise Invalid(f'error looking up logging plugin {driver}: plugin "{driver}" not found')
    for key in options:
        if key not in _BUILT_IN and key not in _OWN[driver] and (driver == "local" or key not in _COMMON):
            raise Invalid(_WORDS[driver].format(key))
    if driver == "syslog":
        syslog_address(options.get("syslog-address", ""))
        _facility(options.get("syslog-facility", ""))
        if options.get("syslog-format", "") not in _FORMATS:
            raise Invalid("Invalid syslog format")
    if driver == "fluentd":
        _fluentd(options)


def order(log: LogConfig, paths: Mapping[str, str], subject: Subject, *, journal: bool) -> dict[str, Any]:
    """What the shim shall do with output: wire.shim's `log`. `paths`: json, local, cache. `journal`: whether journald can be
    read back, so that no cache is needed. Raises CannotLog."""
    try:
        return _order(log, paths, subject, journal=journal)
    except Invalid as error:
        raise CannotLog(error) from None


def _order(log: LogConfig, paths: Mapping[str, str], subject: Subject, *, journal: bool) -> dict[str, Any]:
    driver, options = log.driver, log.options
    if driver == "none":
        return {"driver": "none", "path": paths["json"], "max_size": -1, "max_file": 1}
    if driver == "json-file":
        return {"driver": driver, **_json_file(options, paths["json"]), **_attributes(options, subject)}
    if driver == "local":
        return {"driver": driver, **_local(options, paths["local"])}
    told: dict[str, Any] = {
        "driver": driver,
        "path": paths["json"],
        "tag": _tag(options, subject, "{{.ID}}"),
        "attrs": _extra(options, subject),
        "container": [subject.id, subject.name, subject.image],
        "hostname": subject.hostname,
        "room": _room(options),
    }
    if not uncached(options) and not (driver == "journald" and journal):
        cached = {key.removeprefix("cache-"): value for key, value in options.items() if key in _CACHE}
        told["cache"] = _local(cached, paths["cache"])
    if driver == "syslog":
        told |= _syslog(options)
    if driver == "fluentd":
        told |= _fluentd(options)
    return told


def uncached(options: Mapping[str, str]) -> bool:
    """Whether nothing is kept of what goes elsewhere."""
    return options.get("cache-disabled", "") in _TRUE


def _json_file(options: Mapping[str, str], path: str) -> dict[str, Any]:
    most = _human(options.get("max-size", MAX_SIZE))
    if "max-size" in options and most <= 0:
        raise Invalid("max-size must be a positive number")
    count = _number(options.get("max-file", MAX_FILE), "max-file")
    if count < 1:
        raise Invalid("max-file cannot be less than 1")
    compress = boolean(options.get("compress", "false"), "compress")
    if compress and (_number(options.get("max-file", "1"), "max-file") < 2 or "max-size" not in options):
        raise Invalid("compress cannot be true when max-file is less than 2 or max-size is not set")
    return {"path": path, "max_size": most, "max_file": count, **({"compress": True} if compress else {})}


def _local(options: Mapping[str, str], path: str) -> dict[str, Any]:
    most, count = _human(options.get("max-size", "20m")), _number(options.get("max-file", "5"), "max-file")
    compress = boolean(options.get("compress", "true"), "compress")
    if most < 0:
        raise Invalid("max-size must not be negative")
    if count < 0:
        raise Invalid("max-file must not be negative")
    if compress and count <= 1:
        raise Invalid("compression cannot be enabled when max file count is 1")
    return {"path": path, "max_size": most, "max_file": count, "compress": compress}


def _attributes(options: Mapping[str, str], subject: Subject) -> dict[str, Any]:
    """Of json-file: a tag only where one is asked for."""
    extra = _extra(options, subject)
    tag = _tag(options, subject, "")
    found = {**extra, **({"tag": tag} if tag else {})}
    return {"attrs": dict(sorted(found.items()))} if found else {}


def _extra(options: Mapping[str, str], subject: Subject) -> dict[str, str]:
    variables = dict(word.split("=", 1) for word in subject.environment if "=" in word)
    found: dict[str, str] = {}
    for known, names, pattern in (
        (subject.labels, "labels", "labels-regex"),
        (variables, "env", "env-regex"),
    ):
        found |= {name: known[name] for name in options.get(names, "").split(",") if name in known}
        if options.get(pattern):
            try:
                expression = re.compile(options[pattern])
            except re.error as error:
                raise Invalid(f"error parsing regexp: {error}: `{options[pattern]}`") from None
            found |= {name: value for name, value in known.items() if expression.search(name)}
    return found


def _tag(options: Mapping[str, str], subject: Subject, default: str) -> str:
    text = options.get("tag") or default
    if "{{" not in text:
        return text
    return render(text, {
        "ID": subject.id[:12], "FullID": subject.id, "Name": subject.name, "Command": " ".join(subject.command),
        "ImageID": subject.image_id.removeprefix("sha256:")[:12], "ImageFullID": subject.image_id, "ImageName": subject.image,
        "Hostname": subject.hostname, "DaemonName": "docker", "ContainerID": subject.id, "ContainerName": f"/{subject.name}",
        "ContainerImageID": subject.image_id, "ContainerImageName": subject.image, "ContainerLabels": dict(subject.labels),
        "ContainerEntrypoint": subject.command[0] if subject.command else "",
    })  # fmt: skip


def _room(options: Mapping[str, str]) -> int:
    """Bytes that may wait without holding the container up; 0: it waits."""
    if options.get("mode") != "non-blocking":
        return 0
    return size(options["max-buffer-size"]) if "max-buffer-size" in options else _BUFFER


def _syslog(options: Mapping[str, str]) -> dict[str, Any]:
    kind, host, port = syslog_address(options.get("syslog-address", ""))
    told: dict[str, Any] = {
        "address": [kind, host, port],
        "facility": _facility(options.get("syslog-facility", "")),
        "format": options.get("syslog-format", ""),
    }
    if kind == "tls":
        names = {"ca": "syslog-tls-ca-cert", "cert": "syslog-tls-cert", "key": "syslog-tls-key"}
        told["tls"] = {word: options.get(key, "") for word, key in names.items()}
        told["tls"]["verify"] = "syslog-tls-skip-verify" not in options
    return told


def syslog_address(text: str) -> tuple[str, str, int]:
    """Kind (unix, unixgram, udp, tcp, tls, or "" for the host's own), path or host, port. Raises Invalid."""
    if not text:
        return "", "", 0
    scheme, host, port, path = _url(text)
    if scheme in ("unix", "unixgram"):
        return scheme, path, 0
    if scheme not in ("udp", "tcp", "tcp+tls"):
        raise Invalid(f"unsupported scheme: '{scheme}'")
    return "tls" if scheme == "tcp+tls" else scheme, host, port or 514


def _facility(text: str) -> int:
    if not text:
        return 3
    if text in _FACILITIES:
        return _FACILITIES.index(text)
    if re.fullmatch("local[0-7]", text):
        return 16 + int(text[5])
    if re.fullmatch(r"\+?\d{1,4}", text) and int(text) <= 23:
        return int(text)
    raise Invalid("invalid syslog facility")


def _fluentd(options: Mapping[str, str]) -> dict[str, Any]:
    def flag(key: str) -> bool:
        return boolean(options.get(f"fluentd-{key}") or "false", f"fluentd-{key}")

    retries = options.get("fluentd-max-retries") or str((1 << 31) - 1)
    if not retries.isascii() or not retries.isdigit():
        raise Invalid(f'strconv.ParseUint: parsing "{retries}": invalid syntax')
    if int(retries) >= 1 << 31:
        raise Invalid("invalid fluentd-max-retries: value out of range")
    interval = _time(options, "fluentd-async-reconnect-interval")
    if interval and not 100_000_000 <= interval <= 10_000_000_000:
        text = options["fluentd-async-reconnect-interval"]
        raise Invalid(
            f'invalid value for fluentd-async-reconnect-interval: value ("{text}") must be between 100ms and 10s'
        )
    return {
        "address": list(fluentd_address(options.get("fluentd-address", ""))),
        "async": flag("async"),
        "limit": size(options.get("fluentd-buffer-limit") or "1m"),
        "retries": int(retries),
        "wait": _time(options, "fluentd-retry-wait", "1s") / 1e9,
        "reconnect": interval / 1e9,
        "ack": flag("request-ack"),
        "precise": flag("sub-second-precision"),
        "write_timeout": _time(options, "fluentd-write-timeout") / 1e9,
        "read_timeout": _time(options, "fluentd-read-timeout") / 1e9,
    }


def fluentd_address(text: str) -> tuple[str, str, int]:
    """Kind (unix, tcp, tls), path or host, port. Raises Invalid."""
    try:
        scheme, host, port, path = _url(text if "://" in text else f"tcp://{text}")
        if scheme == "unix":
            if not path.strip("/"):
                raise Invalid("path is empty")
            return "unix", path, 0
        if scheme not in ("tcp", "tls"):
            raise Invalid(f"unsupported scheme: '{scheme}'")
        if path:
            raise Invalid("should not contain a path element")
    except Invalid as error:
        raise Invalid(f"invalid fluentd-address ({text}): {error}") from None
    return scheme, host or "127.0.0.1", port or 24224


def _url(text: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(text)
        return parts.scheme, parts.hostname or "", parts.port or 0, parts.path
    except ValueError as error:
        raise Invalid(f'parse "{text}": {error}') from None


def _time(options: Mapping[str, str], key: str, default: str = "0s") -> int:
    text = options.get(key) or default
    try:
        found = parse_duration(text)
    except (Invalid, ValueError):
        raise Invalid(f'invalid value for {key}: time: invalid duration "{text}"') from None
    if found < 0:
        raise Invalid(f"invalid value for {key}: value must be a duration that is non-negative")
    return found


def _human(text: str) -> int:
    """A size in decimal units, as Docker takes a log's: "10m" is ten million. Raises Invalid."""
    found = re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?", text.strip().lower())
    if not found:
        raise Invalid(f"invalid size: '{text}'")
    return int(
        float(found[1]) * (1024 if found[3] else 1000) ** ("kmgtp".index(found[2]) + 1 if found[2] else 0)
    )


def _number(text: str, key: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid(
            f'invalid value for {key}: {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        ) from None


def boolean(text: str, key: str) -> bool:
    """As Go reads one. Raises Invalid."""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise Invalid(f'invalid boolean value for {key}: strconv.ParseBool: parsing "{text}": invalid syntax')
