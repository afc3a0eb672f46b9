"""The options of local volumes, and the mount(2) that they mean."""

import pytest

from knarr.engine import localdriver
from knarr.kernel import mounts
from knarr.model.errors import Invalid


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"foo": "bar"}, 'invalid option: "foo"'),
        ({"size": "1m"}, "quota size requested but no quota support"),
        ({"size": "x"}, "invalid size"),
        ({"type": "tmpfs"}, 'missing required option: "device"'),
        ({"device": "/tmp"}, 'missing required option: "type"'),
        ({"o": "bind"}, 'missing required option: "device"'),
        ({"o": "bind", "device": "/tmp"}, 'missing required option: "type"'),
        ({"type": "cifs", "device": "//host:445/share"}, "port not allowed in CIFS device URL"),
    ],
)
def test_what_is_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(Invalid, match=words.replace("(", r"\(")):
        localdriver.check(options)


def test_what_is_whole() -> None:
    for options in ({}, {"size": "0"}, {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}):
        localdriver.check(options)


def test_flags_and_data() -> None:
    (call,) = localdriver.calls({"type": "tmpfs", "device": "tmpfs", "o": "size=1m,nosuid,uid=1000,rw"})
    assert call == ("tmpfs", "tmpfs", mounts.MS_NOSUID, "size=1m,uid=1000")
    assert call.told("/v", "no") == "tmpfs:/v, flags: 0x2, data: size=1m,uid=1000: no"


def test_a_bind_that_is_read_only_and_slave_takes_three_calls() -> None:
    made = localdriver.calls({"type": "none", "device": "/d", "o": "bind,ro,rslave"})
    flags = mounts.MS_BIND | mounts.MS_RDONLY | mounts.MS_REC
    assert [call.flags for call in made] == [
        flags,
        mounts.MS_SLAVE | mounts.MS_REC,
        flags | mounts.MS_REMOUNT,
    ]


def test_names_of_servers_become_addresses() -> None:
    def address(name: str) -> str:
        assert name == "files.example"
        return "10.9.9.9"

    nfs = {"type": "nfs", "device": ":/x", "o": "addr=files.example,rw"}
    assert localdriver.resolve(nfs, address)["o"] == "addr=10.9.9.9,rw"
    cifs = {"type": "cifs", "device": "//files.example/share", "o": "user=me"}
    assert localdriver.resolve(cifs, address)["device"] == "//10.9.9.9/share"
    for untouched in (
        {"type": "nfs", "device": ":/x", "o": "addr=10.1.1.1"},
        {"type": "tmpfs", "device": "tmpfs", "o": "addr=files"},
    ):
        assert localdriver.resolve(untouched, address) == untouched


def test_a_password_is_not_told() -> None:
    assert localdriver.without_password("data: password=s3,x", {"o": "password=s3,x"}) == (
        "data: password=********,x"
    )
