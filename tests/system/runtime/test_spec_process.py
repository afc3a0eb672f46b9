"""What an OCI configuration says of a process and its devices, each shown by what the process sees."""

import os
import resource
import stat
from pathlib import Path
from typing import Any

import pytest

from knarr.model.errors import Invalid, Unsupported
from knarr.runtime import caps, defaults
from knarr.runtime.plan_process import RLIMITS
from tests.support import host
from tests.system.runtime.conftest import Runtime

KINDS = ("mount", "pid", "network", "ipc", "uts", "cgroup")


def spaces(*kinds: str, **joined: str) -> dict[str, Any]:
    new = [{"type": kind} for kind in kinds if kind not in joined]
    return {"namespaces": new + [{"type": kind, "path": path} for kind, path in joined.items()]}


async def links(runtime: Runtime, **changes: Any) -> dict[str, str]:
    """The namespaces of a container's init, by the names in /proc/self/ns."""
    script = "cd /proc/self/ns; for n in mnt pid net ipc uts cgroup; do echo $n $(readlink $n); done"
    _, out, _ = await runtime.run("sh", "-c", script, **changes)
    return dict(line.split(" ") for line in out.decode().splitlines())


@pytest.mark.parametrize("missing", ["pid", "network", "ipc", "uts", "cgroup"])
async def test_any_namespace_may_be_the_hosts(runtime: Runtime, missing: str) -> None:
    order = runtime.order("true")
    kept = [kind for kind in KINDS if kind != missing]
    mounts = [m for m in defaults.mounts() if missing != "network" or m["type"] != "sysfs"]
    bundle: dict[str, Any] = {"mounts": mounts}
    if missing == "uts":
        bundle["hostname"] = ""
    linux = {**order["bundle"]["linux"], **spaces(*kept)}
    found = await links(runtime, linux=linux, bundle=bundle)
    name = {"network": "net"}.get(missing, missing)
    for each, inode in found.items():
        assert (inode == os.readlink(f"/proc/self/ns/{each}")) is (each == name), each


async def test_namespaces_are_joined_by_path_and_kind(runtime: Runtime) -> None:
    shim = await runtime.launch(runtime.order("sleep", "1000"))
    await shim.start()
    base = f"/proc/{shim.pid}/ns"
    joined = {"network": f"{base}/net", "ipc": f"{base}/ipc", "uts": f"{base}/uts", "pid": f"{base}/pid"}
    found = await links(runtime, linux=spaces("mount", "cgroup", **joined), bundle={"hostname": ""})
    for name in ("net", "ipc", "uts", "pid"):
        assert found[name] == os.readlink(f"{base}/{name}")
    assert found["mnt"] != os.readlink(f"{base}/mnt")
    wrong = runtime.order("true", linux=spaces("mount", "uts", network=f"{base}/ipc"))
    with pytest.raises(Exception, match=f"network namespace path {base}/ipc: it is not one"):
        await runtime.launch(wrong)
    missing = runtime.order("true", linux=spaces("mount", "uts", network="/run/netns/nosuch"))
    with pytest.raises(Exception, match="network namespace path /run/netns/nosuch: no such file"):
        await runtime.launch(missing)


async def test_hostname_and_domainname(runtime: Runtime) -> None:
    script = "hostname; cat /proc/sys/kernel/domainname"
    _, out, _ = await runtime.run(
        "sh", "-c", script, bundle={"hostname": "ship", "domainname": "sea.example"}
    )
    assert out == b"ship\nsea.example\n"


async def test_sysctls(runtime: Runtime) -> None:
    wishes = {
        "net.core.somaxconn": "77",
        "net/ipv4/ip_forward": "1",
        "kernel.msgmax": "4000",
        "kernel.shm_rmid_forced": "1",
        "fs.mqueue.msg_max": "11",
        "kernel.domainname": "by.sysctl",
    }
    script = "cd /proc/sys; cat " + " ".join(name.replace(".", "/") for name in wishes)
    _, out, _ = await runtime.run("sh", "-c", script, linux={**spaces(*KINDS), "sysctl": wishes})
    assert out.decode().split() == list(wishes.values())
    assert Path("/proc/sys/net/core/somaxconn").read_text().strip() != "77"


