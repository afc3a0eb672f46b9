"""Acts on the process itself: namespaces, names, limits, its user, its privileges. Named in `plan.py`."""

import errno
import os
import resource
import signal
import stat
from collections.abc import Sequence

from knarr.kernel import process, seccomp, terminal
from knarr.kernel.capabilities import NUMBERS, last
from knarr.kernel.fd import RESOLVE_NO_MAGICLINKS, openat2
from knarr.kernel.libc import AT_FDCWD
from knarr.kernel.process import CLOSE_RANGE_CLOEXEC, close_range
from knarr.model.errors import Invalid, Unavailable
from knarr.runtime.acts_files import NULL, open_null
from knarr.runtime.birth import CLONES, become_root, join_flags
from knarr.runtime.caps import bits, names
from knarr.runtime.state import Walk
from knarr.runtime.users import User, find_user, home_of

_LAST_CAPABILITY = last()
_CPUS = os.cpu_count() or 1
_BOUND = len(os.sched_getaffinity(0)) < _CPUS
_OUTSIDE = "current working directory is outside of container mount namespace root -- possible container breakout detected"


def protect(walk: Walk) -> None:
    """Not dumpable: no ptrace and no /proc/PID/{exe,fd,mem} for processes of the container (CVE-2016-9962)."""
    process.prctl(process.PR_SET_DUMPABLE, 0)


def enter_cgroup(walk: Walk) -> None:
    """On version 2 a process is born inside (CLONE_INTO_CGROUP), but for one whose user namespace has no right to."""
    for fd in walk.entries:
        os.write(fd, b"0")
        os.close(fd)
    if walk.cgroup is not None and walk.cgroup.version == 1 and not walk.entries:
        walk.cgroup.enter()
    walk.entries.clear()
    if _BOUND and not walk.affine:
        spread()


def spread() -> None:
    """On all CPUs that the cgroup has: who started this may have been bound to a few."""
    try:
        os.sched_setaffinity(0, range(_CPUS))
    except OSError:
        return  # as runc: a kernel or a filter that refuses leaves it where it is


def join_container(walk: Walk) -> None:
    """All namespaces of the init at once (setns(2) with a pidfd), with nothing of the host in hand."""
    walk.close_procfs()
    process.setns(walk.init_pidfd, join_flags(walk.space))
    if walk.space.own_user:
        become_root()


def keyring(walk: Walk) -> None:
    """A session keyring of its own, without a name that another could join; kernels without keyrings inherit nothing."""
    try:
        process.join_session_keyring(None)
    except OSError:
        return


def join(walk: Walk, kind: str, path: str, foreign: bool) -> None:
    """setns(2) into a namespace that somebody else made, its kind checked; `foreign`: it must not be the runtime's own."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{kind} namespace path {path}") from None
    if foreign and os.path.samestat(os.fstat(fd), os.stat("/proc/self/ns/net")):
        raise Invalid(f"sysctl net.* not allowed in host network namespace: {path} is the host's")
    try:
        process.setns(fd, CLONES[kind])
    except OSError as error:
        words = "it is not one" if error.errno == errno.EINVAL else error.strerror
        raise OSError(error.errno, words, f"{kind} namespace path {path}") from None
    finally:
        os.close(fd)


def unshare_cgroup(walk: Walk) -> None:
    """Its root is the cgroup of this moment."""
    process.unshare(process.CLONE_NEWCGROUP)


def hostname(walk: Walk, name: str) -> None:
    """sethostname(2)"""
    process.sethostname(name)


def domainname(walk: Walk, name: str) -> None:
    """setdomainname(2)"""
    process.setdomainname(name)


def rlimit(walk: Walk, name: str, number: int, soft: int, hard: int) -> None:
    """A hard limit that this machine does not let us raise is kept as it is, and the user is told."""
    soft, hard = (-1 if limit >= 1 << 63 else limit for limit in (soft, hard))
    try:
        process.prlimit(0, number, soft, hard)
    except (PermissionError, ValueError):
        _, most = resource.getrlimit(number)
        soft = most if soft < 0 or 0 <= most < soft else soft
        process.prlimit(0, number, soft, most)
        walk.warnings.append(f"cannot raise the hard limit of {name} to {hard}: it stays {most}")


def user_ids(walk: Walk, uid: int, gid: int, groups: Sequence[int]) -> None:
    """Numbers that are known already."""
    _become(walk, User(uid, gid, tuple(groups), home_of(uid, _text(walk, "/etc/passwd"))))


def user(walk: Walk, wish: str, groups: Sequence[str]) -> None:
    """Names of the container's own files."""
    _become(walk, find_user(wish, groups, _text(walk, "/etc/passwd"), _text(walk, "/etc/group")))


def _become(walk: Walk, who: User) -> None:
    walk.user = who
    if not walk.environment.get("HOME"):
        walk.environment["HOME"] = who.home


def _text(walk: Walk, path: str) -> str:
    try:
        return walk.root.read(path).decode(errors="replace")
    except OSError:
        return ""


def directory(walk: Walk, path: str) -> None:
    """The working directory, root's and 0755 where it was missing, as Docker makes it."""
    try:
        os.close(walk.root.mkdirs(path))
    except NotADirectoryError:
        raise Invalid(f"Cannot mkdir: {path} is not a directory") from None


