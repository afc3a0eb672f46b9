"""Programs run to their end: codes, signals, streams, who they are and what they see."""

from tests.system.runtime.conftest import Runtime


async def test_true(runtime: Runtime) -> None:
    ended, out, err = await runtime.run("true")
    assert (ended.code, ended.oom, out, err) == (0, False, b"", b"")
