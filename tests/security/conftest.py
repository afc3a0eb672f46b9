"""A zygote whose containers can be weakened, and one knarrd, for the whole run."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from knarr.engine import zygote as engine_zygote
from knarr.engine.zygote import Zygote
from knarr.runtime import caps
from tests.security.inside import python_mounts
from tests.support import host
from tests.support.daemons import Knarrd, busybox_tar
from tests.support.remains import remains
from tests.system.runtime.conftest import PATIENCE, Runtime, image, seccomp_filter

__all__ = ["image", "seccomp_filter"]

CAPABILITIES = {
    **{kind: list(caps.DEFAULT) for kind in ("bounding", "effective", "permitted")},
    "inheritable": [],
    "ambient": [],
}
Weak = Sequence[Sequence[Any]]
PARENT = f"knarr-test-security-{os.getpid()}"

REPOSITORY = Path(__file__).resolve().parents[2]
STUB = engine_zygote.STUB.replace(
    "from knarr.zygote",
    f"sys.path.insert(1, {str(REPOSITORY)!r}); from tests.security.weak import install; install(); from knarr.zygote",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests need root, and share one event loop and one zygote on it."""
    for item in items:
        if "tests/security" not in str(item.path):
            continue
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
        if pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


class Cell(Runtime):
    """Containers of the runtime, weakened by name."""

    async def say(self, *command: str, weak: Weak | None = None, **changes: Any) -> str:
        """What a container prints, both streams; errors of its start as they are raised."""
        _, out, err = await self.run(*command, **self.weakened(weak, changes))
        return (out + err).decode(errors="replace")

    async def output(self, order: dict[str, Any]) -> str:
        """Runs an order to its end; what it wrote to its log."""
        shim = await self.launch(order)
        await shim.start()
        await asyncio.wait_for(asyncio.shield(shim.exited), PATIENCE)
        log = Path(order["log"]["path"])
        lines = log.read_text().splitlines() if log.exists() else []
        return "".join(json.loads(line)["log"] for line in lines)

    def order(self, *command: str, **changes: Any) -> dict[str, Any]:
        """As the runtime's tests make it, under a parent of its own."""
        process = {"capabilities": dict(CAPABILITIES), **changes.pop("process", {})}
        order = super().order(*command, process=process, **changes)
        order["cgroup"] = f"{PARENT}/{order['id']}"
        return order

    def root(self, order: dict[str, Any]) -> tuple[str, str, list[str]]:
        """The one mount that is the order's root."""
        ((kind, source, options),) = order["rootfs"]["mounts"]
        return kind, source, options

    def weakened(self, weak: Weak | None, changes: dict[str, Any]) -> dict[str, Any]:
        """`changes` for `order`, with the host's Python beside busybox."""
        process = dict(changes.pop("process", {}))
        environment = [*process.pop("env", ["PATH=/bin"]), *([f"WEAK={json.dumps(weak)}"] if weak else [])]
        return {
            **changes,
            "process": {**process, "env": environment},
            "mounts": [*python_mounts(), *changes.get("mounts", [])],
        }

    @property
    def upper(self) -> Path:
        """What the container last ordered has in its root, seen from the host."""
        return self.last / "upper"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def zygote(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Zygote]:
    """knarr's own, with the hooks of `weak`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_zygote, "STUB", STUB)
        started = await Zygote.start(str(tmp_path_factory.mktemp("zygote")))
    yield started
    await started.close()


@pytest_asyncio.fixture(loop_scope="session")
async def cell(zygote: Zygote, image: Path, tmp_path: Path, seccomp_filter: str) -> AsyncIterator[Cell]:
    """Afterwards nothing is left."""
    made = Cell(zygote, image, tmp_path / "containers", seccomp_filter)
    yield made
    await made.close()
    host.settle(lambda: host.cgroups(PARENT))
    assert host.mounts([str(tmp_path)]) == set()
    for parent in [host.CGROUP / PARENT, *host.CGROUP.glob(f"*/{PARENT}")]:
        if parent.exists():
            parent.rmdir()


@pytest.fixture(scope="session")
def running_knarrd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knarrd]:
    """A daemon with `busybox:latest`."""
    knarrd = Knarrd("ktsecure0", "10.233.70.0/24")
    try:
        knarrd.start()
        knarrd.give_busybox(busybox_tar(tmp_path_factory.mktemp("busybox")))
        yield knarrd
    finally:
        knarrd.close()


@pytest.fixture
def knarrd(running_knarrd: Knarrd) -> Iterator[Knarrd]:
    """The daemon without containers, before and after; nothing of a test's is left on the host."""
    yield running_knarrd
    running_knarrd.remove_containers()
    host.settle(lambda: remains(running_knarrd))
