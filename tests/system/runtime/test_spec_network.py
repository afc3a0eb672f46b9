"""linux.netDevices: a link of the host moves, with its lasting addresses, and is up where it arrives."""

import json
import os
import socket
import subprocess
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from knarr.kernel.process import CLONE_NEWNET, unshare, waitid_pidfd
from knarr.runtime.acts_network import host_route, move_devices, net_device
from knarr.runtime.birth import bear
from knarr.runtime.plan_namespaces import Namespaces
from knarr.runtime.state import Walk

SIX = os.path.exists("/proc/net/if_inet6")


def ip(*words: str) -> Any:
    done = subprocess.run(["ip", "-json", *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout or "[]")


def in_child(job: Callable[[], Any]) -> Any:
    """What `job` returns, or the words of its failure, from a process that may change its network namespace."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = {"ok": job()}
        except BaseException as error:
            said = {"error": f"{type(error).__name__}: {error}"}
        os.write(writer, json.dumps(said).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = json.load(file)
    os.waitpid(pid, 0)
    if "error" in said:
        raise RuntimeError(said["error"])
    return said["ok"]


def moved(name: str, wish: str, *before: str) -> Any:
    """A veth `first` of a "host" moves into a new namespace; what is there then. `before` is run in the new one."""

    def job() -> Any:
        unshare(CLONE_NEWNET)
        ip("link", "add", "first", "type", "veth", "peer", "name", "second")
        ip("link", "set", "first", "mtu", "1432", "address", "02:00:00:00:00:77", "up")
        ip("address", "add", "10.7.0.5/24", "broadcast", "10.7.0.255", "dev", "first")
        ip("address", "add", "10.8.0.6/24", "dev", "first", "scope", "link")
        if SIX:
            ip("address", "add", "fd00:7::5/64", "dev", "first", "nodad")
        walk = Walk(socket.socketpair()[0], (-1, -1, -1))
        walk.host_route = host_route({"netDevices": {name: {}}})
        unshare(CLONE_NEWNET)
        if before:
            ip(*before)
        net_device(walk, name, wish)
        return ip("address")

    return in_child(job)


@pytest.mark.parametrize("wish", ["first", "eth9", "deck%d"])
def test_a_device_moves(wish: str) -> None:
    links = {link["ifname"]: link for link in moved("first", wish)}
    link = links[wish.replace("%d", "0")]
    assert "UP" in link["flags"]
    assert (link["mtu"], link["address"]) == (1432, "02:00:00:00:00:77")
    found = {
        (each["local"], each["prefixlen"], each.get("broadcast"))
        for each in link["addr_info"]
        if each["scope"] == "global"
    }
    wanted: set[Any] = {("10.7.0.5", 24, "10.7.0.255")}
    assert found == wanted | ({("fd00:7::5", 64, None)} if SIX else set())
    assert "10.8.0.6" not in {each["local"] for each in link["addr_info"]}


def test_a_device_moves_to_a_process_in_a_user_namespace() -> None:
    ids = ((0, 100_000, 65_536),)
    space = Namespaces(("mount", "network", "user"), (), ids, ids)

    def job() -> Any:
        unshare(CLONE_NEWNET)
        ip("link", "add", "first", "type", "veth", "peer", "name", "second")
        ip("address", "add", "10.7.0.5/24", "dev", "first")
        host = host_route({"netDevices": {"first": {}}})
        assert host is not None
        reader, writer = os.pipe()

        def life() -> NoReturn:
            os.dup2(writer, 1)
            os.execvp("ip", ["ip", "-json", "address", "show", "dev", "eth9"])

        def admit(pid: int, uid: int, gid: int) -> None:
            move_devices(host, pid, {"first": {"name": "eth9"}})

        _, pidfd = bear(space, life, admit=admit)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            said = json.load(file)
        waitid_pidfd(pidfd)
        return said

    (link,) = in_child(job)
    assert "UP" in link["flags"]
    assert [each["local"] for each in link["addr_info"] if each["family"] == "inet"] == ["10.7.0.5"]


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(RuntimeError, match="link not found for interface moon on runtime namespace"):
        moved("moon", "moon")


def test_a_name_that_is_taken() -> None:
    with pytest.raises(RuntimeError, match="File exists: 'fail to move network device to eth9'"):
        moved("first", "eth9", "link", "add", "eth9", "type", "veth", "peer", "name", "other")
