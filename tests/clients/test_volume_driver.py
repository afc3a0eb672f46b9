"""The local driver's volumes: options, mounted while they are used, labels, filters, prune, refusals in Docker's words."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import host
from tests.support.daemons import Daemon, Knarrd


@pytest.fixture
def volumes(daemon: Daemon) -> Iterator[Daemon]:
    """The daemon without volumes, before and afterwards."""
    _remove_all(daemon)
    yield daemon
    daemon.remove_containers()
    _remove_all(daemon)


def _remove_all(daemon: Daemon) -> None:
    names = daemon.docker("volume", "ls", "-q").stdout.split()
    if names:
        daemon.docker("volume", "rm", *names)


def mounted(daemon: Daemon, name: str) -> bool:
    """Whether a volume is a mount, as the daemon's mount namespace sees it."""
    table = Path(f"/proc/{daemon.process.pid}/mountinfo").read_text()
    return any(line.split()[4].endswith(f"/volumes/{name}/_data") for line in table.splitlines())


def refused(daemon: Daemon, *words: str) -> str:
    """What the daemon says to something that fails."""
    done = daemon.docker(*words, check=False)
    assert done.returncode != 0, f"{words} is not refused"
    return done.stderr.strip()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["size=1m"], "create vol: quota size requested but no quota support"),
        (["foo=bar"], 'create vol: invalid option: "foo"'),
        (["type=tmpfs"], 'create vol: missing required option: "device"'),
        (["device=/tmp"], 'create vol: missing required option: "type"'),
        (["o=bind"], 'create vol: missing required option: "device"'),
    ],
)
def test_options_that_are_refused(volumes: Daemon, options: list[str], words: str) -> None:
    flags = [word for option in options for word in ("-o", option)]
    assert refused(volumes, "volume", "create", *flags, "vol").endswith(words)
    assert volumes.docker("volume", "ls", "-q").stdout == ""


