"""Every top-level command of the docker CLI, and every flag of `exec`, `update`, `network …` and `volume …`, has its test.

Out of scope by decision: swarm's commands, plugins, and what Docker keeps behind experimental daemons, which refuse as there.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.clients.flagtable import flags, known_tests
from tests.support.daemons import Daemon
from tests.support.registries import knarr_registry

HERE = "test_verb_flags.py"
FLAGS = {
    "exec": {
        "detach": "test_exec.py::test_detached",
        "detach-keys": "test_exec.py::test_detached_by_its_keys",
        "env": "test_exec.py::test_environment_user_and_directory",
        "env-file": "test_exec.py::test_environment_from_a_file",
        "interactive": "test_exec.py::test_stdin_to_its_end",
        "privileged": "test_exec.py::test_privileged",
        "tty": "test_exec.py::test_a_terminal",
        "user": "test_exec.py::test_environment_user_and_directory",
        "workdir": "test_exec.py::test_environment_user_and_directory",
    },
    "update": dict.fromkeys(
        [
            "blkio-weight",
            "cpu-period",
            "cpu-quota",
            "cpu-rt-period",
            "cpu-rt-runtime",
            "cpu-shares",
            "cpus",
            "cpuset-cpus",
            "cpuset-mems",
            "memory",
            "memory-reservation",
            "memory-swap",
            "pids-limit",
            "restart",
        ],
        f"{HERE}::test_update",
    ),
    "network connect": dict.fromkeys(
        ["alias", "driver-opt", "gw-priority", "ip", "ip6", "link", "link-local-ip"], f"{HERE}::test_connect"
    ),
    "network create": {
        **dict.fromkeys(
            (
                "attachable",
                "aux-address",
                "driver",
                "gateway",
                "internal",
                "ip-range",
                "ipam-driver",
                "ipam-opt",
                "ipv4",
                "ipv6",
                "label",
                "opt",
                "subnet",
            ),
            f"{HERE}::test_network_create",
        ),
        **dict.fromkeys(("config-from", "config-only", "ingress", "scope"), f"{HERE}::test_configurations"),
    },
    "network disconnect": {"force": "test_networks.py::test_connect_and_disconnect_while_it_runs"},
    "network inspect": {"format": f"{HERE}::test_network_lists", "verbose": f"{HERE}::test_network_lists"},
    "network ls": dict.fromkeys(("filter", "format", "no-trunc", "quiet"), f"{HERE}::test_network_lists"),
    "network prune": dict.fromkeys(("filter", "force"), f"{HERE}::test_network_prune"),
    "network rm": {"force": f"{HERE}::test_network_prune"},
    "volume create": {
        **dict.fromkeys(("driver", "label", "opt"), f"{HERE}::test_volume_create"),
        **dict.fromkeys(
            [
                "availability",
                "group",
                "limit-bytes",
                "required-bytes",
                "scope",
                "secret",
                "sharing",
                "topology-preferred",
                "topology-required",
                "type",
            ],
            f"{HERE}::test_cluster_volumes",
        ),
    },
    "volume inspect": {"format": f"{HERE}::test_volume_create"},
    "volume ls": {
        **dict.fromkeys(("filter", "format", "quiet"), f"{HERE}::test_volume_create"),
        "cluster": f"{HERE}::test_cluster_volumes",
    },
    "volume prune": dict.fromkeys(("all", "filter", "force"), f"{HERE}::test_volume_prune"),
    "volume rm": {"force": f"{HERE}::test_volume_prune"},
    "volume update": {"availability": f"{HERE}::test_cluster_volumes"},
}
COMMANDS = {
    "run": "test_run.py::test_output_and_success",
    "exec": "test_exec.py::test_output_and_codes",
    "ps": "test_containers.py::test_ps",
    "pull": "test_images.py::test_push_and_pull",
    "push": "test_images.py::test_push_and_pull",
    "images": "test_images.py::test_images",
    "login": f"{HERE}::test_login_and_logout",
    "logout": f"{HERE}::test_login_and_logout",
    "search": f"{HERE}::test_search",
    "version": "test_images.py::test_info_and_version",
    "info": "test_images.py::test_info_and_version",
    "builder": f"{HERE}::test_builder_prune",
    "checkpoint": f"{HERE}::test_checkpoints",
    "container": f"{HERE}::test_groups",
    "context": f"{HERE}::test_contexts",
    "image": f"{HERE}::test_groups",
    "manifest": f"{HERE}::test_manifests",
    "network": "test_networks.py::test_create_list_inspect_remove",
    "system": "test_images.py::test_system_df",
    "trust": f"{HERE}::test_trust",
    "volume": "test_images.py::test_volumes",
    "attach": "test_containers.py::test_attach_and_its_exit_code",
    "commit": "test_commit.py::test_what_changed_is_in_the_image",
    "cp": "test_containers.py::test_copy_out_and_in",
    "create": "test_containers.py::test_create_then_start",
    "diff": "test_containers.py::test_diff_of_the_root",
    "events": "test_containers.py::test_events",
    "export": f"{HERE}::test_export",
    "history": "test_images.py::test_history",
    "import": "test_images.py::test_import_with_changes",
    "inspect": "test_containers.py::test_inspect_has_what_tools_read",
    "kill": "test_containers.py::test_kill",
    "load": "test_images.py::test_save_and_load",
    "logs": "test_logs.py::test_all",
    "pause": "test_containers.py::test_pause",
    "port": "test_network.py::test_a_free_port_is_found",
    "rename": "test_containers.py::test_rename",
    "restart": "test_containers.py::test_restart",
    "rm": "test_containers.py::test_remove",
    "rmi": "test_images.py::test_tag_and_remove",
    "save": "test_images.py::test_save_and_load",
    "start": "test_containers.py::test_create_then_start",
    "stats": "test_stats.py::test_the_table",
    "stop": "test_containers.py::test_stop",
    "tag": "test_images.py::test_tag_and_remove",
    "top": "test_containers.py::test_top",
    "unpause": "test_containers.py::test_pause",
    "update": f"{HERE}::test_update",
    "wait": "test_containers.py::test_wait",
}
ELSEWHERE = {
    "build": "the build engine's own tests",
    "plugin": "managed plugins are out of scope",
    **dict.fromkeys(["config", "node", "secret", "service", "stack", "swarm"], "swarm is out of scope"),
}
NO_SWARM = 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join"'


def test_every_command_has_a_test(daemon: Daemon) -> None:
    text = daemon.docker("-H", "unix:///nowhere.sock", "--help").stdout
    offered = set(re.findall(r"^  ([a-z]+)\*? {2,}\S", text, re.MULTILINE)) - {"bake", "buildx", "compose"}
    assert offered - set(COMMANDS) - set(ELSEWHERE) == set()
    assert set(COMMANDS.values()) - known_tests() == set()


@pytest.mark.parametrize("verb", FLAGS)
def test_every_flag_has_a_test(daemon: Daemon, verb: str) -> None:
    assert set(flags(daemon, *verb.split())) - {"help"} == set(FLAGS[verb])
    assert set(FLAGS[verb].values()) - known_tests() == set()


class Update(NamedTuple):
    """Flags of `update`, a file in the container (version 1, version 2) with what it holds then, what inspect says."""

    words: str
    v1: str
    v2: str
    inspect: str
    wanted: str


UPDATES = (
    Update("--cpu-shares 512", "cpu/cpu.shares 512", "cpu.weight 20", "CpuShares", "512"),
    Update(
        "--cpu-period 50000 --cpu-quota 20000",
        "cpu/cpu.cfs_quota_us 20000",
        "cpu.max 20000 50000",
        "CpuQuota",
        "20000",
    ),
    Update("--cpuset-cpus 0 --cpuset-mems 0", "cpuset/cpuset.cpus 0", "cpuset.cpus 0", "CpusetMems", "0"),
    Update(
        "-m 96m --memory-swap 128m",
        "memory/memory.limit_in_bytes 100663296",
        "memory.max 100663296",
        "MemorySwap",
        "134217728",
    ),
    Update(
        "--memory-reservation 48m",
        "memory/memory.soft_limit_in_bytes 50331648",
        "memory.low 50331648",
        "MemoryReservation",
        "50331648",
    ),
    Update("--pids-limit 33", "pids/pids.max 33", "pids.max 33", "PidsLimit", "33"),
    Update("--restart on-failure:2", "", "", "RestartPolicy", "{on-failure 2}"),
)


def test_update(daemon: Daemon) -> None:
    for name in ("box", "cpus"):
        daemon.docker("run", "-d", "--name", name, "busybox", "sleep", "1000")
    for row in UPDATES:
        assert daemon.docker("update", *row.words.split(), "box").stdout == "box\n"
        assert (
            daemon.docker("inspect", "-f", f"{{{{.HostConfig.{row.inspect}}}}}", "box").stdout.strip()
            == row.wanted
        )
        if row.v1:
            (old, *was), (new, *now) = row.v1.split(), row.v2.split()
            script = f"cd /sys/fs/cgroup; if test -e {old}; then cat {old}; else cat {new}; fi"
            assert daemon.docker("exec", "box", "sh", "-c", script).stdout.split() in (was, now), row
    daemon.docker("update", "--cpus", "0.5", "cpus")
    script = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; true"
    assert daemon.docker("exec", "cpus", "sh", "-c", script).stdout.split()[0] == "50000"
    weight = daemon.docker("update", "--blkio-weight", "300", "cpus", check=False)
    assert weight.stdout.startswith("cpus\n")
    for flag in ("--cpu-rt-period=1000000", "--cpu-rt-runtime=950000"):
        done = daemon.docker("update", flag, "cpus", check=False)
        refused = re.search(r"rt_(runtime|period)|real-time", done.stderr)
        assert (done.stdout, done.returncode) == ("cpus\n", 0) or refused, done
    assert "one or more flags" in daemon.docker("update", "box", check=False).stderr
    assert (
        "Minimum memory limit allowed is 6MB"
        in daemon.docker("update", "-m", "4m", "box", check=False).stderr
    )


@pytest.fixture
def net(daemon: Daemon) -> Iterator[str]:
    """A name; every network that begins with it is removed afterwards."""
    yield "flagnet"
    daemon.remove_containers()
    for name in daemon.docker(
        "network", "ls", "--filter", "name=^flagnet", "--format", "{{.Name}}"
    ).stdout.split():
        daemon.docker("network", "rm", name)


def test_network_create(daemon: Daemon, net: str) -> None:
    words = "--subnet 10.231.70.0/24 --gateway 10.231.70.7 --ip-range 10.231.70.64/26 --aux-address a=10.231.70.70 --label l=v"
    words += " --attachable --internal --driver bridge --opt com.docker.network.bridge.name=knflag0 --ipam-driver default --ipam-opt k=v --scope local"
    daemon.docker("network", "create", *words.split(), f"{net}one")
    value = daemon.inspect(f"{net}one")
    assert value["IPAM"]["Config"] == [
        {
            "Subnet": "10.231.70.0/24",
            "IPRange": "10.231.70.64/26",
            "Gateway": "10.231.70.7",
            "AuxiliaryAddresses" if "AuxiliaryAddresses" in value["IPAM"]["Config"][0] else "AuxAddress": {
                "a": "10.231.70.70"
            },
        }
    ]
    assert value["IPAM"]["Options"] == {"k": "v"}
    assert (value["Labels"], value["Attachable"], value["Internal"], value["Scope"]) == (
        {"l": "v"},
        True,
        True,
        "local",
    )
    assert "knflag0" in os.listdir("/sys/class/net")
    daemon.docker("network", "create", "--ipv4=false", "--ipv6", "--subnet", "fd00:232::/64", f"{net}six")
    addresses = daemon.docker(
        "run", "--rm", "--network", f"{net}six", "busybox", "ip", "addr", "show", "eth0"
    ).stdout
    assert "inet6 fd00:232::2/64" in addresses
    assert "inet " not in addresses


def test_configurations(daemon: Daemon, net: str) -> None:
    daemon.docker("network", "create", "--config-only", "--subnet", "10.231.71.0/24", f"{net}conf")
    daemon.docker("network", "create", "--config-from", f"{net}conf", f"{net}from")
    value = daemon.inspect(f"{net}from")
    assert value["ConfigFrom"] == {"Network": f"{net}conf"}
    assert value["IPAM"]["Config"][0]["Subnet"] == "10.231.71.0/24"
    assert daemon.inspect(f"{net}conf")["ConfigOnly"] is True
    daemon.docker("network", "rm", f"{net}from")
    for flag, message in (
        ("--ingress", "Ingress network can only be global scope network"),
        ("--scope=swarm", "cannot create a swarm scoped network when swarm is not active"),
        (
            "--driver=nothing",
            'plugin "nothing" not found',
        ),
        ("--ipam-driver=nothing", "nothing"),
    ):
        done = daemon.docker("network", "create", flag, f"{net}no", check=False)
        assert done.returncode == 1
        assert message in done.stderr


def test_connect(daemon: Daemon, net: str) -> None:
    daemon.docker(
        "network", "create", "--ipv6", "--subnet", "10.231.72.0/24", "--subnet", "fd00:233::/64", net
    )
    daemon.docker("run", "-d", "--name", "other", "--network", net, "busybox", "sleep", "1000")
    daemon.docker("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    words = "--ip 10.231.72.9 --ip6 fd00:233::9 --alias uno --link other:due --link-local-ip 169.254.77.9 --gw-priority 5 --driver-opt a=b"
    daemon.docker("network", "connect", *words.split(), net, "box")
    addresses = daemon.docker("exec", "box", "ip", "addr").stdout
    for address in ("10.231.72.9/24", "fd00:233::9/64", "169.254.77.9"):
        assert address in addresses
    assert daemon.docker("exec", "other", "ping", "-c1", "uno").returncode == 0
    assert daemon.docker("exec", "box", "ping", "-c1", "due").returncode == 0
    assert "default via 10.231.72.1 " in daemon.docker("exec", "box", "ip", "route").stdout
    endpoint = daemon.inspect("box")["NetworkSettings"]["Networks"][net]
    assert (endpoint["GwPriority"], endpoint["DriverOpts"], endpoint["Links"]) == (
        5,
        {"a": "b"},
        ["other:due"],
    )


def test_network_lists(daemon: Daemon, net: str) -> None:
    key = daemon.docker("network", "create", "--label", "kind=flag", net).stdout.strip()
    ls = ("network", "ls", "--filter", "label=kind=flag")
    assert daemon.docker(*ls, "-q").stdout == f"{key[:12]}\n"
    assert daemon.docker(*ls, "-q", "--no-trunc").stdout == f"{key}\n"
    assert (
        daemon.docker(*ls, "--format", "{{.Name}} {{.Driver}} {{.Labels}}").stdout
        == f"{net} bridge kind=flag\n"
    )
    assert daemon.docker("network", "inspect", "-f", "{{.Id}}", net).stdout == f"{key}\n"
    assert json.loads(daemon.docker("network", "inspect", "--verbose", net).stdout)[0]["Id"] == key


def test_network_prune(daemon: Daemon, net: str) -> None:
    for name, label in (("a", "keep"), ("b", "drop")):
        daemon.docker("network", "create", "--label", label, net + name)
    done = daemon.docker("network", "prune", "--force", "--filter", "label=drop")
    assert done.stdout == f"Deleted Networks:\n{net}b\n\n"
    assert daemon.docker("network", "rm", "-f", f"{net}b").returncode == 0
    assert daemon.docker("network", "rm", f"{net}b", check=False).returncode == 1
    assert daemon.docker("network", "prune", data=b"n\n", check=False).returncode == 0
    assert daemon.docker("network", "inspect", f"{net}a").returncode == 0


@pytest.fixture
def volume(daemon: Daemon) -> Iterator[str]:
    """A name; every volume that begins with it is removed afterwards."""
    yield "flagvol"
    daemon.remove_containers()
    for name in daemon.docker("volume", "ls", "-q", "--filter", "name=flagvol").stdout.split():
        daemon.docker("volume", "rm", name)


def test_volume_create(daemon: Daemon, volume: str) -> None:
    words = (
        "--driver",
        "local",
        "--label",
        "l=v",
        "--opt",
        "type=tmpfs",
        "--opt",
        "device=tmpfs",
        "-o",
        "o=size=1m",
    )
    assert daemon.docker("volume", "create", *words, volume).stdout == f"{volume}\n"
    assert (
        daemon.docker("volume", "inspect", "-f", "{{.Driver}} {{.Labels}} {{.Options.o}}", volume).stdout
        == "local map[l:v] size=1m\n"
    )
    mounted = daemon.docker(
        "run", "--rm", "-v", f"{volume}:/data", "busybox", "grep", " /data ", "/proc/mounts"
    ).stdout
    assert mounted.startswith("tmpfs /data tmpfs")
    assert "size=1024k" in mounted
    ls = ("volume", "ls", "--filter", "label=l=v")
    assert daemon.docker(*ls, "-q").stdout == f"{volume}\n"
    assert (
        daemon.docker(*ls, "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}").stdout
        == f"{volume} local local l=v\n"
    )
    done = daemon.docker("volume", "create", "-d", "nothing", f"{volume}2", check=False)
    assert 'error looking up volume plugin nothing: plugin "nothing" not found' in done.stderr


def test_volume_prune(daemon: Daemon, volume: str) -> None:
    for name, label in (("a", "keep"), ("b", "drop")):
        daemon.docker("volume", "create", "--label", label, volume + name)
    kept = daemon.docker("volume", "prune", "--force", "--filter", "label=drop").stdout
    assert volume not in kept, "without --all only anonymous volumes go"
    done = daemon.docker("volume", "prune", "-f", "--all", "--filter", "label=drop")
    assert done.stdout == f"Deleted Volumes:\n{volume}b\n\nTotal reclaimed space: 0B\n"
    assert daemon.docker("volume", "rm", "-f", f"{volume}b").returncode == 0
    assert daemon.docker("volume", "rm", f"{volume}b", check=False).returncode == 1


@pytest.mark.parametrize(
    "words",
    [
        "--availability drain",
        "--group g",
        "--limit-bytes 1m --type mount",
        "--required-bytes 1m --type mount",
        "--scope multi",
        "--secret a=b --type mount",
        "--sharing all",
        "--topology-preferred a=b --type mount",
        "--topology-required a=b --type mount",
    ],
)
def test_cluster_volumes(daemon: Daemon, words: str) -> None:
    done = daemon.docker("volume", "create", *words.split(), "cluster", check=False)
    assert done.returncode == 1
    assert NO_SWARM in done.stderr
    assert daemon.docker("volume", "ls", "--cluster").stdout.startswith("VOLUME NAME   GROUP")
    done = daemon.docker("volume", "update", "--availability", "drain", "nothing", check=False)
    assert "no such volume" in done.stderr


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a knarr-registry of its own."""
    with knarr_registry(tmp_path_factory.mktemp("registry")) as port:
        yield f"127.0.0.1:{port}"


