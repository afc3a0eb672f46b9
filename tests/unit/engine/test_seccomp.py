"""What a Docker profile says beside its rules reaches the runtime."""

import json

from knarr.engine.seccomp import loading


def test_docker_profiles_may_have_flags_and_an_agent() -> None:
    asked = {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": "/run/agent.sock",
        "listenerMetadata": "x",
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}, asked],
    }
    wanted = {name: profile[name] for name in ("flags", "listenerPath", "listenerMetadata")}
    assert loading(json.dumps(profile)) == {**wanted, "syscalls": [asked]}
    assert loading(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []})) == {}
    assert loading("") == {}