def test_a_tmpfs_lives_as_long_as_it_is_used(volumes: Daemon) -> None:
    options = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=1000"]
    volumes.docker("volume", "create", *options, "ram")
    (told,) = json.loads(volumes.docker("volume", "inspect", "ram").stdout)
    assert told["Options"] == {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=1000"}
    assert not mounted(volumes, "ram")
    for name in ("one", "two"):
        volumes.docker("run", "-d", "--name", name, "-v", "ram:/m", "busybox", "sleep", "600")
    assert mounted(volumes, "ram")
    volumes.docker("exec", "one", "sh", "-c", "echo shared > /m/file")
    assert volumes.docker("exec", "two", "cat", "/m/file").stdout == "shared\n"
    assert volumes.docker("exec", "two", "stat", "-c", "%u", "/m").stdout == "1000\n"
    volumes.docker("kill", "one")
    assert volumes.docker("exec", "two", "cat", "/m/file").stdout == "shared\n"
    assert mounted(volumes, "ram")
    volumes.docker("rm", "-f", "two")
    host.wait_for(lambda: not mounted(volumes, "ram"), "the volume is unmounted")
    assert volumes.docker("start", "one").stdout == "one\n"
    assert volumes.docker("exec", "one", "ls", "/m").stdout == ""


def test_a_bind_keeps_what_is_there(volumes: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    options = ["-o", "type=none", "-o", f"device={tmp_path}", "-o", "o=bind"]
    volumes.docker("volume", "create", *options, "there")
    script = "cat /m/file; echo new > /m/other"
    assert volumes.docker("run", "--rm", "-v", "there:/m", "busybox", "sh", "-c", script).stdout == "kept"
    host.wait_for(lambda: not mounted(volumes, "there"), "the volume is unmounted")
    volumes.docker("volume", "rm", "there")
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]


def test_an_anonymous_one_that_goes_with_its_container_leaves_the_host_alone(
    volumes: Daemon, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("kept")
    mount = f"type=volume,target=/m,volume-opt=type=none,volume-opt=o=bind,volume-opt=device={tmp_path}"
    assert volumes.docker("run", "--rm", "--mount", mount, "busybox", "cat", "/m/file").stdout == "kept"
    host.wait_for(lambda: volumes.docker("volume", "ls", "-q").stdout == "", "the volume is gone")
    assert (tmp_path / "file").read_text() == "kept"


def test_copies_of_a_stopped_container_reach_a_mounted_volume(volumes: Daemon, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("copied")
    options = ["-o", "type=none", "-o", f"device={tmp_path / 'there'}", "-o", "o=bind"]
    volumes.docker("volume", "create", *options, "there")
    volumes.docker("create", "--name", "box", "-v", "there:/m", "busybox")
    volumes.docker("cp", str(tmp_path / "file"), "box:/m/file")
    assert (tmp_path / "there/file").read_text() == "copied"
    volumes.docker("cp", "box:/m/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "copied"
    host.wait_for(lambda: not mounted(volumes, "there"), "the volume is unmounted behind the copy")


def test_what_the_image_has_is_copied_into_a_mounted_volume(volumes: Daemon, tmp_path: Path) -> None:
    options = ["-o", "type=none", "-o", f"device={tmp_path}", "-o", "o=bind"]
    volumes.docker("volume", "create", *options, "there")
    volumes.docker("create", "-v", "there:/etc", "busybox")
    assert {"passwd", "group"} <= set(os.listdir(tmp_path))
    assert not mounted(volumes, "there")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["type=none", "o=bind", "device=/nonexistent"],
            "mount /nonexistent:{path}, flags: 0x1000: no such file or directory",
        ),
        (["type=ext4", "device=/dev/nope"], "mount /dev/nope:{path}: no such file or directory"),
        (["type=nosuchfs", "device=/dev/null"], "mount /dev/null:{path}: no such device"),
    ],
)
def test_what_cannot_be_mounted(volumes: Daemon, options: list[str], words: str) -> None:
    flags = [word for option in options for word in ("-o", option)]
    volumes.docker("volume", "create", *flags, "bad")
    path = json.loads(volumes.docker("volume", "inspect", "bad").stdout)[0]["Mountpoint"]
    volumes.docker("create", "--name", "box", "-v", "bad:/m", "busybox")
    said = refused(volumes, "start", "box")
    told = f"error while mounting volume '{path}': failed to mount local volume: {words.format(path=path)}"
    assert told in said
    assert not mounted(volumes, "bad")


def test_a_file_server_without_a_name(volumes: Daemon) -> None:
    flags = ["-o", "type=nfs", "-o", "device=:/x", "-o", "o=addr=nohost.invalid"]
    volumes.docker("volume", "create", *flags, "far")
    said = refused(volumes, "run", "--rm", "-v", "far:/m", "busybox", "true")
    assert "error resolving passed in network volume address" in said


def test_an_nfs_volume_asks_the_kernel(volumes: Daemon) -> None:
    """Where the kernel has no NFS it says so, otherwise that nobody serves there."""
    flags = ["-o", "type=nfs", "-o", "device=:/x", "-o", "o=addr=127.0.0.1,soft,timeo=1,retrans=0,port=9"]
    volumes.docker("volume", "create", *flags, "far")
    said = refused(volumes, "run", "--rm", "-v", "far:/m", "busybox", "true")
    assert "failed to mount local volume: mount :/x:" in said
    assert "data: addr=127.0.0.1,soft,timeo=1,retrans=0,port=9: " in said


def test_create_says_nothing_of_what_is_there(volumes: Daemon) -> None:
    volumes.docker("volume", "create", "--label", "a=b", "vol")
    assert volumes.docker("volume", "create", "--label", "c=d", "vol").stdout == "vol\n"
    assert json.loads(volumes.docker("volume", "inspect", "vol").stdout)[0]["Labels"] == {"a": "b"}
    for name in ("vol", "other"):
        words = f'create {name}: error looking up volume plugin nope: plugin "nope" not found'
        assert words in refused(volumes, "volume", "create", "-d", "nope", name)


def test_cluster_volumes_need_a_swarm(volumes: Daemon) -> None:
    said = refused(volumes, "volume", "create", "--type", "mount", "--scope", "single", "vol")
    assert "This node is not a swarm manager." in said
    assert "no such volume" in refused(volumes, "volume", "update", "vol", "--availability", "drain")


def test_filters(volumes: Daemon) -> None:
    volumes.docker("volume", "create", "--label", "a=b", "--label", "c", "v1")
    volumes.docker("volume", "create", "v2")
    volumes.docker("create", "-v", "v2:/v", "busybox")

    def found(*filters: str) -> list[str]:
        words = [word for each in filters for word in ("--filter", each)]
        return volumes.docker("volume", "ls", "-q", *words).stdout.split()

    assert found("dangling=true") == ["v1"]
    assert found("dangling=false") == ["v2"]
    assert found("label=a") == found("label=a=b", "label=c") == ["v1"]
    assert found("label=a", "label=x") == found("label=a=c") == []
    assert found("name=v") == found("driver=local") == ["v1", "v2"]
    assert found("name=2$") == ["v2"]
    assert found("driver=loc") == []
    for bad in ("dangling=maybe", "nope=1"):
        assert "invalid filter" in refused(volumes, "volume", "ls", "--filter", bad)


def test_prune_takes_anonymous_ones_unless_told(volumes: Daemon) -> None:
    volumes.docker("volume", "create", "--label", "keep", "named")
    anonymous = volumes.docker("volume", "create").stdout.strip()
    labelled = volumes.docker("volume", "create", "--label", "keep").stdout.strip()
    (told,) = json.loads(volumes.docker("volume", "inspect", anonymous).stdout)
    assert told["Labels"] == {"com.docker.volume.anonymous": ""}

    def pruned(*words: str) -> set[str]:
        out = volumes.docker("volume", "prune", "-f", *words).stdout
        return set(out.split()) & {"named", anonymous, labelled}

    assert pruned("--filter", "label=other") == set()
    assert pruned("--filter", "label!=keep") == {anonymous}
    assert pruned() == {labelled}
    assert pruned("--all") == {"named"}
    assert "strconv.ParseBool" in refused(volumes, "volume", "prune", "-f", "--filter", "all=yes")


def test_before_1_42_prune_took_all(volumes: Daemon) -> None:
    volumes.docker("volume", "create", "named")
    status, told = volumes.api("POST", "/v1.41/volumes/prune")
    assert (status, told["VolumesDeleted"]) == (200, ["named"])


def test_what_is_in_use_stays(volumes: Daemon) -> None:
    volumes.docker("create", "--name", "box", "-v", "vol:/v", "busybox")
    for force in ([], ["-f"]):
        assert "remove vol: volume is in use - [" in refused(volumes, "volume", "rm", *force, "vol")
    volumes.docker("rm", "box")
    assert volumes.docker("volume", "rm", "vol").stdout == "vol\n"
    assert "no such volume" in refused(volumes, "volume", "rm", "vol").lower()
    volumes.docker("volume", "rm", "-f", "vol")


def test_a_killed_daemon_takes_mounted_volumes_up_again(volumes: Daemon) -> None:
    """kill -9: what a living container uses stays mounted, what nobody uses is unmounted."""
    if not isinstance(volumes, Knarrd):
        pytest.skip("dockerd without live-restore kills its containers")
    for name in ("lives", "ends"):
        volumes.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", name)
        volumes.docker("run", "-d", "--name", name, "-v", f"{name}:/m", "busybox", "sleep", "600")
    pid = volumes.inspect("ends")["State"]["Pid"]
    volumes.kill()
    os.kill(pid, 9)
    volumes.start()
    assert mounted(volumes, "lives")
    host.wait_for(lambda: not mounted(volumes, "ends"), "the volume that nobody uses is unmounted")
    volumes.docker("rm", "-f", "lives")
    host.wait_for(lambda: not mounted(volumes, "lives"), "the volume is unmounted")
