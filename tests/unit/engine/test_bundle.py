"""The OCI configuration of a specification."""

from typing import Any

import pytest

from knarr.engine import bundle
from knarr.engine.ocilimits import Node
from knarr.engine.record import Placed
from knarr.engine.userns import Ids
from knarr.model.container import ContainerSpec, DeviceMapping, ExecSpec, Resources, Ulimit
from knarr.runtime.caps import ALL, DEFAULT

EVERY = frozenset(ALL)


def made(spec: ContainerSpec, **facts: Any) -> dict[str, Any]:
    return bundle.make_bundle(
        spec, "/bin/sh", ("-c", "x"), bundle.Facts(capabilities=EVERY, cgroup="/knarr/x", **facts)
    )


def spec(**fields: Any) -> ContainerSpec:
    return ContainerSpec(image="x", hostname="h", shm_size=64 << 20, **fields)


def mount(config: dict[str, Any], target: str) -> dict[str, Any] | None:
    found = [each for each in config["mounts"] if each["destination"] == target]
    assert len(found) <= 1
    return found[0] if found else None


def test_defaults() -> None:
    config = made(spec(), joined={"network": "/run/netns/x"})
    process = config["process"]
    assert process["args"] == ["/bin/sh", "-c", "x"]
    assert process["cwd"] == "/"
    assert set(process["capabilities"]["bounding"]) == set(DEFAULT)
    assert not process["noNewPrivileges"]
    assert {"type": "network", "path": "/run/netns/x"} in config["linux"]["namespaces"]
    assert {each["type"] for each in config["linux"]["namespaces"]} == {
        "mount", "network", "pid", "ipc", "uts", "cgroup",
    }  # fmt: skip
    assert "/proc/kcore" in config["linux"]["maskedPaths"]
    assert config["linux"]["sysctl"] == {}  # the engine's namespaces have them already
    alone = made(spec())["linux"]["sysctl"]
    assert alone == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }


def test_privileged_opens_everything() -> None:
    config = made(spec(privileged=True))
    assert config["process"]["capabilities"]["effective"] == list(ALL)
    assert config["linux"]["maskedPaths"] == []
    assert config["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert bundle.seccomp_profile(spec(privileged=True)) is None
    sys = mount(config, "/sys")
    assert sys is not None
    assert "ro" not in sys["options"]


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), set(DEFAULT)),
        (("net_admin",), ("CAP_MKNOD",), set(DEFAULT) | {"CAP_NET_ADMIN"} - {"CAP_MKNOD"}),
        (("ALL",), ("SYS_ADMIN",), set(ALL) - {"CAP_SYS_ADMIN"}),
        (("NET_RAW",), ("all",), {"CAP_NET_RAW"}),
    ],
)
def test_capabilities(add: tuple[str, ...], drop: tuple[str, ...], expected: set[str]) -> None:
    chosen = set(bundle.capabilities(spec(cap_add=add, cap_drop=drop), EVERY))
    assert chosen == expected - ({"CAP_MKNOD"} if "CAP_MKNOD" in drop else set())


def test_only_what_the_daemon_has_can_be_given() -> None:
    assert bundle.capabilities(spec(privileged=True), frozenset({"CAP_CHOWN"})) == ("CAP_CHOWN",)


@pytest.mark.parametrize(
    ("option", "profile"),
    [
        ("seccomp=unconfined", None),
        ("seccomp=builtin", ""),
        ('seccomp={"a":1}', '{"a":1}'),
        ("label=disable", ""),
    ],
)
def test_seccomp_choice(option: str, profile: str | None) -> None:
    assert bundle.seccomp_profile(spec(security_options=(option,))) == profile


def test_users_mounts_stand_in_for_the_engines() -> None:
    placed = (
        Placed(type="bind", target="/etc/hosts", source="/mine"),
        Placed(type="tmpfs", target="/run", options=("size=1m",)),
        Placed(type="volume", target="/data", source="/vol", writable=False),
    )
    config = made(
        spec(), mounts=placed, files=(("/engine/hosts", "/etc/hosts"), ("/engine/r", "/etc/resolv.conf"))
    )
    hosts, run, data = (mount(config, target) for target in ("/etc/hosts", "/run", "/data"))
    assert hosts is not None
    assert hosts["source"] == "/mine"
    assert run is not None
    assert run["type"] == "tmpfs"
    assert "size=1m" in run["options"]
    assert data is not None
    assert "ro" in data["options"]


