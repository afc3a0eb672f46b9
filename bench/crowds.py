"""Many containers at a time, made and taken away again ten at a time."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bench import containers
from bench.client import Client
from bench.sides import Side

AT_ONCE = 10


@contextmanager
def created(side: Side, count: int) -> Iterator[list[str]]:
    """`count` containers that were never started, each with a name, labels, a port and a volume."""
    with _there(side, count, _described) as made:
        yield made


@contextmanager
def running(side: Side, count: int) -> Iterator[list[str]]:
    """`count` sleeping containers."""
    with _there(side, count, _sleeping) as made:
        yield made


def _described(client: Client, made: list[str]) -> None:
    labels = {f"com.example.label{number}": "x" * 20 for number in range(4)}
    body = {
        "Image": "busybox:latest",
        "Cmd": list(containers.SLEEP),
        "Labels": labels,
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": ""}]}, "Binds": ["/tmp:/host"]},
    }
    made.append(client.request("POST", "/containers/create", body)["Id"])


def _sleeping(client: Client, made: list[str]) -> None:
    container = containers.create(client, containers.SLEEP)
    made.append(container)
    containers.start(client, container)


@contextmanager
def _there(side: Side, count: int, make: Callable[[Client, list[str]], None]) -> Iterator[list[str]]:
    made: list[str] = []
    try:
        _each(side, make, [(made,)] * count)
        yield made
    finally:
        _each(side, containers.remove, [(container,) for container in made])


def _each(side: Side, work: Callable[..., None], arguments: list[tuple[object, ...]]) -> None:
    """Does it for all arguments, each time on a connection that is kept for the next."""
    clients = [Client(side.daemon.socket) for _ in range(AT_ONCE)]
    free = list(clients)

    def one(words: tuple[object, ...]) -> None:
        client = free.pop()
        try:
            work(client, *words)
        finally:
            free.append(client)

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(one, arguments))
    finally:
        for client in clients:
            client.close()
