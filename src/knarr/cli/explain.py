"""`--explain`: the steps of a start as they happened."""

from collections.abc import Sequence
from typing import Any


def show(steps: Sequence[dict[str, Any]]) -> str:
    """One line a step: milliseconds since the first, how long it took, room, name, reason; objects below it."""
    if not steps:
        return ""
    first = min(step["at"] for step in steps)
    lines = ["   at ms  took ms  room      step"]
    for step in sorted(steps, key=lambda each: (each["at"], -each["duration"])):
        at, took = (step["at"] - first) / 1e6, step["duration"] / 1e6
        lines.append(f"{at:8.2f} {took:8.2f}  {step['room']:<9} {step['name']}: {step['reason']}")
        lines += [f"{'':29} {name} = {value}" for name, value in step["objects"].items()]
    return "\n".join(lines) + "\n"
