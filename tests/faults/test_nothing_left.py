"""Two hundred containers come and go, twenty at a time; then the host and the state are as before, kind by kind."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from bench.client import Client

from tests.support import host
from tests.support.daemons import Knarrd
from tests.support.remains import KINDS, remains

COUNT, AT_ONCE = 200, 20


@pytest.mark.timeout(400)
def test_two_hundred_containers_leave_nothing(daemon: Knarrd) -> None:
    links = host.links()
    made = start_many(daemon, COUNT)
    there = remains(daemon)
    seen = set(KINDS) - {"mounts"}
    assert set(there) == seen, "the test must see what it says is gone afterwards"
    assert {kind: len(there[kind]) >= COUNT for kind in seen} == dict.fromkeys(seen, True)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda container: ask(daemon, "DELETE", f"/containers/{container}?force=1&v=1"), made))
    host.settle(lambda: remains(daemon))
    left = remains(daemon)
    for kind in KINDS:
        assert not left.get(kind), kind
    host.settle(lambda: host.links() - links - {daemon.bridge})

    addresses = {address(daemon, container) for container in start_many(daemon, 3)}
    assert len(addresses) == 3
    daemon.remove_containers()
    host.settle(lambda: remains(daemon))


def start_many(daemon: Knarrd, count: int) -> list[str]:
    """Containers with a published port and a volume each."""
    body = {
        "Image": "busybox",
        "Cmd": ["sleep", "100000"],
        "Volumes": {"/data": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}},
    }

    def start(_: int) -> str:
        made: str = ask(daemon, "POST", "/containers/create", body)["Id"]
        ask(daemon, "POST", f"/containers/{made}/start")
        return made

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(start, range(count)))


def ask(daemon: Knarrd, method: str, target: str, body: object = None) -> dict[str, str]:
    """One request on its own connection."""
    with Client(daemon.socket) as client:
        answer: dict[str, str] = client.request(method, target, body)
        return answer


def address(daemon: Knarrd, container: str) -> str:
    """Its IPv4 address."""
    text = daemon.docker("inspect", "-f", "{{json .NetworkSettings.Networks.bridge.IPAddress}}", container)
    found: str = json.loads(text.stdout)
    return found
