"""/etc files, filters, signals, event matching, the order for the log."""

import pytest

from knarr.engine import filters, hostfiles, signals
from knarr.engine.archive import archive_name
from knarr.engine.errors import AmbiguousId, NameTaken, NoSuchContainer
from knarr.engine.events import matches
from knarr.engine.live import Live, Roster
from knarr.engine.record import Extra, Row, decode_row, encode
from knarr.model.container import ContainerSpec, ContainerState, Status
from knarr.model.errors import Invalid
from knarr.model.system import Event

SPEC = ContainerSpec(image="x", hostname="box", extra_hosts=("a:1.2.3.4", "gw:host-gateway", "six:[::2]"))


def test_hosts() -> None:
    lines = hostfiles.hosts(SPEC, ["10.0.0.2"], ["10.0.0.1"]).splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-4:] == ["1.2.3.4\ta", "10.0.0.1\tgw", "::2\tsix", "10.0.0.2\tbox"]


def test_resolv_conf_without_loopback_servers() -> None:
    host = "nameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch corp\noptions edns0\n"
    text = hostfiles.resolv_conf(host, SPEC, hostfiles.Resolver(), private=True)
    assert text == "nameserver 10.0.0.1\nsearch corp\noptions edns0\n"
    none_left = hostfiles.resolv_conf("nameserver 127.0.0.1\n", SPEC, hostfiles.Resolver(), private=True)
    assert none_left.startswith("nameserver 8.8.8.8\n")


def test_resolv_conf_as_asked() -> None:
    spec = ContainerSpec(image="x", dns=("9.9.9.9",), dns_search=(".",), dns_options=("ndots:1",))
    text = hostfiles.resolv_conf("nameserver 1.1.1.1\nsearch a\n", spec, hostfiles.Resolver(), private=True)
    assert text == "nameserver 9.9.9.9\noptions ndots:1\n"


@pytest.mark.parametrize(
    ("text", "number"), [("9", 9), ("KILL", 9), ("sigterm", 15), ("SIGRTMIN+3", 37), ("RTMAX-1", 63)]
)
def test_signals(text: str, number: int) -> None:
    assert signals.number(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "FOO", "-1", "SIG"])
def test_bad_signals(text: str) -> None:
    with pytest.raises(Invalid):
        signals.number(text)


def test_filters() -> None:
    present = {"a": "1", "b": ""}
    assert filters.labels({"label": ["a", "b"]}, present)
    assert not filters.labels({"label": ["a=2"]}, present)
    assert not filters.not_labels({"label!": ["a"]}, present)
    assert filters.names({"name": ["^we"]}, ["web"])
    assert not filters.names({"name": ["^eb"]}, ["web"])
    assert filters.boolean({"dangling": ["true"]}, "dangling") is True
    with pytest.raises(Invalid):
        filters.boolean({"dangling": ["maybe"]}, "dangling")
    with pytest.raises(Invalid, match="invalid filter 'foo'"):
        filters.check({"foo": []}, {"bar"})


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1.5", 1_500_000_000),
        ("10", 10_000_000_000),
        ("1970-01-01T00:00:02Z", 2_000_000_000),
        ("1970-01-01T00:00:02", 2_000_000_000),
        ("1970-01-02", 86_400_000_000_000),
        ("1h30m", 100_000_000_000_000 - 5_400_000_000_000),
    ],
)
def test_moments(text: str, moment: int) -> None:
    assert filters.moment(text, 100_000_000_000_000) == moment


def test_event_filters() -> None:
    event = Event(
        type="container",
        action="exec_start: ls",
        id="abc",
        at=1,
        attributes={"name": "web", "image": "nginx:1", "l": "v"},
    )
    for wanted in (
        {"type": ("container",)},
        {"container": ("web",)},
        {"container": ("ab",)},
        {"event": ("exec_start",)},
        {"image": ("nginx",)},
        {"label": ("l=v",)},
        {},
    ):
        assert matches(event, wanted)
    for wanted in (
        {"type": ("image",)},
        {"container": ("other",)},
        {"event": ("die",)},
        {"network": ("web",)},
    ):
        assert not matches(event, wanted)


@pytest.mark.parametrize(("path", "name"), [("/a/b", "b"), ("/a/b/", "b"), ("/a/b/.", "."), ("/", ".")])
def test_archive_names(path: str, name: str) -> None:
    assert archive_name(path) == name


def row(container_id: str, name: str) -> Row:
    return Row(
        id=container_id,
        name=name,
        created=1,
        image="sha256:0",
        spec=ContainerSpec(image="x"),
        state=ContainerState(status=Status.CREATED),
        extra=Extra(path="/x", args=(), chain=()),
    )


def test_rows_are_read_back() -> None:
    made = row("a1", "one")
    columns = (
        made.id,
        made.name,
        made.created,
        made.image,
        encode(made.spec),
        encode(made.state),
        encode(made.extra),
    )
    assert decode_row(columns) == made


async def test_roster() -> None:
    roster = Roster()
    roster.add(Live(row("aa11", "one")))
    roster.add(Live(row("aa22", "two")))
    assert roster.find("aa1").name == "one"
    assert roster.find("/two").id == "aa22"
    with pytest.raises(AmbiguousId):
        roster.find("aa")
    with pytest.raises(NoSuchContainer, match="No such container: bb"):
        roster.find("bb")
    with pytest.raises(NameTaken, match=r'The container name "/two" is already in use by container "aa22"'):
        roster.reserve("two", "bb")
    roster.discard(roster.find("two"))
    roster.reserve("two", "bb")
    assert roster.find("aa").name == "one"
