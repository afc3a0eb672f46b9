"""state: what a container is, as JSON."""

import json
import os

from knarr.runtime.oci.container import STOPPED, Container
from knarr.runtime.oci.log import say
from knarr.runtime.oci.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run(session: Session) -> int:
    """Prints it."""
    said = describe(Container.load(session.root, session.call.id))
    say(json.dumps({**said, "owner": ""}, indent=2))
    return 0


def describe(container: Container) -> "dict[str, Any]":
    """runc's fields in runc's order."""
    status = container.status()
    annotations = container.config.get("annotations")
    return {
        "ociVersion": container.config.get("ociVersion") or "",
        "id": container.id,
        "pid": 0 if status == STOPPED else container.pid,
        "status": status,
        "bundle": container.state["bundle"],
        "rootfs": container.state["rootfs"],
        "created": container.state["created"],
        **({"annotations": annotations} if annotations else {}),
    }


def owner(path: str) -> str:
    """The name of a directory's owner; its number where it has none."""
    uid = os.stat(path).st_uid
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
