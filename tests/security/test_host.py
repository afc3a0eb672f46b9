"""A running daemon seen from its containers and from the host's other users."""

import contextlib
import json
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.security.inside import PYTHON, python, python_volumes
from tests.support import host
from tests.support.daemons import Knarrd

NOBODY = 65534


def as_nobody(action: Callable[[], object]) -> str:
    """What another user of the host gets: "" for success, or the error's words."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            action()
        except OSError as error:
            os.write(write, (error.strerror or "").encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(pid, 0)
    return said


def engine(knarrd: Knarrd, name: str) -> dict[str, set[str]]:
    """What `/proc/PID/name` of the daemon's own processes is, by what they call themselves. Some come and go."""
    found: dict[str, set[str]] = {}
    for pid in knarrd.pids:
        comm, path = host.comm(pid), f"/proc/{pid}/{name}"
        if comm.startswith("knarr"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                text = os.readlink(path) if name == "exe" else Path(path).read_text()
                found.setdefault(comm, set()).add(text)
    return found


@pytest.fixture
def reachable(knarrd: Knarrd) -> Iterator[Knarrd]:
    """The tests' own directory lets everybody pass, so that only the daemon's own modes protect it."""
    knarrd.root.chmod(0o711)
    yield knarrd
    knarrd.root.chmod(0o700)


def test_cve_2021_41091_the_data_root_is_closed(reachable: Knarrd) -> None:
    """A set-uid program of an image must not be there for the host's users; nor may anybody read images or state."""
    layers = reachable.data_root / "snapshots/overlay2/layers"
    program = next(layers.glob("*/diff/bin/busybox"))
    database = reachable.data_root / "state.db"

    def read() -> None:
        program.read_bytes()

    before = stat.S_IMODE(reachable.data_root.stat().st_mode)
    reachable.data_root.chmod(0o711)
    try:
        assert as_nobody(read) == ""
    finally:
        reachable.data_root.chmod(before)
    assert as_nobody(read) == "Permission denied"
    assert as_nobody(lambda: database.read_bytes()) == "Permission denied"


def test_cve_2021_41103_a_containers_directory_is_closed(reachable: Knarrd) -> None:
    """And 2014-3499, 2020-15257: neither a shim's socket nor the daemon's takes another user's word."""
    made = reachable.docker("run", "-d", "busybox", "sleep", "1000").stdout.strip()
    directory = reachable.exec_root / "containers" / made
    shim = directory / "shim.sock"

    def speak(path: Path, kind: int) -> Callable[[], None]:
        def connect() -> None:
            with socket.socket(socket.AF_UNIX, kind) as sock:
                os.chdir(path.parent)
                sock.connect(path.name)

        return connect

    assert as_nobody(speak(shim, socket.SOCK_SEQPACKET)) == "Permission denied"
    assert as_nobody(speak(reachable.socket, socket.SOCK_STREAM)) == "Permission denied"
    reachable.socket.chmod(0o666)
    try:
        assert as_nobody(speak(reachable.socket, socket.SOCK_STREAM)) == ""
    finally:
        reachable.socket.chmod(0o660)
    directory.chmod(0o711)
    assert as_nobody(speak(shim, socket.SOCK_SEQPACKET)) == "Permission denied", "its own mode closes it too"
    shim.chmod(0o666)
    assert as_nobody(speak(shim, socket.SOCK_SEQPACKET)) == ""


CONNECT = (
    "s = __import__('socket').socket(1, int(sys.argv[1])); s.connect('\\0' + sys.argv[2]); print('connected')"
)


def test_cve_2020_15257_no_abstract_socket(knarrd: Knarrd) -> None:
    """A container in the host's network reaches every abstract socket of the host: the engine has none."""
    name = f"knarr-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as leaked:
        leaked.bind("\0" + name)
        leaked.listen()
        flags = ("run", "--rm", "--network", "host", *python_volumes(), "busybox")
        said = knarrd.docker(*flags, *python(CONNECT, str(int(socket.SOCK_SEQPACKET)), name)).stdout
        assert said == "connected\n"
        assert abstract({os.getpid()}) == {f"@{name}"}
    knarrd.docker("run", "-d", "busybox", "sleep", "1000")
    assert len(knarrd.pids) >= 4, "daemon, zygote, shim, init"
    assert abstract(knarrd.pids) == set()


def abstract(pids: set[int]) -> set[str]:
    """The abstract sockets that these processes hold."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    found = re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
                    inodes |= {found[1]} if found else set()
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {line[7] for line in lines if len(line) > 7 and line[7].startswith("@") and line[6] in inodes}


PEEK = """
found = []
for pid in sys.argv[1:]:
    for name in ("environ", "maps", "cwd", "root", "exe", "fd/0"):
        path = f"/proc/{pid}/{name}"
        try:
            os.readlink(path) if name in ("cwd", "root", "exe", "fd/0") else open(path).read(1)
            found.append(path)
        except OSError:
            pass
print(json.dumps(found))
"""


def test_cve_2016_9962_the_engine_cannot_be_looked_into_in_the_hosts_pid_namespace(knarrd: Knarrd) -> None:
    """/proc/PID/root of a daemon is the host; with the capability to trace it is open, as an administrator asked."""
    knarrd.docker("run", "-d", "busybox", "sleep", "1000")
    pids = [str(pid) for pid in sorted(knarrd.pids) if host.comm(pid).startswith("knarr")]
    assert len(pids) >= 3
    flags = ("run", "--rm", "--pid", "host", *python_volumes())
    weak = json.loads(
        knarrd.docker(*flags, "--cap-add", "SYS_PTRACE", "busybox", *python(PEEK, *pids)).stdout
    )
    assert f"/proc/{knarrd.process.pid}/root" in weak
    assert json.loads(knarrd.docker(*flags, "busybox", *python(PEEK, *pids)).stdout) == []


def test_the_daemons_environment_is_its_own(knarrd: Knarrd) -> None:
    """Tokens and proxies' passwords in it reach neither zygote nor shims, and no container."""
    knarrd.docker("run", "-d", "--name", "shown", "busybox", "sleep", "1000")
    environments = engine(knarrd, "environ")
    assert environments.pop("knarrd") != {""}
    assert environments == {"knarr-zygote": {""}, "knarr-shim": {""}}
    names = {line.partition("=")[0] for line in knarrd.docker("exec", "shown", "env").stdout.splitlines()}
    assert names == {"PATH", "HOSTNAME", "HOME"}


ADVERTISEMENT = """
import socket, struct
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
mac = open("/sys/class/net/eth0/address").read().strip().replace(":", "")
source = bytes.fromhex("fe80000000000000" + mac[:6] + "fffe" + mac[6:])
target = bytes.fromhex("ff020000000000000000000000000001")
# RFC 4861, 4.2: lifetime 1800 s, no options; the checksum of RFC 4443, 2.3
body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
words = struct.unpack(f"!{(32 + 8 + len(body)) // 2}H", source + target + struct.pack("!II", len(body), 58) + body)
total = sum(words)
while total >> 16:
    total = (total & 0xffff) + (total >> 16)
body = body[:2] + struct.pack("!H", ~total & 0xffff) + body[4:]
packet = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + target + body
link.send(bytes.fromhex("333300000001" + mac) + b"\\x86\\xdd" + packet)
print("sent")
"""


@pytest.mark.skipif(not os.path.exists("/proc/sys/net/ipv6"), reason="the kernel has no IPv6")
def test_cve_2020_13401_the_host_takes_no_router_from_a_container(knarrd: Knarrd) -> None:
    """CAP_NET_RAW is a default: a container can say that it is the way to everywhere."""
    settings = Path(f"/proc/sys/net/ipv6/conf/{knarrd.bridge}")
    advertise = ("run", "--rm", *python_volumes(), "busybox", *python(ADVERTISEMENT))
    default = {name: (settings / name).read_text().strip() for name in ("disable_ipv6", "accept_ra")}
    assert default == {"disable_ipv6": "1", "accept_ra": "0"}
    assert knarrd.docker(*advertise).stdout == "sent\n"
    assert not routed(knarrd)
    (settings / "disable_ipv6").write_text("0")
    (settings / "accept_ra").write_text("2")
    try:

        def fooled() -> bool:
            knarrd.docker(*advertise)
            return routed(knarrd)

        host.wait_for(fooled, "the weakened host takes the container for a router")
    finally:
        (settings / "accept_ra").write_text("0")
        (settings / "disable_ipv6").write_text("1")
    assert not routed(knarrd)


def routed(knarrd: Knarrd) -> bool:
    """Whether the host has a default route of IPv6 over the bridge."""
    lines = [line.split() for line in Path("/proc/net/ipv6_route").read_text().splitlines()]
    return any(line[0] == "0" * 32 and line[1] == "00" and line[-1] == knarrd.bridge for line in lines)


def test_cve_2024_32473_a_network_of_ipv4_has_no_ipv6(knarrd: Knarrd) -> None:
    """Nor does one container listen to another's advertisements (2020-13401)."""
    script = "cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6 /proc/sys/net/ipv6/conf/eth0/accept_ra; grep -c eth0 /proc/net/if_inet6"
    weak = "echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip addr add fe80::1/64 dev eth0; grep -c eth0 /proc/net/if_inet6"
    assert knarrd.docker("run", "--rm", "--privileged", "busybox", "sh", "-c", weak).stdout == "1\n"
    said = knarrd.docker("run", "--rm", "busybox", "sh", "-c", script, check=False).stdout
    assert said.split() == ["1", "0", "0"]


def test_cve_2022_1227_top_runs_nothing_of_the_container(knarrd: Knarrd) -> None:
    script = "rm /bin/ps; printf '#!/bin/sh\\ntouch /executed' >/bin/ps; chmod 755 /bin/ps; touch /laid; sleep 1000"
    knarrd.docker("run", "-d", "--name", "trap", "busybox", "sh", "-c", script)
    seen = ("exec", "trap", "test", "-e", "/laid")
    host.wait_for(lambda: knarrd.docker(*seen, check=False).returncode == 0, "the trap is laid")
    for arguments in ((), ("-eo", "pid,comm")):
        assert "sleep" in knarrd.docker("top", "trap", *arguments).stdout
    assert knarrd.docker("exec", "trap", "test", "-e", "/executed", check=False).returncode == 1
    knarrd.docker("exec", "trap", "ps")
    assert knarrd.docker("exec", "trap", "test", "-e", "/executed").returncode == 0


STATUS = r"^(Groups|Cap\w+|NoNewPrivs|Seccomp|Umask):\s*(.*?)\s*$"


def test_defaults_of_run_and_exec(knarrd: Knarrd) -> None:
    """What Docker gives, and not more: capabilities (none inheritable or ambient), the filter, groups, umask."""
    read = ("cat", "/proc/self/status")
    knarrd.docker("run", "-d", "--name", "plain", "busybox", "sleep", "1000")
    default = {
        "Umask": "0022", "Groups": "0", "CapInh": "0" * 16, "CapPrm": "00000000a80425fb", "CapEff": "00000000a80425fb",
        "CapBnd": "00000000a80425fb", "CapAmb": "0" * 16, "NoNewPrivs": "0", "Seccomp": "2",
    }  # fmt: skip
    run = ("run", "--rm", "busybox", *read)
    plain: list[tuple[str, ...]] = [run, ("exec", "plain", *read)]
    for arguments in plain:
        assert dict(re.findall(STATUS, knarrd.docker(*arguments).stdout, re.MULTILINE)) == default
    for arguments in (
        ("run", "--rm", "--privileged", "busybox", *read),
        ("exec", "--privileged", "plain", *read),
    ):
        found = dict(re.findall(STATUS, knarrd.docker(*arguments).stdout, re.MULTILINE))
        assert int(found["CapEff"], 16) > int(default["CapEff"], 16), "weakened, it shows"
        assert found["CapInh"] == found["CapAmb"] == "0" * 16
    user = dict(
        re.findall(STATUS, knarrd.docker("exec", "-u", "1000:1000", "plain", *read).stdout, re.MULTILINE)
    )
    assert (user["CapEff"], user["CapPrm"], user["Groups"]) == ("0" * 16, "0" * 16, "1000")


@pytest.mark.parametrize("wish", ["4294967296", "-1", "2147483648", "1000:4294967296"])
def test_cve_2024_40635_a_number_out_of_range_is_no_user(knarrd: Knarrd, wish: str) -> None:
    said = knarrd.docker("run", "--rm", "-u", wish, "busybox", "id", "-u", check=False)
    assert said.returncode != 0
    assert "0\n" not in said.stdout


def test_the_hosts_name_for_the_interpreter_is_not_shown(knarrd: Knarrd) -> None:
    """CVE-2019-5736: what runs between clone and execve is an interpreter without a path, mounted read-only."""
    knarrd.docker("run", "-d", "busybox", "sleep", "1000")
    assert engine(knarrd, "exe") == {"knarrd": {PYTHON}, "knarr-zygote": {"/"}, "knarr-shim": {"/"}}