def stdio(walk: Walk) -> None:
    """Descriptors 0 to 2, given to the user so that /dev/stdout can be opened again; a terminal becomes controlling."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    if walk.slave >= 0:
        for number in range(3):
            os.dup2(walk.slave, number)
        terminal.set_controlling(0)
        os.fchown(0, walk.user.uid, -1)
        return
    for number, fd in enumerate(walk.stdio):
        if fd < 0:
            fd = open_null(walk)
        else:
            _give(fd, walk.user)
        os.dup2(fd, number)


def _give(fd: int, who: User) -> None:
    """A stream may be a file of somebody else: the host's /dev/null stays its own, and so does what cannot be given."""
    found = os.fstat(fd)
    if found.st_uid == who.uid or found.st_rdev == NULL:
        return
    try:
        os.fchown(fd, who.uid, who.gid)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM, errno.EROFS, errno.ENOSYS):
            raise


def cwd(walk: Walk, path: str) -> None:
    """fchdir(2), as root: the directory may be closed to its user, or as its user: it may be closed to us.

    Magic links lead nowhere (CVE-2024-21626).
    """
    where = f'chdir to cwd ("{path}") set in config.json failed'
    try:
        directory = walk.root.open(path, os.O_PATH | os.O_DIRECTORY)
        try:
            os.fchdir(directory)
        finally:
            os.close(directory)
    except PermissionError:
        if walk.cwd_later:
            raise
        walk.cwd_later = path
        return
    except OSError as error:
        raise OSError(error.errno, error.strerror, where) from None
    try:
        os.getcwd()
    except FileNotFoundError:
        raise OSError(errno.ENOENT, _OUTSIDE, where) from None


def no_new_privileges(walk: Walk) -> None:
    """PR_SET_NO_NEW_PRIVS"""
    process.set_no_new_privs()


def load_filter(walk: Walk, flags: int, listener: bool) -> None:
    """seccomp(2). What could be forbidden afterwards is done before; the agent's descriptor is told by write(2) alone."""
    close_range(3 + walk.preserved, flags=CLOSE_RANGE_CLOEXEC)
    flags |= seccomp.FILTER_FLAG_NEW_LISTENER if listener else 0
    number = seccomp.load(walk.filter, flags)
    walk.debug.append(f"seccomp filter flags: {flags}")
    if listener:
        os.write(walk.control.fileno(), b'{"listener": %d}' % number)
        if not walk.control.recv(1):
            raise Unavailable("nobody took the seccomp listener")
        os.close(number)


def umask(walk: Walk, mask: int) -> None:
    """What execve(2) finds; the walk itself has none."""
    walk.umask = mask


def bounding(walk: Walk, keep: Sequence[str]) -> None:
    """Drops every other capability from the bounding set."""
    kept = bits(keep)
    for number in range(_LAST_CAPABILITY + 1):
        if not kept >> number & 1:
            process.drop_bounding(number)


def identity(walk: Walk) -> None:
    """Its user and groups; capabilities are kept until the next act sets them."""
    process.prctl(process.PR_SET_KEEPCAPS, 1)
    process.setgroups(list(walk.user.groups))
    os.setresgid(walk.user.gid, walk.user.gid, walk.user.gid)
    os.setresuid(walk.user.uid, walk.user.uid, walk.user.uid)
    process.prctl(process.PR_SET_DUMPABLE, 0)
    if walk.cwd_later:
        cwd(walk, walk.cwd_later)


def capabilities(
    walk: Walk,
    effective: Sequence[str],
    permitted: Sequence[str],
    inheritable: Sequence[str],
    ambient: Sequence[str],
) -> None:
    """capset(2); what the host does not have cannot be given."""
    _, held, _ = process.capget()
    may = bits(permitted) & held
    process.capset(bits(effective) & may, may, bits(inheritable) & held)
    for name in ambient:
        try:
            process.raise_ambient(NUMBERS[name])
        except (OSError, KeyError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not known"
            walk.warnings.append(f"can't raise ambient capability {name}: {reason}")
    lost = sorted({*effective, *permitted, *inheritable} - set(names(held)))
    if lost:
        walk.warnings.append(f"ignoring unknown or unavailable capabilities: [{' '.join(lost)}]")


def die_with_shim(walk: Walk) -> None:
    """PR_SET_PDEATHSIG; a change of user would clear it, so it comes after (PR_SET_PDEATHSIG(2const))."""
    process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)


def command(walk: Walk, name: str) -> None:
    """Finds the program as Go's exec.LookPath does, with the errors that Docker's clients know."""
    if "/" in name:
        try:
            _executable(name)
        except OSError as error:
            reason = (error.strerror or "").lower()
            stat_call = f"stat {name}: " if isinstance(error, FileNotFoundError) else ""
            raise OSError(error.errno, f"{stat_call}{reason}", f'exec: "{name}"') from None
        walk.executable = name
        return
    for place in walk.environment.get("PATH", "").split(":"):
        candidate = f"{place or '.'}/{name}"
        try:
            _executable(candidate)
        except OSError:
            continue
        walk.executable = candidate
        return
    raise OSError(2, "executable file not found in $PATH", f'exec: "{name}"')


def _executable(path: str) -> None:
    """Magic links are refused: /proc/self/exe is this interpreter (CVE-2019-5736), /proc/self/fd/N anything."""
    try:
        file = openat2(AT_FDCWD, path, os.O_PATH, resolve=RESOLVE_NO_MAGICLINKS)
        mode = os.fstat(file).st_mode
        os.close(file)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        mode = _plain_mode(path)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, os.strerror(21), path)
    if not os.access(path, os.X_OK, effective_ids=True):
        raise PermissionError(13, os.strerror(13), path)


def _plain_mode(path: str) -> int:
    """The same where a filter forbids openat2(2) already: a magic link's text does not lead to where it leads."""
    found = os.stat(path)
    if not os.path.samestat(found, os.stat(os.path.realpath(path))):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return found.st_mode
