"""What Docker refuses of a container's limits, at create and at update, in Docker's words. Pure."""

import re

from knarr.model.container import Resources
from knarr.model.errors import Invalid

_SMALLEST_MEMORY = 6 << 20
_MOST_CPUS = 8192


def check(resources: Resources, cpus: int) -> None:
    """Raises Invalid."""
    _check_memory(resources)
    if resources.nano_cpus and (resources.cpu_quota or resources.cpu_period):
        other = "Period" if resources.cpu_period else "Quota"
        raise Invalid(f"Conflicting options: Nano CPUs and CPU {other} cannot both be set")
    if resources.nano_cpus and not 10_000_000 <= resources.nano_cpus <= cpus * 1_000_000_000:
        raise Invalid(f"range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available")
    if resources.cpu_shares < 0:
        raise Invalid(f"invalid CPU shares ({resources.cpu_shares}): value must be a positive integer")
    if resources.cpu_period and not 1000 <= resources.cpu_period <= 1_000_000:
        raise Invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < resources.cpu_quota < 1000:
        raise Invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if resources.blkio_weight and not 10 <= resources.blkio_weight <= 1000:
        raise Invalid("Range of blkio weight is from 10 to 1000")
    wanted = cpu_set("cpus", resources.cpuset_cpus)
    if wanted and max(wanted) >= cpus:
        raise Invalid(
            f"Requested CPUs are not available - requested {resources.cpuset_cpus}, available: "
            + (f"0-{cpus - 1}" if cpus > 1 else "0")
        )
    cpu_set("mems", resources.cpuset_mems)


def _check_memory(resources: Resources) -> None:
    memory, swap, reservation = resources.memory, resources.memory_swap, resources.memory_reservation
    if 0 < memory < _SMALLEST_MEMORY or memory < 0:
        raise Invalid("Minimum memory limit allowed is 6MB")
    if memory > 0 and 0 < swap < memory:
        raise Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0:
        raise Invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
    if resources.memory_swappiness is not None and not -1 <= resources.memory_swappiness <= 100:
        raise Invalid(f"Invalid value: {resources.memory_swappiness}, valid memory swappiness range is 0-100")
    if 0 < reservation < _SMALLEST_MEMORY:
        raise Invalid("Minimum memory reservation allowed is 6MB")
    if memory > 0 and reservation > memory:
        raise Invalid("Minimum memory limit can not be less than memory reservation limit, see usage")


def cpu_set(kind: str, text: str) -> set[int]:
    """Reads cpuset(7)'s list form, such as `0-3,8`. Raises Invalid."""
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise Invalid(f"Invalid value {text} for cpuset {kind}: invalid format: {part}")
        if int(match[2] or match[1]) > _MOST_CPUS:
            last = match[2] or match[1]
            raise Invalid(
                f"Invalid value {text} for cpuset {kind}: value of out range, maximum is {_MOST_CPUS}"
                if last == part
                else f"Invalid value {text} for cpuset {kind}: invalid format: {part}"
            )
        numbers.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return numbers
