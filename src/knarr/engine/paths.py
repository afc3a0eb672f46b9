"""Where the engine keeps things: data that lasts under the data root, what lives with the boot under the exec root."""

import hashlib
import os
from typing import NamedTuple

VOLUME_DATA = "_data"


class Paths(NamedTuple):
    """Both roots, absolute."""

    data_root: str
    exec_root: str

    @classmethod
    def of(cls, data_root: str, exec_root: str) -> "Paths":
        """With symbolic links resolved, as mounts and cgroups will see them."""
        return cls(os.path.realpath(data_root), os.path.realpath(exec_root))

    @property
    def database(self) -> str:
        """The state."""
        return f"{self.data_root}/state.db"

    @property
    def containers(self) -> str:
        """A directory for each container: its log and its /etc files."""
        return f"{self.data_root}/containers"

    def container(self, container_id: str) -> str:
        """One container's directory."""
        return f"{self.containers}/{container_id}"

    def log(self, container_id: str) -> str:
        """The newest json-file log; older ones end with .1, .2 …"""
        return f"{self.container(container_id)}/{container_id}-json.log"

    def local_log(self, container_id: str) -> str:
        """As `log`, of the driver local."""
        return f"{self.container(container_id)}/local-logs/container.log"

    def cached_log(self, container_id: str) -> str:
        """As `log`, of drivers whose logs are elsewhere."""
        return f"{self.container(container_id)}/container-cached.log"

    @property
    def volumes(self) -> str:
        """A directory for each volume."""
        return f"{self.data_root}/volumes"

    def volume(self, name: str) -> str:
        """Where a volume's files are."""
        return f"{self.volumes}/{name}/{VOLUME_DATA}"

    @property
    def trash(self) -> str:
        """What is removed is renamed into here first."""
        return f"{self.data_root}/trash"

    @property
    def runs(self) -> str:
        """A directory for each shim: its socket and what it leaves."""
        return f"{self.exec_root}/containers"

    def run(self, container_id: str) -> str:
        """One shim's directory."""
        return f"{self.runs}/{container_id}"

    @property
    def names(self) -> tuple[str, str]:
        """Where earlier versions named namespaces of the network and of users."""
        return f"{self.exec_root}/netns", f"{self.exec_root}/userns"

    @property
    def filters(self) -> str:
        """Compiled seccomp filters."""
        return f"{self.exec_root}/seccomp"

    @property
    def cgroup(self) -> str:
        """The parent of this daemon's cgroups: no other daemon's are below it."""
        return f"/knarr/{hashlib.sha256(self.data_root.encode()).hexdigest()[:12]}"

    def make(self) -> None:
        """Makes the directories."""
        for path in (self.data_root, self.containers, self.volumes, self.trash):
            os.makedirs(path, 0o711, exist_ok=True)
        for path in (self.exec_root, self.runs, self.filters):
            os.makedirs(path, 0o711, exist_ok=True)
