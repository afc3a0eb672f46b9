"""spec: writes a config.json to start from."""

import json
import os

from knarr.kernel.cgroups import hierarchy
from knarr.model.errors import Conflict
from knarr.runtime.oci.bundle import CONFIG
from knarr.runtime.oci.session import Session
from knarr.runtime.oci.specimen import rootless, specimen


def run(session: Session) -> int:
    """Into the bundle; an existing file is not touched."""
    path = os.path.join(session.call.text("bundle") or ".", CONFIG)
    config = specimen(session.call.program, hierarchy.find().version)
    if session.call.on("rootless"):
        config = rootless(config, os.geteuid(), os.getegid())
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise Conflict(f"File {CONFIG} exists. Remove it first") from None
    with open(fd, "w") as file:
        json.dump(config, file, indent="\t")
    return 0
