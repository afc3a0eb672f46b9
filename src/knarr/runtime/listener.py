"""A seccomp agent is given its descriptor, with OCI's container process state (config-linux.md, "The Container Process State")."""

import array
import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from knarr.kernel.process import pidfd_getfd
from knarr.model.errors import Unavailable


def hand_over(
    pidfd: int, number: int, pid: int, profile: Mapping[str, Any], state: Mapping[str, Any]
) -> None:
    """`number` is the walk's descriptor, `profile` OCI's linux.seccomp. One state a connection. Raises Unavailable."""
    path = str(profile.get("listenerPath") or "")
    told: dict[str, Any] = {"ociVersion": state["ociVersion"], "fds": ["seccompFd"], "pid": pid}
    if profile.get("listenerMetadata"):
        told["metadata"] = profile["listenerMetadata"]
    text = json.dumps({**told, "state": state}).encode()
    try:
        listener = pidfd_getfd(pidfd, number)
        try:
            _send(path, text, listener)
        finally:
            os.close(listener)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Unavailable(f"unable to give the seccomp listener to {path}: {reason}") from None


def _send(path: str, text: bytes, fd: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        try:
            agent.connect(path)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            words = f"failed to connect with seccomp agent specified in the seccomp profile: {path}: {reason}"
            raise Unavailable(words) from None
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
        sent = agent.sendmsg([text], [rights], socket.MSG_NOSIGNAL)
        if sent < len(text):
            agent.sendall(text[sent:])
