"""`update`: flags or a document become OCI resources, and are joined with those that hold. Pure."""

from collections.abc import Mapping
from typing import Any

from knarr.model.errors import Invalid
from knarr.runtime.oci.arguments import Call

_UNITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_CPU = {
    "cpu-idle": "idle",
    "cpu-burst": "burst",
    "cpu-period": "period",
    "cpu-rt-period": "realtimePeriod",
    "cpu-share": "shares",
    "cpu-quota": "quota",
    "cpu-rt-runtime": "realtimeRuntime",
}
_SIGNED = ("cpu-idle", "cpu-quota", "cpu-rt-runtime")
_MEMORY = {"memory": "limit", "memory-swap": "swap", "memory-reservation": "reservation"}
_NAMES = {
    name.lower(): name
    for name in (
        *("memory", "cpu", "blockIO", "pids", "unified", "hugepageLimits", "network", "rdma", "devices"),
        *("limit", "reservation", "swap", "swappiness", "kernel", "kernelTCP", "checkBeforeUpdate"),
        *("disableOOMKiller", "useHierarchy", "shares", "quota", "burst", "period", "realtimeRuntime"),
        *("realtimePeriod", "cpus", "mems", "idle", "weight", "leafWeight", "weightDevice"),
        *("throttleReadBpsDevice", "throttleWriteBpsDevice"),
        *("throttleReadIOPSDevice", "throttleWriteIOPSDevice"),
    )
}
_DEVICES = (
    "weightDevice",
    "throttleReadBpsDevice",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
)


def from_flags(call: Call) -> dict[str, Any]:
    """What the command line asks. Raises Invalid."""
    cpu: dict[str, Any] = {}
    for flag, key in _CPU.items():
        if call.text(flag):
            cpu[key] = _integer(flag, call.text(flag), signed=flag in _SIGNED)
    for flag, key in (("cpuset-cpus", "cpus"), ("cpuset-mems", "mems")):
        if call.text(flag):
            cpu[key] = call.text(flag)
    memory = {key: _bytes(flag, call.text(flag)) for flag, key in _MEMORY.items() if call.text(flag)}
    made: dict[str, Any] = {"cpu": cpu, "memory": memory}
    if call.number("blkio-weight"):
        made["blockIO"] = {"weight": call.number("blkio-weight")}
    if "pids-limit" in call.flags:
        made["pids"] = {"limit": call.number("pids-limit")}
    return {group: values for group, values in made.items() if values}


def _integer(flag: str, text: str, *, signed: bool) -> int:
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or (number < 0 and not signed):
        parser = "ParseInt" if signed else "ParseUint"
        raise Invalid(f'invalid value for {flag}: strconv.{parser}: parsing "{text}": invalid syntax')
    return number


def _bytes(flag: str, text: str) -> int:
    """ "50M", "1.5g", "64KiB", or -1."""
    if text == "-1":
        return -1
    word = text.strip().lower()
    digits = word.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = word[len(digits) :].strip()
    unit = unit.removesuffix("b").removesuffix("i") if len(unit) > 1 else unit
    try:
        return int(float(digits) * (1 << _UNITS[unit]))
    except (ValueError, KeyError):
        raise Invalid(f"invalid value for {flag}: invalid size: '{text}'") from None


def from_document(document: Any) -> dict[str, Any]:
    """OCI resources, their names in any case, as Go reads them; null is absent. Raises Invalid."""
    if not isinstance(document, dict):
        raise Invalid("resources are not an object")
    made: dict[str, Any] = {}
    for name, values in document.items():
        group = str(_NAMES.get(name.lower(), name))
        if isinstance(values, dict) and group != "unified":
            values = {
                _NAMES.get(key.lower(), key): value for key, value in values.items() if value is not None
            }
        if values is not None:
            made[group] = values
    return made


def fitted(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from what is asked: no limit of memory is none with swap either; nobody can live with no process."""
    made = dict(asked)
    memory = made.get("memory") or {}
    if memory.get("limit") == -1 and not memory.get("swap"):
        made["memory"] = {**memory, "swap": -1}
    if (made.get("pids") or {}).get("limit") == 0:
        made["pids"] = {"limit": 1}
    return made


def joined(held: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What holds afterwards: values replaced by name, devices by number."""
    made = dict(held)
    for group, values in asked.items():
        before = held.get(group)
        if group == "unified" or not isinstance(values, dict) or not isinstance(before, dict):
            made[group] = values
            continue
        made[group] = {**before, **values}
        for name in _DEVICES:
            if name in values and name in before:
                made[group][name] = _by_number(before[name], values[name])
    return made


def _by_number(before: Any, values: Any) -> list[Any]:
    found = {(each.get("major"), each.get("minor")): each for each in before or ()}
    for each in values or ():
        key = (each.get("major"), each.get("minor"))
        found[key] = {**found.get(key, {}), **each}
    return list(found.values())


def to_apply(after: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Of what holds afterwards, what must be written: with a limit of memory its swap, with a quota its period."""
    made: dict[str, Any] = {}
    for group, values in asked.items():
        if group == "devices":
            continue
        made[group] = values
        whole = after[group]
        if group == "memory" and {"limit", "swap"} & set(values):
            made[group] = whole
        elif group == "cpu":
            pair = ("quota", "period") if {"quota", "period"} & set(values) else ()
            made[group] = {**values, **{name: whole[name] for name in pair if name in whole}}
        elif group == "blockIO":
            made[group] = {name: whole[name] for name in values}
    return made
