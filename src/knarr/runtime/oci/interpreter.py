"""The interpreter out of a container's reach (CVE-2019-5736): what runs on the way into one is a read-only clone.

/proc/PID/exe of a process that meets a container leads to the file that it was started from. From a read-only clone of its
mount, or where that is not permitted from a sealed copy in memory, nobody can open it for writing.
"""

import os
import sys

_STUB = (
    "import sys; del sys.argv[0]; sys.path.insert(0, sys.argv.pop(0)); import knarr.runtime.slim; "
    "from knarr.runtime.oci.main import main; sys.exit(main())"
)


MEET_CONTAINERS = frozenset(("create", "exec", "run", "zygote"))


def get_out_of_reach(argv: "list[str]") -> None:
    """Starts again where this process is not sealed, with a new beginning of the same command."""
    if not is_sealed():
        start_again(argv)
    _prepare_process()


def is_sealed() -> bool:
    """Whether this process runs from such a clone already, or from a read-only mount."""
    if os.readlink("/proc/self/exe").startswith("/memfd:"):
        return True
    return bool(os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY)


def start_again(argv: "list[str]") -> None:
    """execve(2) of the same command, sealed. Descriptors that were passed in stay."""
    executable = os.path.realpath("/proc/self/exe")
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    fd = _clone(executable)
    name = sys.executable and os.path.realpath(sys.executable)
    words = [name or executable, "-I", "-S", "-c", _STUB, package, *argv]
    os.execve(f"/proc/self/fd/{fd}", words, os.environ)


def _prepare_process() -> None:
    """What ps shows, for the descriptor's number would be the name otherwise; and root's are not dumpable: no process of a
    container may look into one that is on its way there. Anybody else's need their own files in /proc (proc(5))."""
    from knarr.kernel.process import PR_SET_DUMPABLE, prctl, set_name

    set_name("knarr-oci")
    if os.geteuid() == 0:
        prctl(PR_SET_DUMPABLE, 0)


def _clone(executable: str) -> int:
    from knarr.kernel import mounts
    from knarr.kernel.libc import AT_EMPTY_PATH

    try:
        fd = mounts.bind_tree(executable, recursive=False)
    except PermissionError:
        return _copy(executable)
    mounts.mount_setattr(fd, "", AT_EMPTY_PATH, attr_set=mounts.MOUNT_ATTR_RDONLY)
    return fd


def _copy(executable: str) -> int:
    from knarr.kernel import memfd

    with open(executable, "rb") as file:
        return memfd.sealed("knarr-oci", file.read())
