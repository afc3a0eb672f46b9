"""How a compiled filter is loaded: what an OCI profile says beside its rules. Pure; the rules are `runtime.seccomp`'s."""

from collections.abc import Mapping
from typing import Any

from knarr.model.errors import Invalid

NOTIFY = "SCMP_ACT_NOTIFY"
SPEC_ALLOW, _WAIT_KILLABLE_RECV = 4, 32
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": _WAIT_KILLABLE_RECV,
}
"""linux/seccomp.h. TSYNC is nothing to a process of one thread."""


def filter_flags(profile: Mapping[str, Any]) -> int:
    """The flags of seccomp(2); without a word on them what runc takes. Raises Invalid."""
    wishes = profile.get("flags")
    if wishes is None:
        return SPEC_ALLOW
    for wish in wishes:
        if wish not in FLAGS:
            raise Invalid(f"seccomp flag {wish} is not known")
    flags = sum(FLAGS[wish] for wish in set(wishes))
    if flags & _WAIT_KILLABLE_RECV and not has_notify(profile):
        raise Invalid("seccomp flag SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs an SCMP_ACT_NOTIFY action")
    return flags


def has_notify(profile: Mapping[str, Any]) -> bool:
    """Whether an agent decides on some call. Raises Invalid where that could never work."""
    if profile.get("listenerMetadata") and not profile.get("listenerPath"):
        raise Invalid("seccomp: listenerMetadata is set, listenerPath is not")
    found = any(entry.get("action") == NOTIFY for entry in profile.get("syscalls") or ())
    if found and not profile.get("listenerPath"):
        raise Invalid("seccomp: SCMP_ACT_NOTIFY needs a listenerPath")
    return found
