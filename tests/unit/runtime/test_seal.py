"""What a process lets go of before it steps into a container's root; each in a process of its own, for it is for good."""

import json
import subprocess
import sys
from typing import Any

OPEN = """
import json, os, sys
from knarr.runtime.seal import keep_only, seal_imports
numbers = [os.open("/", os.O_RDONLY) for _ in range(6)]
"""


def say(script: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", OPEN + script], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_only_what_is_named_stays_open() -> None:
    script = """
kept = numbers[1::2]
keep_only([*kept, -1, 0, 1])
open_now = [number for number in numbers if os.path.exists(f"/proc/self/fd/{number}")]
print(json.dumps([kept, open_now, [os.fstat(number).st_mode > 0 for number in (0, 1, 2)]]))
"""
    kept, open_now, streams = say(script)
    assert open_now == kept
    assert streams == [True, True, True]


def test_what_is_loaded_can_be_imported_and_nothing_else() -> None:
    script = """
seal_imports()
def attempt(name):
    try:
        __import__(name)
        return "loaded"
    except ImportError:
        return "refused"
print(json.dumps([attempt(name) for name in ("os", "json", "wave", "encodings.idna")]))
"""
    assert say(script) == ["loaded", "loaded", "refused", "refused"]
    assert say("seal_imports(); print(json.dumps(['ü'.encode('latin-1').hex(), b'a'.decode('ascii')]))") == [
        "fc",
        "a",
    ]
