"""What a process may do once it runs: its user, groups, capabilities, devices, the kernel's files, control groups."""

import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from knarr.kernel.cgroups import hierarchy
from knarr.model.errors import KnarrError
from knarr.runtime import caps, defaults
from tests.security.conftest import CAPABILITIES, Cell
from tests.security.inside import PYTHON, python

WEB = {"name": "web"}
CHOWN = 1 << 0


def powers(**sets: list[str]) -> dict[str, Any]:
    """Docker's capabilities, some sets otherwise."""
    return {**CAPABILITIES, **sets}


def held(status: str, field: str) -> int:
    """A capability set out of /proc/PID/status."""
    (line,) = [line for line in status.splitlines() if line.startswith(field)]
    return int(line.split()[1], 16)


async def test_cve_2022_24769_nothing_is_inheritable(cell: Cell) -> None:
    """And 2022-29162 (runc exec), 2022-27650 (crun): a file's inheritable set gives nothing to another user's program."""
    found = []
    for process in ({"capabilities": powers(inheritable=["CAP_CHOWN"])}, {}):
        order = cell.order(
            "/bin/busybox-gifted", "cat", "/proc/self/status", process={"user": WEB, **process}
        )
        (cell.upper / "bin").mkdir()
        gifted = cell.upper / "bin/busybox-gifted"
        shutil.copy("/bin/busybox", gifted)
        os.setxattr(gifted, "security.capability", struct.pack("<5I", 0x02000001, 0, CHOWN, 0, 0))
        found.append(await cell.output(order))
    assert held(found[0], "CapEff") == CHOWN
    assert held(found[1], "CapEff") == held(found[1], "CapInh") == 0


async def test_cve_2016_8867_nothing_is_ambient(cell: Cell) -> None:
    """And 2018-10856 (podman): a user other than root has no capability."""
    given = powers(inheritable=["CAP_CHOWN"], ambient=["CAP_CHOWN"])
    weak = await cell.say("cat", "/proc/self/status", process={"user": WEB, "capabilities": given})
    assert held(weak, "CapEff") == CHOWN
    said = await cell.say("cat", "/proc/self/status", process={"user": WEB})
    assert [held(said, field) for field in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]


async def test_capabilities_that_nobody_names_are_not_given(cell: Cell) -> None:
    everything = {kind: ["CAP_SYS_ADMIN"] for kind in CAPABILITIES}
    weak = await cell.say("cat", "/proc/self/status", process={"capabilities": everything})
    assert held(weak, "CapEff") == 1 << 21
    said = await cell.say("cat", "/proc/self/status", process={"capabilities": None})
    assert [held(said, field) for field in ("CapBnd", "CapPrm", "CapEff")] == [0, 0, 0]


async def test_cve_2022_36109_a_group_that_is_refused_cannot_be_left(cell: Cell) -> None:
    """And 2022-2989 (podman), 2023-25173 (containerd): a set-gid program changes the group, the supplementary ones stay."""
    found = []
    for weak in ([["groups"]], None):
        changes = cell.weakened(weak, {"process": {"user": WEB}})
        order = cell.order("/usb/python", "-I", "-S", "-c", "print(open('/denied').read())", **changes)
        (cell.upper / "usb").mkdir()
        shutil.copy(PYTHON, cell.upper / "usb/python")
        os.chown(cell.upper / "usb/python", 0, 4)
        (cell.upper / "usb/python").chmod(0o2755)
        (cell.upper / "denied").write_text("not for group 34")
        os.chown(cell.upper / "denied", 0, 34)
        (cell.upper / "denied").chmod(0o604)
        found.append(await cell.output(order))
    assert found[0] == "not for group 34\n"
    assert "Permission denied" in found[1]


async def test_no_new_privileges_means_it(cell: Cell) -> None:
    """A set-uid program, and one with capabilities of its own, give nothing."""
    script = (
        "print(os.geteuid(), [line for line in open('/proc/self/status') if 'CapEff' in line][0].split()[1])"
    )
    found = []
    for guarded in (False, True):
        process = {"user": WEB, "noNewPrivileges": guarded}
        order = cell.order("/usb/python", *python(script)[1:], **cell.weakened(None, {"process": process}))
        (cell.upper / "usb").mkdir()
        shutil.copy(PYTHON, cell.upper / "usb/python")
        (cell.upper / "usb/python").chmod(0o4755)
        found.append((await cell.output(order)).split())
    assert found[0][0] == "0"
    assert int(found[0][1], 16) != 0
    assert found[1] == ["33", "0" * 16]


