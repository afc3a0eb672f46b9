"""What single flags of `run` and `create` take: a word in, the API's value out, ValueError for what docker refuses."""

from typing import Any

from knarr.cli.flags import size
from knarr.cli.mountflags import fields


def sysctl(word: str) -> str:
    """NAME=VALUE of a namespaced name."""
    name = word.partition("=")[0]
    if name in _SYSCTLS or (name.startswith(("net.", "fs.mqueue.")) and "=" in word):
        return word
    raise ValueError(f"sysctl '{word}' is not allowed")


def address(word: str) -> str:
    """--dns."""
    import ipaddress

    try:
        return str(ipaddress.ip_address(word.strip()))
    except ValueError:
        raise ValueError(f"IP address is not correctly formatted: {word}") from None


def variable_name(word: str) -> str:
    """NAME[=VALUE]."""
    if not word.partition("=")[0]:
        raise ValueError(f"invalid environment variable: {word}")
    return word


def label(word: str) -> str:
    """KEY[=VALUE]."""
    if not word.partition("=")[0]:
        raise ValueError(f"invalid label '{word}': empty name")
    return word


def mac(text: str) -> bool:
    """Whether it is a hardware address."""
    parts = text.strip().replace("-", ":").split(":")
    return len(parts) in (6, 8, 20) and all(
        len(part) == 2 and set(part.lower()) <= set("0123456789abcdef") for part in parts
    )


def stream(word: str) -> None:
    """STDIN, STDOUT or STDERR."""
    if word.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")


def extra_host(word: str) -> str:
    """NAME:ADDRESS or NAME=ADDRESS, in the API's form."""
    name, _, address = word.replace("=", ":", 1).partition(":")
    if not name or not address:
        raise ValueError(f'bad format for add-host: "{word}"')
    if address != "host-gateway":
        import ipaddress

        try:
            ipaddress.ip_address(address.strip("[]"))
        except ValueError:
            raise ValueError(f'invalid IP address in add-host: "{address}"') from None
    return f"{name}:{address.strip('[]')}"


def device_rule(word: str) -> str:
    """TYPE MAJOR:MINOR MODE."""
    kind, _, rest = word.partition(" ")
    numbers, _, modes = rest.partition(" ")
    major, colon, minor = numbers.partition(":")
    known = kind in ("a", "b", "c") and bool(colon) and 0 < len(modes) <= 3 and set(modes) <= set("rwm")
    if not known or not all(part == "*" or part.isdigit() for part in (major, minor)):
        raise ValueError(f"invalid device cgroup format '{word}'")
    return word


_SYSCTLS = frozenset(
    f"kernel.{word}"
    for word in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)


def _rate(word: str) -> tuple[str, str]:
    path, colon, value = word.partition(":")
    if not colon:
        raise ValueError(f"bad format: {word}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {word}")
    return path, value


def weight(word: str) -> dict[str, Any]:
    """DEVICE:WEIGHT."""
    path, value = _rate(word)
    if not value.isdigit() or (int(value) and not 10 <= int(value) <= 1000):
        raise ValueError(f"invalid weight for device: {word}")
    return {"Path": path, "Weight": int(value)}


def bytes_rate(word: str) -> dict[str, Any]:
    """DEVICE:BYTES."""
    path, value = _rate(word)
    try:
        return {"Path": path, "Rate": size(value)}
    except ValueError:
        unit = "Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        raise ValueError(
            f"invalid rate for device: {word}. The correct format is <device-path>:<number>[<unit>]. {unit}"
        ) from None


def operations_rate(word: str) -> dict[str, Any]:
    """DEVICE:NUMBER."""
    path, value = _rate(word)
    if not value.isdigit():
        raise ValueError(
            f"invalid rate for device: {word}. The correct format is <device-path>:<number>. Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(value)}


def is_cdi(word: str) -> bool:
    """vendor.com/class=name"""
    kind, equals, name = word.partition("=")
    vendor, slash, family = kind.partition("/")
    return bool(equals and slash and vendor and family and name) and not word.startswith("/")


def gpus(word: str) -> dict[str, Any]:
    """A request for devices: COUNT, all, or CSV."""
    request: dict[str, Any] = {"Capabilities": [["gpu"]], "Options": {}}
    for part in fields(word):
        key, equals, value = part.partition("=")
        if not equals or key == "count":
            request["Count"] = _count(value if equals else key)
        elif key == "driver":
            request["Driver"] = value
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "capabilities":
            request["Capabilities"] = [[*value.split(","), "gpu"]]
        elif key == "options":
            request["Options"] = dict(word.partition("=")[::2] for word in fields(value))
        else:
            raise ValueError(f"unexpected key '{key}' in '{part}'")
    if "DeviceIDs" not in request:
        request.setdefault("Count", 1)
    return request


def _count(text: str) -> int:
    try:
        return -1 if text == "all" else int(text)
    except ValueError:
        raise ValueError(
            f'invalid count ({text}): value must be either "all" or an integer: invalid syntax'
        ) from None


_ULIMITS = frozenset(
    (
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    )
)


def ulimit(word: str) -> dict[str, Any]:
    """NAME=SOFT[:HARD]."""
    name, equals, values = word.partition("=")
    soft, _, hard = values.partition(":")
    if not equals or not soft:
        raise ValueError(f"invalid ulimit argument: {word}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    try:
        least, most = int(soft), int(hard or soft)
    except ValueError:
        wrong = next(text for text in (soft, hard) if not text.lstrip("+-").isdigit())
        raise ValueError(f'strconv.ParseInt: parsing "{wrong}": invalid syntax') from None
    if most != -1 and (least > most or least == -1):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Soft": least, "Hard": most}
