"""Networks and published ports, seen from the docker CLI and from real sockets on the host."""

import contextlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support import host
from tests.support.daemons import Daemon

SERVER = "mkdir -p /www; echo served > /www/index.html; exec httpd -f -p 80 -h /www"


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody holds now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("0.0.0.0", 0))
        port: int = sock.getsockname()[1]
        return port


def own_address() -> str:
    """An address of this host that is not loopback and no container bridge: the one that outgoing packets have, or any."""
    out = subprocess.run(
        ["ip", "-4", "-o", "addr", "show", "scope", "global"], capture_output=True, text=True, check=True
    ).stdout
    addresses = re.findall(r"^\d+: (\S+)\s+inet ([0-9.]+)", out, re.MULTILINE)
    outside = [address for name, address in addresses if not name.startswith(("kt", "br", "docker"))]
    return str((outside or [address for _, address in addresses])[0])


def ip(*words: str) -> None:
    """Runs ip(8)."""
    subprocess.run(["ip", *words], check=True)


@pytest.fixture
def neighbour(daemon: Daemon) -> Iterator[str]:
    """A network namespace joined to the host by a veth pair: another machine, as far as the host can tell. Its name."""
    name = "ktneighbour"
    ip("netns", "add", name)
    try:
        ip("link", "add", "ktn-host", "type", "veth", "peer", "name", "ktn-peer", "netns", name)
        ip("addr", "add", "10.232.0.1/24", "dev", "ktn-host")
        ip("link", "set", "ktn-host", "up")
        ip("-n", name, "addr", "add", "10.232.0.2/24", "dev", "ktn-peer")
        ip("-n", name, "link", "set", "ktn-peer", "up")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "route", "add", "default", "via", "10.232.0.1")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
        subprocess.run(["ip", "link", "del", "ktn-host"], check=False, capture_output=True)


def test_a_published_port_answers_everywhere(daemon: Daemon, neighbour: str) -> None:
    port = free_port()
    daemon.docker("run", "-d", "--name", "web", "-p", f"{port}:80", "busybox", "sh", "-c", SERVER)
    assert host.fetch("127.0.0.1", port) == "served\n"
    assert host.fetch(own_address(), port) == "served\n"
    assert host.fetch(daemon.gateway, port) == "served\n"
    url = f"http://10.232.0.1:{port}/"
    seen = subprocess.run(
        ["ip", "netns", "exec", neighbour, "curl", "-sS", "--max-time", "20", url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout == "served\n"
    assert daemon.docker("port", "web", "80").stdout.splitlines()[0] == f"0.0.0.0:{port}"
    assert (
        daemon.docker("exec", "web", "wget", "-qO-", f"http://{daemon.gateway}:{port}/").stdout == "served\n"
    )
    other = daemon.docker("run", "--rm", "busybox", "wget", "-qO-", f"http://{daemon.gateway}:{port}/").stdout
    assert other == "served\n"


def test_a_port_on_loopback_stays_there(daemon: Daemon, neighbour: str) -> None:
    port = free_port()
    daemon.docker("run", "-d", "-p", f"127.0.0.1:{port}:80", "busybox", "sh", "-c", SERVER)
    assert host.fetch("127.0.0.1", port) == "served\n"
    url = f"http://10.232.0.1:{port}/"
    seen = subprocess.run(
        ["ip", "netns", "exec", neighbour, "curl", "-sS", "--max-time", "2", url],
        capture_output=True,
        check=False,
    )
    assert seen.returncode != 0


ECHO = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 5000))\nwhile True: s.sendto(b'pong', s.recvfrom(99)[1])"


def test_udp(daemon: Daemon) -> None:
    port = free_port(socket.SOCK_DGRAM)
    cid = daemon.docker("run", "-d", "-p", f"{port}:5000/udp", "busybox", "sleep", "1000").stdout.strip()
    pid = daemon.docker("inspect", "-f", "{{.State.Pid}}", cid).stdout.strip()
    server = subprocess.Popen(["nsenter", "-t", pid, "-n", sys.executable, "-c", ECHO])

    def answered() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.5)
            with contextlib.suppress(OSError):
                sock.sendto(b"ping", ("127.0.0.1", port))
                return sock.recv(100) == b"pong"
        return False

    try:
        host.wait_for(answered, "pong over UDP")
    finally:
        server.kill()
        server.wait()