@pytest.mark.parametrize("wish", ["1000", "4294967296"])
async def test_cve_2016_3697_a_number_is_that_number(cell: Cell, wish: str) -> None:
    """And 2024-40635 (containerd): neither a name in the image's passwd nor an overflow makes it root."""
    found = []
    for weak in ([["naive-user"]], None):
        order = cell.order("id", "-u", **cell.weakened(weak, {"process": {"user": {"name": wish}}}))
        (cell.upper / "etc").mkdir()
        (cell.upper / "etc/passwd").write_text("1000:x:0:0::/:/bin/sh\n")
        try:
            found.append(await cell.output(order))
        except KnarrError as error:
            found.append(str(error))
    assert found[0] == "0\n"
    assert found[1] == "1000\n" or "uids and gids must be in range 0-2147483647" in found[1]


async def test_devices_that_nobody_gave_cannot_be_opened(cell: Cell) -> None:
    """mknod(2) is allowed, as Docker has it; the control group refuses to open what it makes (1:11 is /dev/kmsg)."""
    script = "mknod /tmp/k c 1 11 && (: >>/tmp/k) && echo opened; mknod /tmp/b b 7 0 && cat /tmp/b >/dev/null"
    everything = {"resources": {"devices": [{"allow": True, "access": "rwm"}]}}
    assert "opened" in await cell.say("sh", "-c", script, linux=everything)
    said = await cell.say("sh", "-c", script)
    assert "opened" not in said
    assert said.count("Operation not permitted") == 2


MASKED = [path for path in defaults.MASKED_PATHS if os.path.exists(path)]
LOOK = (
    "for p; do test -d $p && ls $p | head -c 1; test -f $p -a $p != /proc/kcore && head -c 1 $p; done; true"
)


async def test_cve_2015_3630_what_tells_of_the_host_is_masked(cell: Cell) -> None:
    """And 2018-10892 (/proc/acpi), 2017-16539 (/proc/scsi), with timers, keys and firmware."""
    assert MASKED
    weak = await cell.say("sh", "-c", LOOK, "-", *MASKED, linux={"maskedPaths": []})
    assert weak
    assert await cell.say("sh", "-c", LOOK, "-", *MASKED) == ""


SETTINGS = (
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/vm/panic_on_oom",
    "/proc/irq/default_smp_affinity",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
)
OPEN = "for p; do test -e $p && (: >>$p) && echo $p; done; true"


async def test_cve_2015_3630_settings_of_the_kernel_cannot_be_written(cell: Cell) -> None:
    """Opened for writing only, never written: core_pattern and uevent_helper name programs that the host's root runs."""
    present = [path for path in SETTINGS if os.path.exists(path)]
    open_mounts = [
        {**mount, "options": [word for word in mount["options"] if word != "ro"]}
        for mount in defaults.mounts()
    ]
    order = cell.order("sh", "-c", OPEN, "-", *present, linux={"readonlyPaths": []})
    order["bundle"]["mounts"] = open_mounts
    weak = (await cell.output(order)).split()
    assert set(weak) >= {path for path in present if path.startswith("/proc/sys/")}
    said = await cell.say("sh", "-c", OPEN, "-", *present)
    assert said.count("Read-only file system") == len(present)


REMOUNT = (
    "for p in /sys /proc/sys /sys/fs/cgroup; do mount -o remount,bind,rw $p && echo writable; done; true"
)


async def test_read_only_mounts_stay_so(cell: Cell) -> None:
    admin = {kind: [*names, "CAP_SYS_ADMIN"] for kind, names in CAPABILITIES.items() if names}
    weak = await cell.say("sh", "-c", REMOUNT, process={"capabilities": admin}, seccomp=None)
    assert weak.count("writable") == 3
    assert "writable" not in await cell.say("sh", "-c", REMOUNT)
    assert "writable" not in await cell.say("sh", "-c", REMOUNT, seccomp=None)