def test_host_namespaces_are_not_made() -> None:
    config = made(
        spec(ipc_mode="host", uts_mode="host", network_mode="host"),
        joined={"network": "", "pid": "", "ipc": "", "uts": ""},
    )
    assert {each["type"] for each in config["linux"]["namespaces"]} == {"mount", "cgroup"}
    assert "hostname" not in config
    assert config["linux"]["sysctl"] == {}


def test_anothers_network_keeps_its_settings() -> None:
    """It may be the host's."""
    config = made(spec(network_mode="container:x"), joined={"network": "/proc/7/ns/net"})
    assert config["linux"]["sysctl"] == {}


def test_limits() -> None:
    limits = Resources(
        memory=64 << 20,
        memory_swap=-1,
        nano_cpus=1_500_000_000,
        cpu_shares=512,
        pids_limit=100,
        devices=(DeviceMapping(host="/dev/x", container="/dev/x"),),
        device_cgroup_rules=("c 1:* r",),
        ulimits=(Ulimit(name="nofile", soft=10, hard=20),),
    )
    node = Node(path="/dev/x", kind="c", major=9, minor=8, mode=0o600, uid=0, gid=0, permissions="r")
    config = made(spec(resources=limits), nodes=(node,))
    resources = config["linux"]["resources"]
    assert resources["memory"] == {"limit": 64 << 20, "swap": -1}
    assert resources["cpu"] == {"shares": 512, "period": 100_000, "quota": 150_000}
    assert resources["pids"] == {"limit": 100}
    assert {"allow": True, "type": "c", "major": 9, "minor": 8, "access": "r"} in resources["devices"]
    assert {"allow": True, "type": "c", "access": "r", "major": 1} in resources["devices"]
    assert config["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]


def test_exec_adds_to_the_containers_process() -> None:
    container = spec(environment=("A=1", "B=2"), user="web", working_dir="/srv")
    process = bundle.exec_process(
        container, ExecSpec(command=("id",), environment=("B=3", "A"), tty=True), EVERY, console_size=(24, 80)
    )
    assert process["args"] == ["id"]
    assert process["cwd"] == "/srv"
    assert process["user"]["name"] == "web"
    assert {"B=3", "TERM=xterm"} <= set(process["env"])
    assert "A=1" not in process["env"]
    assert process["consoleSize"] == {"height": 24, "width": 80}


def test_a_privileged_exec_has_every_capability() -> None:
    process = bundle.exec_process(spec(), ExecSpec(command=("id",), privileged=True), EVERY)
    assert process["capabilities"]["bounding"] == list(ALL)


def test_a_user_namespace() -> None:
    """Volumes and the engine's files take the container's ids, binds when they are asked to; devices are the host's nodes."""
    line = ((0, 100_000, 65_536),)
    node = Node(path="/dev/x", kind="c", major=9, minor=8, mode=0o600, uid=0, gid=0, source="/dev/y")
    placed = (
        Placed(type="volume", target="/v", source="/data/v", name="v"),
        Placed(type="bind", target="/b", source="/srv"),
        Placed(type="bind", target="/m", source="/srv", options=("ridmap",)),
    )
    config = made(
        spec(),
        joined={"user": "/run/userns/x", "network": "/run/netns/x"},
        ids=Ids(line, line),
        mounts=placed,
        nodes=(node,),
        files=(("/data/hosts", "/etc/hosts"),),
    )
    linux = config["linux"]
    assert {"type": "user", "path": "/run/userns/x"} in linux["namespaces"]
    wanted = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]
    assert linux["uidMappings"] == linux["gidMappings"] == wanted
    assert linux["sysctl"]["net.ipv4.ping_group_range"] == "0 65535"
    options = {each["destination"]: each["options"] for each in config["mounts"]}
    assert "idmap" in options["/v"]
    assert "idmap" in options["/etc/hosts"]
    assert "ridmap" in options["/m"]
    assert not {"idmap", "ridmap"} & {*options["/b"], *options["/dev/x"]}
    assert linux["devices"] == []
    assert any(rule.get("major") == 9 for rule in linux["resources"]["devices"])
    plain = made(spec(), mounts=placed, nodes=(node,))
    assert "uidMappings" not in plain["linux"]
    assert not any("idmap" in each["options"] or "ridmap" in each["options"] for each in plain["mounts"])
