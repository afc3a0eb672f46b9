"""`--explain`: the steps of a start as they happened."""

from collections.abc import Sequence
from typing import Any


def show(steps: Sequence[dict[str, Any]]) -> str:
    """One line a step: milliseconds since the first, how long it took, room, name, reason; kernel objects below it."""
    if not steps:
        return ""
    first = min(step["At"] for step in steps)
    lines = ["   at ms  took ms  room      step"]
    for step in sorted(steps, key=lambda each: (each["At"], -each["Duration"])):
        at, took = (step["At"] - first) / 1e6, step["Duration"] / 1e6
        lines.append(f"{at:8.2f} {took:8.2f}  {step['Room']:<9} {step['Name']}: {step['Reason']}")
        lines += [f"{'':29} {name} = {value}" for name, value in step["Objects"].items()]
    return "\n".join(lines) + "\n"