@pytest.mark.parametrize(
    ("name", "kept", "words"),
    [
        ("kernel.core_pattern", KINDS, 'sysctl "kernel.core_pattern" is not in a separate kernel namespace'),
        ("vm.swappiness", KINDS, "is not in a separate kernel namespace"),
        ("kernel.hostname", KINDS, 'conflicts with the OCI "hostname" field'),
        ("kernel.sem", ("mount", "uts"), "not allowed in the hosts ipc namespace"),
        ("net.core.somaxconn", ("mount", "uts"), "not allowed in host network namespace"),
        ("user.max_user_namespaces", KINDS, "setting ucounts without a user namespace not allowed"),
        ("net/../kernel/core_pattern", KINDS, "invalid sysctl name"),
        ("net.core.nosuch", KINDS, "sysctl net.core.nosuch: /proc/sys/net/core/nosuch: no such file"),
    ],
)
async def test_sysctls_of_the_host(runtime: Runtime, name: str, kept: tuple[str, ...], words: str) -> None:
    with pytest.raises(Exception, match=words):
        await runtime.launch(runtime.order("true", linux={**spaces(*kept), "sysctl": {name: "1"}}))


async def test_a_joined_network_that_is_the_hosts_keeps_its_settings(runtime: Runtime) -> None:
    joined = spaces("mount", "uts", network="/proc/self/ns/net")
    with pytest.raises(Invalid, match="is the host's"):
        await runtime.launch(runtime.order("true", linux={**joined, "sysctl": {"net.core.somaxconn": "77"}}))