def test_login_and_logout(daemon: Daemon, registry: str) -> None:
    done = daemon.docker("login", "-u", "someone", "--password-stdin", registry, data=b"secret\n")
    assert done.stdout.strip().endswith("Login Succeeded")
    config = Path(daemon.environment()["DOCKER_CONFIG"]) / "config.json"
    assert list(json.loads(config.read_text())["auths"]) == [registry]
    assert daemon.docker("logout", registry).stdout == f"Removing login credentials for {registry}\n"
    assert not json.loads(config.read_text()).get("auths")
    done = daemon.docker("login", "-u", "a", "-p", "b", "127.0.0.1:1", check=False)
    assert done.returncode == 1
    assert "connection refused" in done.stderr


def test_search(daemon: Daemon) -> None:
    done = daemon.docker("search", "--limit", "3", "127.0.0.1:1/busybox", check=False)
    assert done.returncode == 1
    assert "connection refused" in done.stderr
    done = daemon.docker("search", "--limit", "101", "busybox", check=False)
    assert "limit 101 is outside the range of [1, 100]" in done.stderr.lower()


def test_contexts(daemon: Daemon) -> None:
    env = {**daemon.environment()}
    socket = env.pop("DOCKER_HOST")

    def docker(*words: str) -> str:
        return subprocess.run(["docker", *words], env=env, capture_output=True, text=True, check=True).stdout

    docker("context", "create", "here", "--description", "This one", "--docker", f"host={socket}")
    try:
        docker("context", "use", "here")
        assert docker("context", "show") == "here\n"
        assert docker("ps", "-q") == ""
    finally:
        docker("context", "use", "default")
        docker("context", "rm", "here")


