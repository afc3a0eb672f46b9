"""Version 1's measures, in which OCI's configuration speaks, as version 2's. Pure."""

import math


def cpu_weight(shares: int) -> int:
    """2..262144 shares as a weight of 1..10000, the defaults 1024 and 100 being one another.

    The quadratic that runtimes agreed on (opencontainers/cgroups 0.0.4 on): the linear one gave 39 for the default.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def io_weight(weight: int) -> int:
    """A block I/O weight of 10..1000 as io.weight's 1..10000."""
    return 1 + (weight - 10) * 9999 // 990


def swap_alone(both: int | None, memory: int | None) -> int | None:
    """A limit of memory plus swap as one of swap alone; -1 is none, None not asked for. Raises ValueError."""
    if not both:
        return -1 if memory == -1 and both is None else None
    if both < 0 or memory == -1:
        return both
    if not memory:
        raise ValueError("unable to set swap limit without memory limit")
    if memory < 0:
        raise ValueError(f"invalid memory value: {memory}")
    if both < memory:
        raise ValueError("memory+swap limit should be >= memory limit")
    return both - memory
