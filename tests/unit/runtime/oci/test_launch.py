"""What a process said before it ended is heard, whatever was said to it meanwhile."""

import json
import os

import pytest

from knarr.kernel.sockets import socketpair
from knarr.model.errors import Invalid
from knarr.runtime.oci.launch import Child
from knarr.runtime.oci.log import Log
from knarr.wire.zygote import describe


@pytest.mark.parametrize("late", [False, True])
def test_an_error_is_heard_from_one_that_ended_without_reading(late: bool) -> None:
    mine, theirs = socketpair()
    child = Child(mine, os.getpid(), os.pidfd_open(os.getpid()))
    try:
        if not late:
            child.go()
        theirs.send(json.dumps({"error": describe(Invalid("bad mode"))}).encode())
        theirs.close()
        if late:
            child.go()
        child.promise_gate()
        with pytest.raises(Invalid, match="bad mode"):
            child.reach_gate(Log())
    finally:
        mine.close()
        os.close(child.pidfd)
