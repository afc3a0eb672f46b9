"""Debian roots by mmdebstrap, from the mirror that apt is configured with; the same bytes while the mirror is the same.

mmdebstrap runs in a mount namespace of its own: what it mounts is gone with it, even if it is killed.
"""

import email.utils
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from knarr.model.errors import Denied, Invalid, Unavailable

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PUBLIC = "http://deb.debian.org/debian"
_SUITE = re.compile(r"[a-z][a-z0-9-]{0,63}\Z")
_ROLLING = frozenset({"sid", "unstable", "testing", "experimental"})
_FORMAT = "$(REPO_URI)|$(CODENAME)|$(COMPONENT)"
# Logs and caches differ from run to run, and nothing needs them.
_VOLATILE = (
    "/var/cache/ldconfig/aux-cache",
    "/var/log/alternatives.log",
    "/var/log/apt",
    "/var/log/bootstrap.log",
    "/var/log/dpkg.log",
    "/var/cache/debconf/*-old",
    "/var/lib/dpkg/*-old",
    "/etc/hostname",
    "/etc/resolv.conf",
)


def check(suite: str) -> None:
    """Raises Invalid, Denied, Unavailable before anything is begun."""
    if not _SUITE.match(suite):
        raise Invalid(f"cannot bootstrap debian:{suite}: not a suite's name")
    if os.geteuid() != 0:
        raise Denied(f"cannot bootstrap debian:{suite}: only root can")
    for program in ("mmdebstrap", "apt-get", "unshare"):
        if shutil.which(program) is None:
            raise Unavailable(f"cannot bootstrap debian:{suite}: {program} is not installed")


def own_codename() -> str:
    """The suite of this machine, or the empty string where it is not Debian."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ""
    facts = dict(line.partition("=")[::2] for line in lines)
    return facts.get("VERSION_CODENAME", "").strip('"') if facts.get("ID") == "debian" else ""


def sources(suite: str, targets: str, own: str) -> list[tuple[str, str]]:
    """(URI, suite) of each source to use, the main one first. `targets` is what apt told of this machine's, `own` its
    codename: its updates and security sources are those of the asked suite too, unless that one rolls."""
    found: dict[tuple[str, str], None] = {}
    for line in targets.splitlines():
        uri, codename, component = (*line.split("|"), "", "")[:3]
        if not own or component != "main" or "debian" not in uri:
            continue
        head, _, tail = codename.partition("-")
        if head == own and (not tail or suite not in _ROLLING):
            found[uri.rstrip("/"), f"{suite}-{tail}" if tail else suite] = None
    ordered = sorted(found, key=lambda source: source[1] != suite)
    return ordered if ordered and ordered[0][1] == suite else [(PUBLIC, suite)]


def apt_sources(suite: str) -> list[tuple[str, str]]:
    """The same, from this machine's apt."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", _FORMAT, "ShortDesc: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    return sources(suite, done.stdout if done.returncode == 0 else "", own_codename())


def release_moment(uri: str, suite: str, work: Path) -> int:
    """When the mirror's suite was released, in seconds: the one date that all that is made from it may bear."""
    target = work / f"InRelease-{suite}"
    done = subprocess.run(
        ["/usr/lib/apt/apt-helper", "download-file", f"{uri}/dists/{suite}/InRelease", str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = _first(done.stderr, "E: ") or "no answer"
        if "404" in reason or "not found" in reason.lower():
            raise Invalid(f"cannot bootstrap debian:{suite}: the mirror {uri} has no such suite")
        raise Unavailable(f"cannot bootstrap debian:{suite}: {reason}")
    for line in target.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("Date:"):
            return int(email.utils.parsedate_to_datetime(line.partition(":")[2].strip()).timestamp())
    raise Unavailable(f"cannot bootstrap debian:{suite}: the mirror {uri} does not say when it was released")


def make_root(
    suite: str,
    where: Sequence[tuple[str, str]],
    packages: Sequence[str],
    commands: Sequence[str],
    moment: int,
    tar: Path,
) -> None:
    """Writes the root with these packages, after these commands ran in it, as a tar. Raises Unavailable."""
    signed = f"[signed-by={KEYRING}] " if Path(KEYRING).exists() else ""
    hooks = [f'chroot "$1" sh -c {shlex.quote(command)}' for command in commands]
    hooks.append("rm -rf " + " ".join(f'"$1"{path}' for path in _VOLATILE))
    argv = ["unshare", "--mount", "--propagation", "private", "--"]
    argv += ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar", "--quiet"]
    argv += [f"--include={','.join(packages)}"] if packages else []
    argv += [f"--customize-hook={hook}" for hook in hooks]
    argv += [suite, str(tar), *(f"deb {signed}{uri} {name} main" for uri, name in where)]
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(moment),
        "TMPDIR": str(tar.parent),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
    done = subprocess.run(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        reason = _first(done.stderr, "E: ") or f"mmdebstrap exited {done.returncode}"
        raise Unavailable(f"cannot bootstrap debian:{suite}: {reason}")


def _first(text: str, prefix: str) -> str:
    """The first error line: what comes after it is its consequence."""
    return next((line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix)), "")
