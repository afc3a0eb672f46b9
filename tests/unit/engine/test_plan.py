"""The merge of request and image, and what Docker refuses, by table."""

from dataclasses import replace

import pytest

from knarr.engine import checks, plan
from knarr.engine.errors import IllegalMove
from knarr.engine.moves import MOVES, Move, moved
from knarr.model.container import (
    BlockLimit,
    ContainerSpec,
    Healthcheck,
    MountSpec,
    Resources,
    RestartPolicy,
    Status,
)
from knarr.model.errors import Invalid
from knarr.model.image import ImageConfig
from knarr.model.ports import Port, PortBinding

HOST = plan.Host(cpus=4, hostname="host")
IMAGE = ImageConfig(
    user="web",
    exposed_ports=(Port(80),),
    environment=("PATH=/image", "LANG=C"),
    entrypoint=("/entry",),
    command=("serve", "-v"),
    volumes=("/data",),
    working_dir="/srv",
    labels={"a": "image", "b": "image"},
    stop_signal="SIGQUIT",
    healthcheck=Healthcheck(test=("CMD", "true"), interval=5, retries=3),
)
ID = "0123456789abcdef" * 4


def planned(**fields: object) -> plan.Planned:
    return plan.plan_container(ID, ContainerSpec(image="x", **fields), IMAGE, HOST)  # type: ignore[arg-type]


def test_the_image_fills_what_the_request_leaves_open() -> None:
    made = planned(environment=("LANG=en",), labels={"a": "mine"})
    assert (made.path, made.args) == ("/entry", ("serve", "-v"))
    assert made.spec.environment == ("LANG=en", "PATH=/image")
    assert made.spec.labels == {"a": "mine", "b": "image"}
    assert (made.spec.user, made.spec.working_dir, made.spec.stop_signal) == ("web", "/srv", "SIGQUIT")
    assert made.spec.hostname == ID[:12]
    assert made.spec.network_mode == "bridge"


@pytest.mark.parametrize(
    ("entrypoint", "command", "words"),
    [
        (None, None, ("/entry", "serve", "-v")),
        (None, ("ls",), ("/entry", "ls")),
        (("sh",), None, ("sh",)),
        (("sh", "-c"), ("ls",), ("sh", "-c", "ls")),
        (("",), ("ls",), ("ls",)),
    ],
)
def test_entrypoint_and_command(
    entrypoint: tuple[str, ...] | None, command: tuple[str, ...] | None, words: tuple[str, ...]
) -> None:
    made = planned(entrypoint=entrypoint, command=command)
    assert (made.path, *made.args) == words


def test_an_emptied_entrypoint_without_a_command_is_no_command() -> None:
    with pytest.raises(Invalid, match="no command specified"):
        planned(entrypoint=("",))


def test_a_healthcheck_without_a_test_keeps_the_images() -> None:
    check = planned(healthcheck=Healthcheck(interval=9_000_000)).spec.healthcheck
    assert check == Healthcheck(test=("CMD", "true"), interval=9_000_000, retries=3)


def test_memory_means_as_much_swap_again() -> None:
    assert planned(resources=Resources(memory=10 << 20)).spec.resources.memory_swap == 20 << 20