def test_manifests(daemon: Daemon, registry: str, busybox: Path) -> None:
    name = f"{registry}/listed"
    daemon.docker("import", str(busybox), f"{name}:amd64")
    daemon.docker("push", "-q", f"{name}:amd64")
    daemon.docker("manifest", "create", "--insecure", f"{name}:all", f"{name}:amd64")
    daemon.docker("manifest", "annotate", "--variant", "v2", f"{name}:all", f"{name}:amd64")
    daemon.docker("manifest", "push", "--insecure", "--purge", f"{name}:all")
    value = json.loads(daemon.docker("manifest", "inspect", "--insecure", f"{name}:all").stdout)
    assert value["manifests"][0]["platform"] == {"architecture": "amd64", "os": "linux", "variant": "v2"}
    daemon.docker("rmi", f"{name}:amd64")


def test_trust(daemon: Daemon) -> None:
    env = {**daemon.environment(), "DOCKER_CONTENT_TRUST_SERVER": "https://127.0.0.1:1"}
    argv = ["docker", "trust", "inspect", "busybox"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no signatures or cannot access busybox" in done.stderr


def test_checkpoints(daemon: Daemon) -> None:
    done = daemon.docker("checkpoint", "create", "box", "one", check=False)
    assert done.returncode == 1
    assert "only supported on a Docker daemon with experimental features enabled" in done.stderr


def test_builder_prune(daemon: Daemon) -> None:
    assert "Total:" in daemon.docker("builder", "prune", "-f").stdout


def test_export(daemon: Daemon, tmp_path: Path) -> None:
    daemon.docker("create", "--name", "box", "busybox")
    daemon.docker("export", "-o", str(tmp_path / "root.tar"), "box")
    names = subprocess.run(
        ["tar", "tf", str(tmp_path / "root.tar")], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "bin/busybox" in [name.removeprefix("./") for name in names]


def test_groups(daemon: Daemon) -> None:
    daemon.docker("container", "create", "--name", "box", "busybox")
    assert daemon.docker("container", "ls", "-a", "--format", "{{.Names}}").stdout == "box\n"
    assert json.loads(daemon.docker("container", "inspect", "box").stdout)[0]["Name"] == "/box"
    assert json.loads(daemon.docker("image", "inspect", "busybox").stdout)[0]["RepoTags"] == [
        "busybox:latest"
    ]
    assert "busybox" in daemon.docker("image", "ls", "--format", "{{.Repository}}").stdout.split()
    assert "reclaimed space" in daemon.docker("image", "prune", "-f").stdout
    assert daemon.docker("container", "prune", "-f").stdout.startswith("Deleted Containers:\n")