def test_a_free_port_is_found(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "web", "-p", "80", "busybox", "sh", "-c", SERVER)
    port = int(daemon.docker("port", "web", "80/tcp").stdout.splitlines()[0].rpartition(":")[2])
    assert port >= 1024
    assert host.fetch("127.0.0.1", port) == "served\n"


def test_a_taken_port_is_refused_and_nothing_is_left(daemon: Daemon) -> None:
    port = free_port()
    daemon.docker("run", "-d", "--name", "first", "-p", f"{port}:80", "busybox", "sleep", "1000")
    done = daemon.docker(
        "run", "-d", "--name", "second", "-p", f"{port}:80", "busybox", "sleep", "1000", check=False
    )
    assert done.returncode == 125
    assert "failed: port is already allocated" in done.stderr
    assert daemon.docker("inspect", "-f", "{{.State.Status}}", "second").stdout == "created\n"
    daemon.docker("rm", "-f", "first")
    daemon.docker("start", "second")


def test_a_port_that_another_program_holds(daemon: Daemon) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = daemon.docker("run", "-d", "-p", f"{port}:80", "busybox", "sleep", "1000", check=False)
    assert done.returncode == 125
    assert "address already in use" in done.stderr


def test_containers_reach_each_other_and_out(daemon: Daemon, neighbour: str) -> None:
    daemon.docker("run", "-d", "--name", "web", "busybox", "sh", "-c", SERVER)
    network = json.loads(daemon.docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", "web").stdout)[
        "bridge"
    ]
    host.wait_for(lambda: host.fetch(network["IPAddress"], 80) == "served\n", "the server")
    seen = daemon.docker("run", "--rm", "busybox", "wget", "-qO-", f"http://{network['IPAddress']}/").stdout
    assert seen == "served\n"
    listener = subprocess.Popen(
        [
            "ip",
            "netns",
            "exec",
            neighbour,
            "python3",
            "-c",
            "import socket; s = socket.create_server(('10.232.0.2', 7777)); print('on', flush=True); c, who = s.accept(); print(who[0], flush=True)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "on\n"
        daemon.docker("run", "--rm", "busybox", "nc", "-w", "3", "10.232.0.2", "7777", data=b"")
        assert listener.stdout.readline() == "10.232.0.1\n"
    finally:
        listener.kill()
        listener.wait()
        if listener.stdout:
            listener.stdout.close()


def test_none_and_host(daemon: Daemon) -> None:
    assert daemon.docker(
        "run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net"
    ).stdout.split() == ["lo"]
    seen = daemon.docker("run", "--rm", "--network", "host", "busybox", "ls", "/sys/class/net").stdout.split()
    assert daemon.bridge in seen


def test_anothers_network(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "web", "busybox", "sh", "-c", SERVER)
    daemon.docker("exec", "web", "sh", "-c", "until wget -qO- http://127.0.0.1/; do sleep 0.1; done")
    assert (
        daemon.docker(
            "run", "--rm", "--network", "container:web", "busybox", "wget", "-qO-", "http://127.0.0.1/"
        ).stdout
        == "served\n"
    )


def test_ports_after_a_restart_of_the_container(daemon: Daemon) -> None:
    port = free_port()
    daemon.docker("run", "-d", "--name", "web", "-p", f"{port}:80", "busybox", "sh", "-c", SERVER)
    assert host.fetch("127.0.0.1", port) == "served\n"
    daemon.docker("restart", "-t", "0", "web")
    assert host.fetch("127.0.0.1", port) == "served\n"


def test_network_ls_and_inspect(daemon: Daemon) -> None:
    names = daemon.docker("network", "ls", "--format", "{{.Name}} {{.Driver}}").stdout.splitlines()
    assert {"bridge bridge", "host host", "none null"} <= set(names)
    cid = daemon.docker("run", "-d", "busybox", "sleep", "1000").stdout.strip()
    value = json.loads(daemon.docker("network", "inspect", "bridge").stdout)[0]
    assert cid in value["Containers"]
    assert value["IPAM"]["Config"][0]["Subnet"] == daemon.subnet


def test_an_unknown_network(daemon: Daemon) -> None:
    done = daemon.docker("run", "--rm", "--network", "nowhere", "busybox", "true", check=False)
    assert done.returncode == 125
    assert "network nowhere not found" in done.stderr
