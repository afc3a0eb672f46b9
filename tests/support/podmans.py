"""Debian's podman, with storage of its own."""

import os
import subprocess
from pathlib import Path


class Podman:
    """Debian's podman on storage of its own; without a `runtime` it takes its own. `rootfs` is for `run` alone."""

    def __init__(self, place: Path, rootfs: Path | None = None, runtime: str = ""):
        self.rootfs = rootfs
        self._runtime = ["--runtime", runtime] if runtime else []
        self._dirs = {name: str(place / name) for name in ("root", "runroot", "tmpdir")}
        (place / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{self._dirs["root"]}"\nrunroot = "{self._dirs["runroot"]}"\n'
        )
        (place / "containers.conf").write_text('[engine]\nevents_logger = "none"\n')
        self.environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(place / "storage.conf"),
            "CONTAINERS_CONF": str(place / "containers.conf"),
        }

    def argv(self, *words: str) -> list[str]:
        """The whole command line."""
        own = [word for name, path in self._dirs.items() for word in (f"--{name}", path)]
        return ["podman", *self._runtime, "--cgroup-manager", "cgroupfs", *own, *words]

    def __call__(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs it."""
        done = subprocess.run(
            self.argv(*words),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, done
        return done

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`podman run` of the test's root file system."""
        *options, separator = words[: words.index("--") + 1]
        assert separator == "--"
        command = words[len(options) + 1 :]
        plain = ("run", "--network", "none", *options, "--rootfs", str(self.rootfs), *command)
        return self(*plain, check=check)