async def test_cve_2023_25809_control_groups_cannot_be_written(cell: Cell) -> None:
    script = "cd /sys/fs/cgroup; test -d pids && cd pids; mkdir more && rmdir more && echo made"
    order = cell.order("sh", "-c", script)
    for mount in order["bundle"]["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].remove("ro")
    assert await cell.output(order) == "made\n"
    assert "Read-only file system" in await cell.say("sh", "-c", script)


RELEASE = """
mkdir /tmp/c
mount -t cgroup -o pids cgroup /tmp/c && (: >>/tmp/c/release_agent) && echo agent
unshare -Urm sh -c 'mount -t cgroup -o pids cgroup /tmp/c && (: >>/tmp/c/release_agent) && echo agent'
true
"""


@pytest.mark.skipif(hierarchy.find().version == 2, reason="version 2 has no release_agent")
async def test_cve_2022_0492_no_release_agent(cell: Cell) -> None:
    """The program that the host's root runs when a control group empties; opened for writing only, never written."""
    admin = {kind: [*names, "CAP_SYS_ADMIN"] for kind, names in CAPABILITIES.items() if names}
    kinds = [{"type": kind} for kind in ("mount", "pid", "network", "ipc", "uts")]
    weak = await cell.say(
        "sh", "-c", RELEASE, process={"capabilities": admin}, seccomp=None, linux={"namespaces": kinds}
    )
    assert "agent" in weak
    assert "agent" not in await cell.say("sh", "-c", RELEASE, seccomp=None)
    said = await cell.say("sh", "-c", RELEASE)
    assert "agent" not in said
    assert said.count("Operation not permitted") + said.count("permission denied") >= 2


NOT_DUMPABLE = "print(libc.prctl(3, 0, 0, 0, 0), oct(os.umask(0)), os.getcwd(), os.nice(0))"


async def test_what_a_program_starts_with(cell: Cell) -> None:
    """Dumpable again, for it is the container's own; Docker's umask; nothing from the daemon's environment."""
    assert (await cell.say(*python(NOT_DUMPABLE))).split() == ["1", "0o22", "/", str(os.nice(0))]
    assert (await cell.say("env")).split() == ["PATH=/bin", "HOME=/root"]


OUT = """
(: >>/proc/sys/kernel/core_pattern) && echo pattern
cat /host/secret
mknod /tmp/k c 1 11 && (: >>/tmp/k) && echo device
mkdir /tmp/c; mount -t cgroup -o pids cgroup /tmp/c && (: >>/tmp/c/release_agent) && echo agent
mount -t tmpfs tmpfs /tmp/c && echo mounted
echo x >/made
true
"""


async def test_root_of_a_user_namespace_is_nobody_outside(cell: Cell, tmp_path: Path) -> None:
    """With every capability, no filter and nothing read-only: what an administrator calls privileged, but with --userns."""
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "secret").chmod(0o600)
    everything = {kind: list(caps.ALL) for kind in ("bounding", "effective", "permitted")}
    kinds = [{"type": kind} for kind in ("mount", "pid", "network", "ipc", "uts")]
    mapping = [{"containerID": 0, "hostID": 1 << 20, "size": 65536}]
    own = {
        "namespaces": [*kinds, {"type": "cgroup"}, {"type": "user"}],
        "uidMappings": mapping,
        "gidMappings": mapping,
    }
    open_paths = {
        "readonlyPaths": [],
        "maskedPaths": [],
        "resources": {"devices": [{"allow": True, "access": "rwm"}]},
    }
    found = []
    for linux in ({"namespaces": kinds}, own):
        order = cell.order(
            "sh", "-c", OUT, seccomp=None, linux={**open_paths, **linux},
            process={"capabilities": everything},
            mounts=[{"destination": "/host", "type": "bind", "source": str(tmp_path), "options": ["rbind"]}],
        )  # fmt: skip
        (cell.upper / "tmp").mkdir(mode=0o777)
        if linux is own:
            cell.root(order)[2].append("idmap")
        found.append(await cell.output(order))
    assert {"pattern", "secret", "device", "mounted"} <= set(found[0].split())
    assert set(found[1].split()) & {"pattern", "secret", "device", "agent"} == set()
    assert "mounted" in found[1], "what is its own it may do"
    assert (cell.upper / "made").stat().st_uid == 0, "CVE-2021-21284: the mapped range owns nothing on disk"
