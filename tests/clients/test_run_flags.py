"""Every flag of `docker run`, looked at from inside the container, in its cgroups or by inspect."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.flagtable import Case, check, flags, missing
from tests.support import host
from tests.support.daemons import Daemon
from tests.support.registries import knarr_registry
from tests.support.terminal import Terminal

V1 = Path("/sys/fs/cgroup/memory").is_dir()
THROTTLE = "/sys/fs/cgroup/blkio/blkio.throttle"
WINDOWS = '"--{0}" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux'

CASES = (
    Case(
        "hostname domainname add-host",
        "--hostname box --domainname example.org --add-host peer:10.1.2.3 --add-host six=2001:db8::1 --add-host gate:host-gateway",
        "hostname; cat /proc/sys/kernel/domainname; cat /etc/hosts",
        (
            r"^box$",
            r"^example\.org$",
            r"^10\.1\.2\.3\tpeer$",
            r"^2001:db8::1\tsix$",
            r"^[0-9.]+\tgate$",
            r"\tbox\.example\.org box$",
        ),
    ),
    Case(
        "annotation label",
        "--annotation a=1 --label b=2 --label c",
        inspect=(
            ("{{json .HostConfig.Annotations}}", '{"a":"1"}'),
            ("{{json .Config.Labels}}", '{"b":"2","c":""}'),
        ),
    ),
    Case("attach", "-a stdout", "echo out; echo err >&2", (r"\Aout\n\Z",), stderr=r"\A\Z"),
    Case("attach", "-a stderr", "echo out; echo err >&2", (r"\A\Z",), stderr=r"\Aerr\n\Z"),
    Case("cgroupns", "--cgroupns private", "cat /proc/self/cgroup", (r"^\d+:(cpu|):/$",)),
    Case("cgroupns", "--cgroupns host", "cat /proc/self/cgroup", (r"^\d+:(cpu|):/.*[0-9a-f]{64}",)),
    Case("cgroupns", "--cgroupns other", code=125, stderr="invalid CGROUP mode"),
    *(
        Case(name, f"--{name} {value}", code=1, stderr=WINDOWS.format(name))
        for name, value in (
            ("cpu-count", "1"),
            ("cpu-percent", "50"),
            ("io-maxbandwidth", "1m"),
            ("io-maxiops", "10"),
        )
    ),
    Case("isolation", "--isolation default", inspect=(("{{.HostConfig.Isolation}}", "default"),)),
    Case("isolation", "--isolation hyperv", code=125, stderr="[Ii]nvalid isolation"),
    Case(
        "cpu-rt-period cpu-rt-runtime",
        "--cpu-rt-period 1000000 --cpu-rt-runtime 950000",
        code=125,
        stderr="real-time scheduler|cpu.rt_runtime_us",
    ),
    Case(
        "memory memory-reservation memory-swap pids-limit oom-score-adj",
        "-m 64m --memory-reservation 48m --memory-swap 128m --pids-limit 77 --oom-score-adj 321",
        "cd /sys/fs/cgroup; cat memory/memory.soft_limit_in_bytes memory/memory.memsw.limit_in_bytes "
        "memory/memory.limit_in_bytes pids/pids.max memory.low memory.swap.max memory.max pids.max /proc/self/oom_score_adj 2>/dev/null; true",
        (r"^50331648$", r"^(134217728|67108864)$", r"^67108864$", r"^77$", r"^321$"),
    ),
    Case(
        "cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems",
        "--cpu-period 50000 --cpu-quota 20000 -c 512 --cpuset-cpus 0 --cpuset-mems 0",
        "cd /sys/fs/cgroup; for f in cpu/cpu.cfs_period_us cpu/cpu.cfs_quota_us cpu/cpu.shares cpuset/cpuset.cpus cpuset/cpuset.mems "
        "cpu.max cpu.weight cpuset.cpus cpuset.mems; do test -e $f && echo $f $(cat $f); done; true",
        (
            r"cfs_period_us 50000|cpu.max 20000 50000",
            r"cfs_quota_us 20000|cpu.max 20000 50000",
            r"shares 512|weight 20",
            r"cpuset\.cpus 0$",
            r"cpuset\.mems 0$",
        ),
    ),
    Case(
        "cpus",
        "--cpus 1.5",
        "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; true",
        (r"^150000( 100000)?$",),
        (("{{.HostConfig.NanoCpus}}", "1500000000"),),
    ),
    Case(
        "dns dns-option dns-search",
        "--dns 10.9.8.7 --dns-search a.example --dns-option ndots:3",
        "cat /etc/resolv.conf",
        (r"^nameserver 10\.9\.8\.7$", r"^search a\.example$", r"^options ndots:3$"),
    ),
    Case(
        "expose publish-all",
        "--expose 8080-8081 --expose 53/udp -P",
        inspect=(
            ("{{json .Config.ExposedPorts}}", '{"53/udp":{},"8080/tcp":{},"8081/tcp":{}}'),
            ("{{.HostConfig.PublishAllPorts}}", "true"),
        ),
    ),
    Case(
        "gpus",
        "--gpus all",
        code=125,
        stderr='could not select device driver "" with capabilities: \\[\\[gpu\\]\\]',
    ),
    Case(
        "health-cmd health-interval health-retries health-start-interval health-start-period health-timeout",
        "--health-cmd true --health-interval 7s --health-retries 4 --health-start-interval 2s --health-start-period 9s --health-timeout 3s",
        inspect=(
            (
                "{{json .Config.Healthcheck}}",
                '{"Test":["CMD-SHELL","true"],"Interval":7000000000,"Timeout":3000000000,"StartPeriod":9000000000,"StartInterval":2000000000,"Retries":4}',
            ),
        ),
    ),
    Case("no-healthcheck", "--no-healthcheck", inspect=(("{{json .Config.Healthcheck.Test}}", '["NONE"]'),)),
    Case("ipc", "--ipc none", "grep -c ' /dev/shm ' /proc/mounts; true", (r"^0$",)),
    Case("ipc", "--ipc host", "readlink /proc/self/ns/ipc", (r"^{ipc}$",)),
    Case("pid", "--pid host", "readlink /proc/self/ns/pid", (r"^{pid}$",)),
    Case("uts", "--uts host", "readlink /proc/self/ns/uts", (r"^{uts}$",)),
    Case("userns", "--userns host", "cat /proc/self/uid_map", (r"^ +0 +0 +4294967295$",)),
    Case("kernel-memory", "--kernel-memory 64m", inspect=(("{{.HostConfig.KernelMemory}}", "0"),)),
    Case(
        "label-file",
        "--label-file {directory}/labels",
        inspect=(("{{json .Config.Labels}}", '{"a":"1"}'),),
    ),
    Case("env env-file", "-e A=1 --env-file {directory}/env", "env", (r"^A=1$", r"^FROM_FILE=2$")),
    Case(
        "log-driver log-opt",
        "--log-driver json-file --log-opt max-size=1m --log-opt max-file=2",
        inspect=(
            (
                "{{json .HostConfig.LogConfig}}",
                '{"Type":"json-file","Config":{"max-file":"2","max-size":"1m"}}',
            ),
        ),
    ),
    Case(
        "log-driver",
        "--log-driver nothing",
        code=125,
        stderr='error looking up logging plugin nothing: plugin "nothing" not found',
    ),
    Case(
        "log-opt",
        "--log-opt nothing=1",
        code=125,
        stderr="unknown log opt 'nothing' for json-file log driver",
    ),
    Case(
        "mac-address",
        "--mac-address 92:d0:c6:0a:29:33",
        "cat /sys/class/net/eth0/address",
        (r"^92:d0:c6:0a:29:33$",),
    ),
    Case(
        "mount",
        "--mount type=bind,src={directory},dst=/a,readonly --mount type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=711",
        "cat /a/env; grep ' /b ' /proc/mounts; stat -c %a /b; touch /a/x 2>&1; true",
        (r"^FROM_FILE=2$", r"size=1024k", r"^711$", r"Read-only"),
    ),
    Case("platform", "--platform linux/amd64", "uname -m", (r"^x86_64$",)),
    Case("platform pull", "--platform linux/s390x --pull never", code=125, stderr="busybox"),
    Case("privileged", "--privileged", "grep CapEff /proc/self/status", (r"^CapEff:\s000001f[0-9a-f]{9}$",)),
    Case(
        "read-only tmpfs",
        "--read-only --tmpfs /run:size=1m",
        "touch /x 2>&1; touch /run/x && echo made",
        (r"Read-only file system", r"^made$"),
    ),
    Case(
        "restart",
        "--restart on-failure:3",
        inspect=(("{{json .HostConfig.RestartPolicy}}", '{"Name":"on-failure","MaximumRetryCount":3}'),),
    ),
    Case("restart", "--restart sometimes", code=125, stderr="invalid restart policy"),
    Case("runtime", "--runtime nope", code=125, stderr="unknown or invalid runtime name: nope"),
    Case("runtime", "--runtime runc", inspect=(("{{.HostConfig.Runtime}}", "runc"),)),
    Case(
        "security-opt",
        "--security-opt no-new-privileges --security-opt seccomp=unconfined",
        "cat /proc/self/status",
        (r"^NoNewPrivs:\s1$", r"^Seccomp:\s0$"),
    ),
    Case(
        "shm-size ulimit",
        "--shm-size 3m --ulimit nofile=100:200 --ulimit core=0",
        "df -k /dev/shm | tail -1; ulimit -Sn; ulimit -Hn",
        (r" 3072 ", r"^100$", r"^200$"),
    ),
    Case(
        "stop-signal stop-timeout",
        "--stop-signal USR1 --stop-timeout 7",
        inspect=(("{{.Config.StopSignal}} {{.Config.StopTimeout}}", "USR1 7"),),
    ),
    Case(
        "storage-opt",
        "--storage-opt size=1g",
        code=125,
        stderr="storage-opt is supported only for overlay over xfs with 'pquota' mount option",
    ),
    Case(
        "sysctl",
        "--sysctl net.ipv4.ip_default_ttl=33 --sysctl kernel.msgmax=9000",
        "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax",
        (r"^33$", r"^9000$"),
    ),
    Case("sysctl", "--sysctl kernel.pid_max=1", code=125, stderr="kernel.pid_max"),
    Case(
        "use-api-socket",
        "--use-api-socket",
        code=125,
        stderr="bind source path does not exist: /var/run/docker.sock",
    ),
    Case(
        "volume-driver volume",
        "--volume-driver local -v flagged:/data -v /anonymous",
        "touch /data/x; ls -d /anonymous",
        (r"^/anonymous$",),
        (("{{.HostConfig.VolumeDriver}}", "local"),),
    ),
    Case(
        "volume-driver",
        "--pull never --volume-driver nothing -v flagged2:/data",
        code=125,
        stderr='error looking up volume plugin nothing: plugin "nothing" not found',
    ),
    Case(
        "workdir user group-add",
        "-w /new/dir -u 1000:1001 --group-add audio --group-add 777",
        "pwd; id -u; id -G",
        (r"^/new/dir$", r"^1000$", r"^1001 29 777$"),
    ),
    Case(
        "cap-add cap-drop",
        "--cap-drop ALL --cap-add NET_ADMIN",
        "grep CapEff /proc/self/status",
        (r"^CapEff:\s0000000000001000$",),
    ),
    Case(
        "device",
        "--device /dev/fuse:/dev/mine:r",
        "(exec 3</dev/mine) && echo read; (exec 3>/dev/mine) || echo no more",
        (r"^read$", r"^no more$"),
        stderr="Operation not permitted",
    ),
    Case(
        "device-cgroup-rule",
        "--device-cgroup-rule 'c 10:229 rm'",
        "mknod /x c 10 229; (exec 3</x) && echo opened; (exec 3>/x) || echo no more",
        (r"^opened$", r"^no more$"),
        stderr="Operation not permitted",
    ),
    Case(
        "device-cgroup-rule",
        "--device-cgroup-rule 'c 1:5 x'",
        code=125,
        stderr="invalid device cgroup format",
    ),
    Case(
        "memory-swappiness oom-kill-disable",
        "-m 64m --memory-swappiness 11 --oom-kill-disable",
        "cat /sys/fs/cgroup/memory/memory.swappiness /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null; true",
        *(((r"^11$", r"^oom_kill_disable 1$"),) if V1 else ((r"",), (), "discarded")),
    ),
    Case(
        "device-read-bps device-read-iops device-write-bps device-write-iops",
        "--device-read-bps {disk}:1mb --device-read-iops {disk}:100 --device-write-bps {disk}:2mb --device-write-iops {disk}:200",
        f"cat {THROTTLE}.read_bps_device {THROTTLE}.read_iops_device {THROTTLE}.write_bps_device {THROTTLE}.write_iops_device || cat /sys/fs/cgroup/io.max",
        (
            r"^{number} 1048576$|rbps=1048576",
            r"^{number} 100$|riops=100",
            r"^{number} 2097152$|wbps=2097152",
            r"^{number} 200$|wiops=200",
        ),
    ),
    Case("init", "--init", "cat /proc/1/comm", (r"^docker-init$",)),
    Case("entrypoint", "--entrypoint echo", "x", (r"^sh -c x$",)),
    Case("tty", "-t", "tty; echo $TERM", (r"^/dev/(console|pts/0)", "^xterm")),
)


ELSEWHERE = {
    "blkio-weight": "test_run_flags.py::test_weights",
    "blkio-weight-device": "test_run_flags.py::test_weights",
    "cidfile": "test_run.py::test_cidfile",
    "interactive": "test_run.py::test_stdin_reaches_the_container",
    "link": "test_links.py::test_variables_and_hosts",
    "link-local-ip": "test_networks.py::test_link_local_addresses",
    "network-alias": "test_networks.py::test_names_are_known_inside",
    "ip": "test_networks.py::test_an_address_of_ones_own",
    "network": "test_network.py::test_none_and_host",
    "publish": "test_network.py::test_a_published_port_answers_everywhere",
    "name": "test_run.py::test_a_name_can_be_taken_only_once",
    "rm": "test_run.py::test_rm_removes_container_and_anonymous_volume",
    "detach": "test_run.py::test_detached_prints_the_id_and_goes_on",
    "volumes-from": "test_run.py::test_volumes_from",
    "help": "test_run_flags.py::test_help",
    "detach-keys": "test_run_flags.py::test_detach_keys",
    "sig-proxy": "test_run_flags.py::test_without_the_clients_signals",
    "cgroup-parent": "test_run_flags.py::test_a_parent_of_ones_own",
    "disable-content-trust": "test_run_flags.py::test_content_trust",
    "ip6": "test_run_flags.py::test_an_address_of_the_sixth_version",
    "quiet": "test_run_flags.py::test_a_quiet_pull",
}


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What rows name: this host's namespaces and disk, a directory with files."""
    directory = tmp_path_factory.mktemp("flags")
    (directory / "labels").write_text("# no label\na=1\nb\n")
    (directory / "env").write_text("FROM_FILE=2\n")
    disk = next(
        line.split()
        for line in Path("/proc/partitions").read_text().splitlines()[2:]
        if line.split()[3][:2] in ("vd", "sd", "nv")
    )
    namespaces = {
        name: os.readlink(f"/proc/self/ns/{name}").replace("[", "\\[").replace("]", "\\]")
        for name in ("ipc", "pid", "uts")
    }
    return {
        **namespaces,
        "directory": str(directory),
        "disk": f"/dev/{disk[3]}",
        "major": disk[0],
        "minor": disk[1],
        "number": f"{disk[0]}:{disk[1]}",
    }


