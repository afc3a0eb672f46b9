"""Single flags' values, ssh's words, and names in their order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.api.client import ssh
from knarr.cli import containervalues as values
from knarr.cli.mountflags import fields, mount
from knarr.cli.networkflags import attachment
from knarr.cli.table import Row, columns
from knarr.cli.template import HeaderOf, Template
from knarr.cli.volumes import _natural


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a=1,b", ["a=1", "b"]),
        ('type=volume,"volume-opt=o=a,b",dst=/x', ["type=volume", "volume-opt=o=a,b", "dst=/x"]),
        ('"say ""hi""",x', ['say "hi"', "x"]),
        ("", [""]),
    ],
)
def test_fields(text: str, wanted: list[str]) -> None:
    assert fields(text) == wanted


@given(st.text(max_size=30))
def test_any_mount_is_read_or_refused(text: str) -> None:
    for parse in (mount, attachment, values.gpus, values.ulimit, values.weight, values.bytes_rate):
        try:
            parse(text)
        except ValueError:
            pass


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("all", {"Count": -1}),
        ("2", {"Count": 2}),
        ("driver=nvidia,count=1", {"Driver": "nvidia", "Count": 1}),
        ('"device=0,1"', {"DeviceIDs": ["0", "1"]}),
        ("capabilities=compute", {"Count": 1, "Capabilities": [["compute", "gpu"]]}),
    ],
)
def test_gpus(word: str, wanted: dict[str, Any]) -> None:
    assert values.gpus(word) == {"Capabilities": [["gpu"]], "Options": {}, **wanted}


@pytest.mark.parametrize(
    ("word", "known"),
    [("nvidia.com/gpu=0", True), ("/dev/x=1", False), ("/dev/null:/x:r", False), ("vendor/class", False)],
)
def test_names_of_devices_that_vendors_describe(word: str, known: bool) -> None:
    assert values.is_cdi(word) is known


def test_a_network_in_full() -> None:
    word = "name=net,alias=a,alias=b,ip=10.0.0.9,ip6=fd00::9,link-local-ip=169.254.1.1,driver-opt=k=v,gw-priority=-3"
    name, endpoint = attachment(word)
    assert name == "net"
    assert endpoint == {
        "Aliases": ["a", "b"],
        "IPAMConfig": {"IPv4Address": "10.0.0.9", "IPv6Address": "fd00::9", "LinkLocalIPs": ["169.254.1.1"]},
        "DriverOpts": {"k": "v"},
        "GwPriority": -3,
    }


def test_ssh() -> None:
    words = ssh.arguments("ssh://me@[fd00::1]:2222/run/knarr.sock")
    assert words[:9] == ["ssh", "-o", "ConnectTimeout=30", "-T", "-l", "me", "-p", "2222", "--"]
    assert words[9] == "fd00::1"
    assert "knarr --host unix:///run/knarr.sock system dial-stdio" in words[10]
    assert ssh.arguments("ssh://box")[-2] == "box"
    for wrong in ("ssh://", "ssh://me:secret@box"):
        with pytest.raises(ValueError):
            ssh.arguments(wrong)


def test_numbers_in_names() -> None:
    names = ["v10", "v2", "a", "v1b", "v1"]
    assert sorted(names, key=_natural) == ["a", "v1", "v1b", "v2", "v10"]


def test_rows_in_json_are_escaped_as_in_go() -> None:
    assert Row({"b": "<none>", "a": "é&", "Label": len}).json() == '{"a":"é\\u0026","b":"\\u003cnone\\u003e"}'


def test_titles_of_columns() -> None:
    template = Template('{{upper .Name}}\t{{.Label "com.example.my-role"}}\t{{truncate .ID 3}}')
    assert (
        template.render(HeaderOf({"Name": "NAMES", "ID": "CONTAINER ID"})) == "NAMES\tmy role\tCONTAINER ID"
    )


def test_a_cell_at_the_end_is_not_filled() -> None:
    assert columns([["A", "B"], ["1", ""]]) == "A         B\n1         \n"
