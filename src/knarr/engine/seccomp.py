"""Compiled seccomp filters as files that shims load: each (profile, capabilities) once a boot."""

import hashlib
import json
import os
import platform
import threading
from typing import Any

from knarr.kernel.files import read_text, write_atomic
from knarr.model.errors import Invalid
from knarr.runtime.plan_seccomp import NOTIFY
from knarr.runtime.seccomp.compiler import compile_default, compile_profile

_known: dict[tuple[str, str, tuple[str, ...]], str] = {}
_turn = threading.Lock()


def filter_path(directory: str, profile: str, capabilities: tuple[str, ...]) -> str:
    """The path of the filter for a profile's JSON ("" is Docker's default one). Raises Invalid."""
    key = (directory, profile, capabilities)
    if key not in _known:
        with _turn:
            _known[key] = _made(directory, profile, capabilities)
    return _known[key]


def _made(directory: str, profile: str, capabilities: tuple[str, ...]) -> str:
    machine, kernel = platform.machine(), _kernel(platform.release())
    key = json.dumps([profile, capabilities, machine, kernel])
    path = f"{directory}/{hashlib.sha256(key.encode()).hexdigest()[:32]}.bpf"
    if not os.path.exists(path):
        if profile:
            try:
                document = json.loads(profile)
            except ValueError as error:
                raise Invalid(f"Decoding seccomp profile failed: {error}") from error
            program = compile_profile(document, capabilities, machine, kernel)
        else:
            program = compile_default(capabilities, machine, kernel)
        write_atomic(path, program, 0o444, sync=False)
    return path


def loading(profile: str) -> dict[str, Any]:
    """What a profile says beside its rules, as OCI's linux.seccomp: flags, and who decides on the calls of its agent."""
    document = json.loads(profile) if profile else {}
    kept = {
        name: document[name] for name in ("flags", "listenerPath", "listenerMetadata") if name in document
    }
    asked = [entry for entry in document.get("syscalls") or () if entry.get("action") == NOTIFY]
    return {**kept, "syscalls": asked} if asked else kept


def _kernel(release: str) -> tuple[int, int]:
    major, _, rest = release.partition(".")
    digits = "".join(character if character.isdigit() else " " for character in rest).split()
    return int(major), int(digits[0]) if digits else 0


def default_profile(setting: str) -> str | None:
    """What `--seccomp-profile` means: a file's JSON, "" for Docker's own, None for no filter. Raises Invalid."""
    if setting == "unconfined":
        return None
    if setting in ("", "builtin"):
        return ""
    try:
        return read_text(setting, 16 << 20)
    except OSError as error:
        raise Invalid(f"opening seccomp profile ({setting}) failed: {error.strerror}") from error
