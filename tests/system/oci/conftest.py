"""knarr-oci as a command, bundles of Debian's static busybox, and nothing left afterwards."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import host

PARENTS = ("default", "docker", "libpod_parent")
PARENT = f"knarr-test-oci-{os.getpid()}"
STUB = "import sys; from knarr.runtime.oci.main import main; sys.argv[0] = 'knarr-oci'; sys.exit(main())"


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system; nobody writes to it."""
    root = tmp_path_factory.mktemp("oci-root")
    root.chmod(0o755)
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (root / name).mkdir()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    subprocess.run(["chroot", str(root), "/bin/busybox", "--install", "-s", "/bin"], check=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/srv:/bin/sh\n")
    (root / "bin/badinterpreter").write_text("#!/nosuch\n")
    (root / "bin/badinterpreter").chmod(0o755)
    return root


class Oci:
    """The command with a root of its own, and makers of bundles."""

    def __init__(self, base: Path, rootfs: Path):
        self.base, self.rootfs = base, rootfs
        self.root = base / "state"
        self.names: list[str] = []
        self.log = base / "log"

    def argv(self, *words: str) -> list[str]:
        """The whole command line."""
        return [sys.executable, "-c", STUB, "--root", str(self.root), *words]

    def __call__(
        self, *words: str, check: bool = True, stdin: str = "", **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs it to its end, its output in files: what it leaves running holds no pipe of ours."""
        with (self.base / "out").open("w+") as out, (self.base / "err").open("w+") as err:
            done = subprocess.run(
                self.argv(*words), input=stdin, stdout=out, stderr=err, text=True, check=False, **options
            )
            out.seek(0)
            err.seek(0)
            found = subprocess.CompletedProcess(words, done.returncode, out.read(), err.read())
        assert not check or found.returncode == 0, found
        return found

    def fails(self, *words: str, code: int = 1, stdin: str = "") -> str:
        """Runs it; what it said when it failed."""
        done = self(*words, check=False, stdin=stdin)
        assert done.returncode == code, done
        return done.stderr

    def bundle(self, *command: str, **changes: Any) -> tuple[str, str]:
        """(a name, the directory of a bundle that runs `command`). `changes`: process, linux, or keys of the configuration."""
        name = f"t{uuid.uuid4().hex[:10]}"
        self.names.append(name)
        where = self.base / name
        where.mkdir()
        self("spec", "--bundle", str(where))
        config = json.loads((where / "config.json").read_text())
        config["root"]["path"] = str(self.rootfs)
        config["process"] |= {"terminal": False, "args": list(command), **changes.pop("process", {})}
        config["linux"] |= {"cgroupsPath": f"/{PARENT}/{name}", **changes.pop("linux", {})}
        (where / "config.json").write_text(json.dumps({**config, **changes}))
        return name, str(where)

    def running(self, *command: str, **changes: Any) -> str:
        """The name of a container that runs in the background."""
        name, bundle = self.bundle(*(command or ("sleep", "1000")), **changes)
        self("run", "-d", "-b", bundle, name)
        return name

    def state(self, name: str) -> dict[str, Any]:
        """What `state` prints."""
        found: dict[str, Any] = json.loads(self("state", name).stdout)
        return found

    def status(self, name: str) -> str:
        """Of a container."""
        return str(self.state(name)["status"])

    def stop(self, name: str) -> None:
        """Kills it, and takes it away."""
        self("delete", "--force", name)

    def left(self) -> set[str]:
        """What there still is of containers: cgroups, processes in them, records."""
        cgroups = {path for path in host.cgroups(PARENT) for name in self.names if f"/{name}" in path}
        return cgroups | (set(os.listdir(self.root)) if self.root.exists() else set())


@pytest.fixture
def oci(tmp_path: Path, rootfs: Path) -> Iterator[Oci]:
    """Nothing of any container is left afterwards."""
    command = Oci(tmp_path, rootfs)
    yield command
    remains = command.left()
    for name in os.listdir(command.root) if command.root.exists() else ():
        command("delete", "--force", name, check=False)
    assert not remains


@pytest.fixture(scope="session", autouse=True)
def no_cgroup_stays() -> Iterator[None]:
    """The tests' parent cgroup goes with them."""
    yield
    if not host.cgroups(PARENT):
        for parent in (host.CGROUP / PARENT, *host.CGROUP.glob(f"*/{PARENT}")):
            if parent.is_dir():
                parent.rmdir()


@pytest.fixture(scope="module")
def no_engines_cgroup_stays() -> Iterator[None]:
    """The engines leave their own parents behind, empty ones; they go if they were not there before."""
    with host.cgroups_alone():
        before, others = _parents(), _of_containers()
        yield
        host.settle(lambda: _of_containers() - others)
        for parent in sorted(_parents() - before):
            for where, _, _ in os.walk(parent, topdown=False):
                os.rmdir(where)


def _of_containers() -> set[str]:
    return {path for name in PARENTS for path in host.cgroups(name) if not path.endswith("/conmon")}


def _parents() -> set[str]:
    found = (path for name in PARENTS for path in (host.CGROUP / name, *host.CGROUP.glob(f"*/{name}")))
    return {str(path) for path in found if path.is_dir()}