async def test_every_limit(runtime: Runtime) -> None:
    names = {
        "RLIMIT_CPU": "Max cpu time",
        "RLIMIT_FSIZE": "Max file size",
        "RLIMIT_DATA": "Max data size",
        "RLIMIT_CORE": "Max core file size",
        "RLIMIT_RSS": "Max resident set",
        "RLIMIT_NPROC": "Max processes",
        "RLIMIT_NOFILE": "Max open files",
        "RLIMIT_MEMLOCK": "Max locked memory",
        "RLIMIT_AS": "Max address space",
        "RLIMIT_LOCKS": "Max file locks",
        "RLIMIT_SIGPENDING": "Max pending signals",
        "RLIMIT_MSGQUEUE": "Max msgqueue size",
        "RLIMIT_NICE": "Max nice priority",
        "RLIMIT_RTPRIO": "Max realtime priority",
        "RLIMIT_RTTIME": "Max realtime timeout",
        "RLIMIT_STACK": "Max stack size",
    }
    limits = []
    for number, name in enumerate(names):
        _, most = resource.getrlimit(RLIMITS[name])
        hard = (1 << 24) + number if most < 0 else max(most - number, 0)
        limits.append({"type": name, "soft": max(hard - 1, 0), "hard": hard})
    _, out, _ = await runtime.run("cat", "/proc/self/limits", process={"rlimits": limits})
    table = {line[:26].strip(): line[26:].split()[:2] for line in out.decode().splitlines()}
    for limit in limits:
        assert table[names[str(limit["type"])]] == [str(limit["soft"]), str(limit["hard"])], limit
    assert set(names) == set(RLIMITS)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ([{"type": "RLIMIT_MOON", "soft": 1, "hard": 1}], "invalid rlimit type: RLIMIT_MOON"),
        ([{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2, "RLIMIT_CPU is set twice"),
        ([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}], "the soft limit 2 is above the hard limit 1"),
    ],
)
async def test_limits_that_make_no_sense(runtime: Runtime, limits: list[Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await runtime.launch(runtime.order("true", process={"rlimits": limits}))


async def test_the_oom_score(runtime: Runtime) -> None:
    _, out, _ = await runtime.run("cat", "/proc/self/oom_score_adj", process={"oomScoreAdj": 321})
    assert out == b"321\n"


async def test_capability_sets(runtime: Runtime) -> None:
    sets = {
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SYS_TIME"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_CHOWN"],
        "ambient": ["CAP_CHOWN", "CAP_KILL", "CAP_IMAGINARY"],
    }
    order = runtime.order("grep", "Cap", "/proc/self/status")
    order["bundle"]["process"] |= {"capabilities": sets, "user": {"uid": 33, "gid": 34}}
    shim = await runtime.launch(order)
    assert "can't raise ambient capability CAP_IMAGINARY: it is not known" in shim.warnings
    assert any(warning.startswith("can't raise ambient capability CAP_KILL") for warning in shim.warnings)
    _, out, _ = await runtime.live(order | {"id": order["id"][::-1], "cgroup": f"{order['cgroup']}-2"})
    held = {name: int(value, 16) for name, value in (line.split(":\t") for line in out.decode().splitlines())}
    chown = caps.bits(["CAP_CHOWN"])
    assert held["CapBnd"] == caps.bits(sets["bounding"])
    assert held["CapInh"] == held["CapAmb"] == held["CapPrm"] == held["CapEff"] == chown


async def test_unknown_capabilities_are_a_warning(runtime: Runtime) -> None:
    sets = {"bounding": ["CAP_MOON", "CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_MOON"]}
    shim = await runtime.launch(runtime.order("true", process={"capabilities": sets}))
    assert any("ignoring unknown or unavailable capabilities: [CAP_MOON]" in each for each in shim.warnings)


async def test_ids_groups_umask_and_home(runtime: Runtime) -> None:
    user = {"uid": 33, "gid": 77, "additionalGids": [5, 6], "umask": 0o27}
    script = "id -u; id -g; id -G; umask; echo $HOME"
    _, out, _ = await runtime.run("sh", "-c", script, process={"user": user})
    assert out == b"33\n77\n77 5 6\n0027\n/srv/web\n"
    _, out, _ = await runtime.run("sh", "-c", "umask; echo $HOME", process={"env": ["PATH=/bin", "HOME="]})
    assert out == b"0022\n/root\n"


async def test_a_directory_only_its_user_may_enter(runtime: Runtime) -> None:
    """Root without CAP_DAC_OVERRIDE may not, its user may: tried as both."""
    order = runtime.order("pwd", process={"cwd": "/mine", "user": {"uid": 33, "gid": 34}})
    (runtime.last / "upper/mine").mkdir(mode=0o700)
    os.chown(runtime.last / "upper/mine", 33, 34)
    _, out, _ = await runtime.live(order)
    assert out == b"/mine\n"
    with pytest.raises(Exception, match="Cannot mkdir: /etc/passwd is not a directory"):
        await runtime.launch(runtime.order("true", process={"cwd": "/etc/passwd"}))


async def test_scheduling(runtime: Runtime) -> None:
    process = {
        "scheduler": {"policy": "SCHED_BATCH", "nice": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6},
    }
    _, out, _ = await runtime.run(
        "sh", "-c", "cut -d' ' -f19,41 /proc/$$/stat; ionice -p $$", process=process
    )
    assert out == b"7 3\nbest-effort: prio 6\n"
    idle = {
        "scheduler": {"policy": "SCHED_IDLE"},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
    }
    _, out, _ = await runtime.run("sh", "-c", "cut -d' ' -f41 /proc/$$/stat; ionice -p $$", process=idle)
    assert out.splitlines()[0] == b"5"
    assert out.splitlines()[1].startswith(b"idle")


async def test_a_real_time_priority(runtime: Runtime) -> None:
    """Where groups have budgets of real time, a new one has none (sched-rt-group.rst)."""
    fifo = {"scheduler": {"policy": "SCHED_FIFO", "priority": 9}}
    if (host.CGROUP / "cpu/cpu.rt_runtime_us").exists():
        with pytest.raises(Exception, match="error setting scheduler: operation not permitted"):
            await runtime.launch(runtime.order("true", process=fifo))
        return
    _, out, _ = await runtime.run("cut", "-d ", "-f40,41", "/proc/self/stat", process=fifo)
    assert out == b"9 1\n"


@pytest.mark.parametrize(
    ("process", "words"),
    [
        ({"scheduler": {"policy": "SCHED_MOON"}}, "invalid scheduler policy: SCHED_MOON"),
        ({"scheduler": {"nice": 3}}, "scheduler policy is required"),
        ({"scheduler": {"policy": "SCHED_BATCH", "nice": 30}}, "invalid scheduler.nice: 30"),
        (
            {"scheduler": {"policy": "SCHED_OTHER", "priority": 3}},
            "can only be specified for SchedFIFO or SchedRR",
        ),
        ({"scheduler": {"policy": "SCHED_OTHER", "period": 3}}, "can only be specified for SchedDeadline"),
        (
            {"scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"]}},
            "invalid scheduler flag: SCHED_FLAG_X",
        ),
        ({"scheduler": {"policy": "SCHED_ISO"}}, "error setting scheduler: invalid argument"),
        ({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}, "invalid ioPriority.Priority: 8"),
        ({"ioPriority": {"priority": 1}}, 'invalid ioPriority.Class: ""'),
        ({"apparmorProfile": "moon"}, r"config provided \(moon\) but apparmor not supported"),
        (
            {"selinuxLabel": "a:b:c"},
            r"selinux label is specified in config \(a:b:c\), but selinux is disabled",
        ),
    ],
)
async def test_what_is_refused_is_named(runtime: Runtime, process: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words):
        await runtime.launch(runtime.order("true", process=process))