REFUSED = [
    ({"environment": ("=x",)}, "invalid environment variable: =x"),
    ({"working_dir": "x"}, "the working directory 'x' is invalid, it needs to be an absolute path"),
    ({"stop_signal": "SIGFOO"}, "invalid signal: SIGFOO"),
    ({"runtime": "kata"}, "unknown or invalid runtime name: kata"),
    ({"cap_add": ("foo",)}, 'invalid CapAdd: unknown capability: "CAP_FOO"'),
    ({"auto_remove": True, "restart": RestartPolicy(name="always")},
     "can't create 'AutoRemove' container with restart policy"),
    ({"restart": RestartPolicy(name="sometimes")},
     "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"),
    ({"network_mode": "container:x", "hostname": "h"}, "conflicting options: hostname and the network mode"),
    ({"network_mode": "container:x", "port_bindings": (PortBinding(Port(80)),)},
     "conflicting options: port publishing and the container type network mode"),
    ({"extra_hosts": ("nocolon",)}, 'bad format for add-host: "nocolon"'),
    ({"extra_hosts": ("a:b",)}, 'invalid IP address in add-host: "b"'),
    ({"security_options": ("foo",)}, 'invalid --security-opt 1: "foo"'),
    ({"security_options": ("foo=bar",)}, 'invalid --security-opt 2: "foo=bar"'),
    ({"mounts": (MountSpec(type="bind", source="rel", target="/x"),)},
     "invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute"),
    ({"mounts": (MountSpec(type="volume", target="x"),)},
     "invalid mount config for type \"volume\": invalid mount path: 'x' mount path must be absolute"),
    ({"mounts": (MountSpec(type="volume", target="/"),)},
     "invalid mount config for type \"volume\": invalid specification: destination can't be '/'"),
    ({"mounts": (MountSpec(type="volume", source="a/b", target="/x"),)},
     ('create a/b: "a/b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are '
     "allowed. If you intended to pass a host directory, use absolute path")),
    ({"resources": Resources(memory=1 << 20)}, "Minimum memory limit allowed is 6MB"),
    ({"resources": Resources(memory=10 << 20, memory_swap=1)},
     "Minimum memoryswap limit should be larger than memory limit, see usage"),
    ({"resources": Resources(memory_swap=1)},
     "You should always set the Memory limit when using Memoryswap limit, see usage"),
    ({"resources": Resources(nano_cpus=5_000_000_000)},
     "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
    ({"resources": Resources(cpuset_cpus="9")},
     "Requested CPUs are not available - requested 9, available: 0-3"),
    ({"resources": Resources(cpuset_cpus="a")}, "Invalid value a for cpuset cpus: invalid format: a"),
    ({"oom_score_adj": 2000}, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_refused_in_dockers_words(fields: dict[str, object], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        planned(**fields)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["a", "", "-x", "a b", "ä1", "/"])
def test_bad_names(name: str) -> None:
    with pytest.raises(Invalid):
        checks.check_name(name)


def test_good_names() -> None:
    assert checks.check_name("/web_1.x-y") == "web_1.x-y"


def test_mounts_override_volumes_from_and_images_volumes() -> None:
    inherited = (MountSpec(type="volume", source="old", target="/data/"),)
    mine = MountSpec(type="tmpfs", target="/data")
    spec = ContainerSpec(image="x", mounts=(mine,), volumes=("/data", "/a/b", "/a"))
    targets = [(mount.target, mount.type) for mount in plan.plan_mounts(spec, inherited)]
    assert targets == [("/a", "volume"), ("/data", "tmpfs"), ("/a/b", "volume")]


def test_two_mounts_at_one_place_are_refused() -> None:
    spec = ContainerSpec(
        image="x", mounts=(MountSpec(type="tmpfs", target="/x"), MountSpec(type="tmpfs", target="/x/"))
    )
    with pytest.raises(Invalid, match="Duplicate mount point: /x"):
        plan.plan_mounts(spec, ())


def test_process_environment() -> None:
    spec = ContainerSpec(image="x", hostname="h", tty=True, environment=("A=1", "TERM", "PATH=/p"))
    assert plan.process_environment(spec) == ["PATH=/p", "HOSTNAME=h", "A=1"]


def test_publish_all_adds_exposed_ports() -> None:
    spec = ContainerSpec(
        image="x",
        publish_all=True,
        exposed_ports=(Port(80), Port(53, "udp")),
        port_bindings=(PortBinding(Port(80), "", 8080, 8080),),
    )
    assert [binding.port for binding in plan.bindings(spec)] == [Port(80), Port(53, "udp")]


@pytest.mark.parametrize(
    ("name", "retries", "code", "restarts", "stopped", "again"),
    [
        ("no", 0, 1, 0, False, False),
        ("always", 0, 0, 99, False, True),
        ("always", 0, 0, 0, True, False),
        ("unless-stopped", 0, 1, 0, False, True),
        ("on-failure", 0, 0, 0, False, False),
        ("on-failure", 2, 1, 1, False, True),
        ("on-failure", 2, 1, 2, False, False),
    ],
)
def test_restart_policies(
    name: str, retries: int, code: int, restarts: int, stopped: bool, again: bool
) -> None:
    policy = RestartPolicy(name=name, maximum_retries=retries)
    assert plan.should_restart(policy, code, restarts, stopped_by_user=stopped) is again


def test_back_off_doubles_to_a_minute_and_forgets() -> None:
    assert [plan.restart_delay(n) // 1_000_000 for n in (0, 1, 2, 50)] == [100, 200, 400, 60_000]
    assert plan.next_failures(7, plan.STEADY) == 0
    assert plan.next_failures(7, 1) == 8


def test_starting_with_the_daemon() -> None:
    always, unless = RestartPolicy(name="always"), RestartPolicy(name="unless-stopped")
    assert plan.should_start_with_daemon(always, Status.EXITED, stopped_by_user=True)
    assert not plan.should_start_with_daemon(always, Status.CREATED, stopped_by_user=False)
    assert not plan.should_start_with_daemon(unless, Status.EXITED, stopped_by_user=True)


def test_every_state_has_its_moves_and_others_are_refused() -> None:
    assert set(MOVES) == set(Status) - {Status.CREATING}
    for status, moves in MOVES.items():
        for move in Move:
            if move in moves:
                assert moved("c", status, move) is moves[move]
            else:
                with pytest.raises(IllegalMove, match=f"cannot {move} container c: it is {status}"):
                    moved("c", status, move)


def test_block_limits_are_kept() -> None:
    limits = Resources(blkio_read_bps=(BlockLimit(path="/dev/x", rate=1),))
    assert planned(resources=limits).spec.resources == replace(limits)