def test_every_flag_is_checked(daemon: Daemon) -> None:
    offered = flags(daemon, "run")
    assert len(offered) >= 102
    assert missing(offered, CASES, ELSEWHERE) == (set(), set())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_run(daemon: Daemon, values: dict[str, str], case: Case) -> None:
    check(daemon, case, **values)


def test_help(daemon: Daemon) -> None:
    text = daemon.docker("run", "--help").stdout
    assert text.startswith("Usage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]\n")
    assert "--cpu-count" not in text, "what only Windows has is hidden where the daemon runs on Linux"


def test_detach_keys(daemon: Daemon) -> None:
    argv = ["docker", "run", "-it", "--name", "kept", "--detach-keys", "ctrl-a,x", "busybox", "sh"]
    with Terminal(argv, daemon.environment()) as terminal:
        terminal.expect("/ # ")
        terminal.type("\x01x")
        assert terminal.wait() == 0
    assert daemon.inspect("kept")["State"]["Running"] is True


def test_without_the_clients_signals(daemon: Daemon) -> None:
    script = "trap 'echo got' HUP; echo ready; while true; do sleep 0.1; done"
    process = daemon.open("run", "--name", "deaf", "--sig-proxy=false", "busybox", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGHUP
    assert daemon.docker("logs", "deaf").stdout == "ready\n"


def test_weights(daemon: Daemon, values: dict[str, str]) -> None:
    words = ("--blkio-weight", "300", "--blkio-weight-device", f"{values['disk']}:200")
    done = daemon.docker("create", *words, "busybox")
    host_config = daemon.inspect(done.stdout.strip())["HostConfig"]
    weight, devices = host_config["BlkioWeight"], host_config["BlkioWeightDevice"]
    assert weight == (0 if "Block I/O weight or" in done.stderr else 300)
    wanted = [] if "Weight-device discarded" in done.stderr else [{"Path": values["disk"], "Weight": 200}]
    assert devices == wanted


def test_a_parent_of_ones_own(daemon: Daemon) -> None:
    parent = f"flags-{os.getpid()}"
    cid = daemon.docker(
        "run", "-d", "--cgroup-parent", f"/{parent}", "busybox", "sleep", "1000"
    ).stdout.strip()
    pid = daemon.inspect(cid)["State"]["Pid"]
    assert f"/{parent}/" in Path(f"/proc/{pid}/cgroup").read_text()
    assert host.cgroups(parent)
    daemon.docker("rm", "-f", cid)
    host.wait_for(lambda: not host.cgroups(parent), "its cgroups are gone")
    for directory in [*host.CGROUP.glob(f"*/{parent}"), *host.CGROUP.glob(parent)]:
        directory.rmdir()


def test_content_trust(daemon: Daemon) -> None:
    env = {**daemon.environment(), "DOCKER_CONTENT_TRUST_SERVER": "https://127.0.0.1:1"}
    argv = ["docker", "run", "--rm", "--disable-content-trust=false", "busybox", "true"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "127.0.0.1:1" in done.stderr
    daemon.docker("run", "--rm", "--disable-content-trust", "busybox", "true")


def test_an_address_of_the_sixth_version(daemon: Daemon) -> None:
    daemon.docker("network", "create", "--ipv6", "--subnet", "fd00:231::/64", "flagsix")
    try:
        words = ("--network", "flagsix", "--ip6", "fd00:231::77", "busybox", "ip", "-6", "addr")
        assert "inet6 fd00:231::77/64" in daemon.docker("run", "--rm", *words).stdout
    finally:
        daemon.docker("network", "rm", "flagsix")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a knarr-registry of its own."""
    with knarr_registry(tmp_path_factory.mktemp("registry")) as port:
        yield f"127.0.0.1:{port}"


def test_a_quiet_pull(daemon: Daemon, registry: str, busybox: Path) -> None:
    name = f"{registry}/quiet:1"
    daemon.docker("import", str(busybox), name)
    daemon.docker("push", "-q", name)
    daemon.docker("rmi", name)
    assert daemon.docker("run", "--rm", "-q", name, "true").stderr == ""
    assert f"{registry}/quiet" in daemon.docker("run", "--rm", "--pull", "always", name, "true").stderr
    daemon.docker("rmi", name)