async def test_a_deadline(runtime: Runtime) -> None:
    wish = {"policy": "SCHED_DEADLINE", "runtime": 10_000_000, "deadline": 50_000_000, "period": 100_000_000}
    ended, out, _ = await runtime.run("cut", "-d ", "-f41", "/proc/self/stat", process={"scheduler": wish})
    assert (ended.code, out) == (0, b"6\n")


async def test_personality_and_memory_policy(runtime: Runtime) -> None:
    linux = {
        **spaces(*KINDS),
        "personality": {"domain": "LINUX32"},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"},
    }
    try:
        _, out, _ = await runtime.run("sh", "-c", "cat /proc/self/personality; uname -m", linux=linux)
    except Unsupported as error:
        assert "memoryPolicy: this kernel has no NUMA memory policies" in str(error)  # noqa: PT017
        _, out, _ = await runtime.run(
            "uname", "-m", linux={**spaces(*KINDS), "personality": {"domain": "LINUX32"}}
        )
    assert b"i686" in out or os.uname().machine != "x86_64"
    with pytest.raises(Invalid, match="invalid personality domain MOON"):
        await runtime.launch(
            runtime.order("true", linux={**spaces(*KINDS), "personality": {"domain": "MOON"}})
        )
    policy = {"mode": "MPOL_BIND", "nodes": ""}
    with pytest.raises(Invalid, match="memory policy mode requires at least one node but got 0"):
        await runtime.launch(runtime.order("true", linux={**spaces(*KINDS), "memoryPolicy": policy}))


async def test_what_this_machine_lacks_is_named(runtime: Runtime) -> None:
    with pytest.raises(Unsupported, match="intelRdt is specified in config, but Intel RDT is not enabled"):
        await runtime.launch(runtime.order("true", linux={**spaces(*KINDS), "intelRdt": {"closID": "x"}}))


