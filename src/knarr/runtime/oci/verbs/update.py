"""update: other limits for a running container."""

import json
import sys

from knarr.model.errors import Invalid, KnarrError, NotFound, Unsupported
from knarr.runtime.oci import resources
from knarr.runtime.oci.arguments import Call
from knarr.runtime.oci.container import STOPPED, Container
from knarr.runtime.oci.errors import NotRunning, words
from knarr.runtime.oci.session import Session


def run(session: Session) -> int:
    """Sets them; where one is refused the former ones are set again."""
    call = session.call
    container = Container.load(session.root, call.id, lock=True)
    asked = resources.fitted(_asked(call))
    for flag, name in (("l3-cache-schema", "CAT: l3 cache"), ("mem-bw-schema", "MBA: memory bandwidth")):
        if call.text(flag):
            raise Unsupported(f"Intel RDT/{name} schema is not enabled")
    memory = asked.get("memory") or {}
    if call.text("kernel-memory") or call.text("kernel-memory-tcp") or {"kernel", "kernelTCP"} & set(memory):
        session.log.warning("Kernel memory settings are ignored and will be removed")
        memory.pop("kernel", None)
        memory.pop("kernelTCP", None)
    if container.status() == STOPPED:
        raise NotRunning
    _set(session, container, asked)
    return 0


def _asked(call: Call) -> "dict[str, object]":
    source = call.text("resources")
    if not source:
        return resources.from_flags(call)
    try:
        if source == "-":
            return resources.from_document(json.load(sys.stdin))
        with open(source, "rb") as file:
            return resources.from_document(json.load(file))
    except ValueError as error:
        raise Invalid(str(error)) from None


def _set(session: Session, container: Container, asked: "dict[str, object]") -> None:
    linux = container.config.setdefault("linux", {})
    held = linux.get("resources") or {}
    after = resources.joined(held, asked)
    group = container.cgroup()
    if group is None:
        raise NotFound("cannot update: the container has no cgroup")
    try:
        group.apply(resources.to_apply(after, asked))
    except (OSError, KnarrError):
        try:
            group.apply(resources.to_apply(held, {name: held[name] for name in asked if name in held}))
        except (OSError, KnarrError) as error:
            doubt = "your state.json and actual configs might be inconsistent."
            failed = f"Setting back cgroup configs failed due to error: {words(error)}, {doubt}"
            session.log.warning(failed)
        raise
    linux["resources"] = after
    container.record.save(container.state)
