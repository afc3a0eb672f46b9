"""features: what this runtime knows, in the form of OCI's features.md."""

import json

from knarr.runtime.caps import ALL
from knarr.runtime.oci.commands import OCI_VERSION
from knarr.runtime.oci.log import say
from knarr.runtime.oci.manual import VERSION
from knarr.runtime.oci.session import Session
from knarr.runtime.plan_checks import HOOKS
from knarr.runtime.plan_mounts import WORDS
from knarr.runtime.plan_process import MEMORY_FLAGS, MEMORY_MODES
from knarr.runtime.plan_seccomp import FLAGS
from knarr.runtime.plan_steps import NAMESPACES
from knarr.runtime.seccomp.profile import ACTIONS, ARCHITECTURES, OPERATORS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run(session: Session) -> int:
    """Prints it."""
    say(json.dumps(known(), indent=4) + "\n")
    return 0


def known() -> "dict[str, Any]":
    """The document. Pure."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": list(HOOKS),
        "mountOptions": [word for word in WORDS if word not in ("idmap", "ridmap")],
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(ALL),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(ACTIONS),
                "operators": sorted(f"SCMP_CMP_{word}" for word in OPERATORS),
                "archs": sorted(ARCHITECTURES),
                "knownFlags": list(FLAGS),
                "supportedFlags": list(FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "memoryPolicy": {"modes": sorted(MEMORY_MODES), "flags": sorted(MEMORY_FLAGS)},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {
            "org.opencontainers.runc.checkpoint.enabled": "false",
            "io.github.knarr.version": VERSION,
        },
        "potentiallyUnsafeConfigAnnotations": [],
    }
