"""exec --cgroup: the cgroup of a container, or one below it, by controller."""

import errno
import os
from collections.abc import Callable, Mapping, Sequence

from knarr.kernel.files import read_text, write_text
from knarr.model.errors import Invalid, KnarrError
from knarr.runtime.oci.container import Container
from knarr.runtime.oci.errors import words


def parse_places(words: Sequence[str]) -> dict[str, str]:
    """controller → path; "" is every controller. Pure. Raises Invalid."""
    places: dict[str, str] = {}
    for word in words:
        controllers, colon, path = word.partition(":")
        if not colon:
            if len(words) != 1:
                raise Invalid(f"invalid --cgroup argument: {word} (missing <controller>: prefix)")
            return {"": word}
        for controller in controllers.split(","):
            if not controller:
                raise Invalid(f"invalid --cgroup argument: {word} (empty <controller> prefix)")
            if controller in places:
                raise Invalid(
                    f"invalid --cgroup argument(s): controller {controller} specified multiple times"
                )
            places[controller] = path
    return places


class Place:
    """Where a process is born: of version 2 by the clone, otherwise entered by itself. None of them is made here."""

    def __init__(self, version: int, directories: Sequence[str], born: Sequence[str]):
        self.version = version
        self._directories = list(directories)
        self._born = list(born)

    def enter(self) -> None:
        """Moves the calling thread (see kernel.cgroups.v1)."""
        for directory in self._directories:
            try:
                write_text(f"{directory}/tasks", "0")
            except OSError as error:
                file = f"error adding pid {os.getpid()} to cgroups: failed to write {directory}/cgroup.procs"
                raise OSError(error.errno, error.strerror, file) from None

    def candidates(self) -> list[str]:
        """Directories of version 2 to be born in, the first that takes it; "" is anywhere."""
        return self._born

    def paths(self) -> dict[str, str]:
        """The cgroup that a process would see as its own is the container's."""
        return {"": self._directories[0]} if self._directories else {}


def locate(container: Container, places: Mapping[str, str]) -> Place:
    """The directories of a wish. Raises KnarrError for one that leaves the container's cgroup."""
    paths: dict[str, str] = container.state["cgroup_paths"]
    for controller in places:
        if controller and controller not in paths:
            raise KnarrError(
                f"unable to start container process: unknown controller {controller} in SubCgroupPaths"
            )
    if "" in paths:
        own = _below(paths[""], places.get("", ""))
        return Place(2, [own], [own] if places else [own, _of_init(container.pid, paths[""])])
    found = [_below(path, places.get(name, places.get("", ""))) for name, path in paths.items()]
    beside: str = container.state.get("cgroup_beside") or ""
    return Place(1, list(dict.fromkeys(found)), [_below(beside, places.get("", "")), ""] if beside else [""])


def _below(directory: str, wish: str) -> str:
    joined = os.path.normpath(f"{directory}/{wish}")
    if joined != directory and not joined.startswith(f"{directory}/"):
        raise KnarrError(f"unable to start container process: bad sub cgroup path: {wish}")
    return joined


def _of_init(pid: int, own: str) -> str:
    """Where the init is now: it may have moved, and its old cgroup be gone."""
    try:
        where = read_text(f"/proc/{pid}/cgroup").strip().rpartition("::")[2]
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESRCH):
            raise
        return own
    return f"/sys/fs/cgroup{where}".rstrip("/")


def born_in(candidates: Sequence[str], bear: Callable[[int], tuple[int, int]]) -> tuple[int, int]:
    """Calls `bear` with a descriptor for CLONE_INTO_CGROUP, -1 for none. Raises KnarrError."""
    *earlier, last = candidates
    for directory in earlier:
        try:
            return _try(directory, bear)
        except OSError as error:
            # EBUSY: it hands controllers on, so it takes no processes (cgroups(7)). ENOENT: the init moved away, and it is gone.
            if error.errno not in (errno.EBUSY, errno.ENOENT):
                raise
    try:
        return _try(last, bear)
    except OSError as error:
        if not last:
            raise
        raise KnarrError(
            f"unable to start container process: error adding pid -1 to cgroups: cgroup {last}: {words(error)}"
        ) from None


def _try(directory: str, bear: Callable[[int], tuple[int, int]]) -> tuple[int, int]:
    if not directory:
        return bear(-1)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return bear(fd)
    finally:
        os.close(fd)
