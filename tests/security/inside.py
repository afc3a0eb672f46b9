"""Programs for the inside of a container: the host's Python, bound read-only, so that attacks need no compiler."""

import json
import os
import sys
from typing import Any

PYTHON = os.path.realpath(sys.executable)
_PREFIX = os.path.realpath(sys.base_prefix)
_LIBC = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    return result if result >= 0 else -ctypes.get_errno()
def attempt(action):
    try:
        return action()
    except OSError as error:
        return os.strerror(error.errno)
"""


def places() -> list[str]:
    """Directories of the host that its Python needs."""
    wanted = [path for path in ("/usr", "/lib", "/lib64") if os.path.isdir(path)]
    if not any(f"{_PREFIX}/".startswith(f"{path}/") for path in wanted):
        wanted.append(_PREFIX)
    return wanted


def python_mounts() -> list[dict[str, Any]]:
    """As OCI mounts."""
    return [
        {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]} for path in places()
    ]


def python_volumes() -> list[str]:
    """As flags of docker run."""
    return [word for path in places() for word in ("-v", f"{os.path.realpath(path)}:{path}:ro")]


def python(script: str, *arguments: str) -> list[str]:
    """A command; `call` does a system call by number and gives its result or -errno, `attempt` an error's words."""
    return [PYTHON, "-I", "-S", "-c", _LIBC + script, *arguments]


def parsed(said: str) -> Any:
    """The JSON that a script printed."""
    try:
        return json.loads(said)
    except ValueError:
        raise AssertionError(f"no JSON: {said}") from None