async def test_devices_as_they_are_asked_for(runtime: Runtime) -> None:
    devices = [
        {
            "path": "/dev/fuse",
            "type": "c",
            "major": 10,
            "minor": 229,
            "fileMode": 0o640,
            "uid": 33,
            "gid": 34,
        },
        {"path": "/srv/block", "type": "b", "major": 7, "minor": 5},
        {"path": "/dev/raw", "type": "u", "major": 1, "minor": 3, "fileMode": 0},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
        {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600},
        {"path": "", "type": "c", "major": 1, "minor": -1},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2},
    ]
    script = (
        "stat -c '%n %F %t:%T %a %u:%g' /dev/fuse /srv/block /dev/raw /dev/pipe /dev/zero; readlink /dev/ptmx"
    )
    _, out, err = await runtime.run("sh", "-c", script, linux={**spaces(*KINDS), "devices": devices})
    assert err == b""
    assert out.decode().splitlines() == [
        "/dev/fuse character special file a:e5 640 33:34",
        "/srv/block block special file 7:5 666 0:0",
        "/dev/raw character special file 1:3 0 0:0",
        "/dev/pipe fifo 0:0 600 0:0",
        "/dev/zero character special file 1:5 600 0:0",
        "pts/ptmx",
    ]


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ({"path": "/dev/x", "type": "s"}, "s is not a valid device type for device /dev/x"),
        ({"path": "/dev/x", "type": "c", "major": -1, "minor": 0}, "device /dev/x has no number: -1:0"),
        (
            {"path": "/etc/passwd", "type": "c", "major": 1, "minor": 3},
            "/etc/passwd exists in the container, but it is not",
        ),
    ],
)
async def test_devices_that_are_none(runtime: Runtime, device: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await runtime.launch(runtime.order("true", linux={**spaces(*KINDS), "devices": [device]}))


async def test_nodes_of_an_image_are_believed_only_if_they_are_right(runtime: Runtime) -> None:
    """Without a mount on /dev the image's own files are there (CVE-2025-31133)."""
    mounts = [mount for mount in defaults.mounts() if not mount["destination"].startswith("/dev")]
    order = runtime.order("stat", "-c", "%t:%T", "/dev/null", bundle={"mounts": mounts})
    dev = runtime.last / "upper/dev"
    dev.mkdir()
    os.mknod(dev / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    (dev / "ptmx").write_text("")
    _, out, _ = await runtime.live(order)
    assert out == b"1:3\n"
    order = runtime.order("true", bundle={"mounts": mounts})
    dev = runtime.last / "upper/dev"
    dev.mkdir()
    (dev / "null").symlink_to("/proc/sys/kernel/core_pattern")
    with pytest.raises(Invalid, match="/dev/null exists in the container, but it is not the device c 1:3"):
        await runtime.launch(order)


async def test_a_console_that_is_a_link(runtime: Runtime) -> None:
    """CVE-2025-52565: it could lead into /proc."""
    order = runtime.order("true", tty=True)
    order["bundle"]["mounts"] = [
        m for m in defaults.mounts() if m["destination"] not in ("/dev", "/dev/shm", "/dev/mqueue")
    ]
    (runtime.last / "upper/dev").mkdir()
    (runtime.last / "upper/dev/console").symlink_to("/proc/sysrq-trigger")
    with pytest.raises(Invalid, match="/dev/console of the container is a symbolic link"):
        await runtime.launch(order)


async def test_a_terminal_needs_a_devpts(runtime: Runtime) -> None:
    order = runtime.order("true", tty=True)
    order["bundle"]["mounts"] = [mount for mount in defaults.mounts() if mount["destination"] != "/dev/pts"]
    with pytest.raises(Exception, match="/dev/pts"):
        await runtime.launch(order)


async def test_masked_and_read_only_paths(runtime: Runtime, tmp_path: Path) -> None:
    linux = {
        **spaces(*KINDS),
        "maskedPaths": ["/etc/passwd", "/etc/passwd", "/data", "/no/such", "/etc/passwd/below"],
        "readonlyPaths": ["/root", "/etc/group", "/no/such"],
    }
    script = "wc -c < /etc/passwd; ls /data; touch /data/x /root/x; echo x >> /etc/group; touch /tmp/fine && echo ok"
    _, out, err = await runtime.run("sh", "-c", script, linux=linux)
    assert out == b"0\nok\n"
    assert err.count(b"Read-only file system") == 3


async def test_unknown_fields_are_nobodys_business(runtime: Runtime) -> None:
    order = runtime.order("echo", "fine", process={"moon": {"x": 1}, "terminal": False})
    order["bundle"] |= {"ociVersion": "1.2.1+dev", "vm": {}, "unheard": [1]}
    order["bundle"]["linux"] |= {"unheard": {}, "timeOffsets": None, "netDevices": {}, "seccomp": None}
    _, out, _ = await runtime.live(order)
    assert out == b"fine\n"
    order = runtime.order("true", bundle={"ociVersion": "3.0.0"})
    with pytest.raises(Invalid, match=r"ociVersion 3.0.0 is not supported"):
        await runtime.launch(order)
