"""What a configuration must not ask for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.errors import Invalid
from knarr.runtime.plan_checks import (
    check_bundle,
    check_devices,
    check_hooks,
    check_version,
    numbers,
    sysctls,
)
from knarr.runtime.plan_steps import Space

ALL = Space(("mount", "pid", "network", "ipc", "uts", "cgroup", "user"), ())
NONE = Space((), ())


@pytest.mark.parametrize("version", ["1.0.0", "1.2.1+dev", "1.3.0-rc.1", "1.0.2-dev+x-y"])
def test_versions(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["", None, "1.0", "v1.0.0", "2.0.0", "0.6.0", "1.x.0", 1])
def test_versions_that_are_not_ours(version: Any) -> None:
    with pytest.raises(Invalid, match="ociVersion"):
        check_version(version)


@pytest.mark.parametrize(
    "bundle", [[], {}, {"ociVersion": "1.0.0", "process": []}, {"ociVersion": "1.0.0", "mounts": 3}]
)
def test_bundles_of_another_shape(bundle: Any) -> None:
    if isinstance(bundle, dict) and bundle.get("process") == []:
        check_bundle(bundle)  # an empty one says nothing
        return
    with pytest.raises(Invalid):
        check_bundle(bundle)


def test_a_bundle_with_fields_of_the_future() -> None:
    check_bundle({"ociVersion": "1.9.0", "moon": [], "linux": {"moon": 1}, "root": None})


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.conf.eth0.forwarding", "net/ipv4/conf/eth0/forwarding"),
        ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("kernel.shmmax", "kernel/shmmax"),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
        ("user.max_user_namespaces", "user/max_user_namespaces"),
    ],
)
def test_both_spellings_of_a_sysctl(name: str, path: str) -> None:
    assert [found[1:] for found in sysctls({name: 1}, ALL)] == [(path, "1")]
    with pytest.raises(Invalid):
        list(sysctls({name: 1}, NONE))


@given(st.text(alphabet="abk./", max_size=20))
def test_a_sysctl_never_leaves_its_directory(name: str) -> None:
    try:
        found = list(sysctls({f"net.{name}": 1, f"net/{name}": 1}, ALL))
    except Invalid:
        return
    for _, path, _ in found:
        assert path.startswith("net/")
        assert not {"", ".", ".."} & set(path.split("/"))


@given(st.sets(st.integers(0, 300)))
def test_lists_of_numbers(wanted: set[int]) -> None:
    assert numbers(",".join(map(str, wanted)), "cpus") == tuple(sorted(wanted))


@pytest.mark.parametrize(
    ("text", "found"),
    [("", ()), ("0-3,7", (0, 1, 2, 3, 7)), (" 1 , 2,", (1, 2)), ("3-3", (3,)), ("5,0-1", (0, 1, 5))],
)
def test_ranges(text: str, found: tuple[int, ...]) -> None:
    assert numbers(text, "cpus") == found


@pytest.mark.parametrize("text", ["a", "3-1", "-1", "1-", "70000", "1-99999999999", "0x3", ",", "²"])
def test_lists_that_are_none(text: str) -> None:
    with pytest.raises(Invalid, match="cpus: "):
        numbers(text, "cpus")


@pytest.mark.parametrize("name", ["", "a" * 16, "a/b", "a:b", ".", "..", "a b"])
def test_names_that_no_device_has(name: str) -> None:
    with pytest.raises(Invalid, match="invalid network device name"):
        check_devices({"eth0": {"name": name}} if name else {"": {}}, ALL)


def test_devices_need_a_network() -> None:
    check_devices({"eth0": {"name": "eth%d"}, "eth1": {}}, ALL)
    with pytest.raises(Invalid, match="without a NET namespace"):
        check_devices({"eth0": {}}, NONE)


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ({}, "createRuntime hook #0: path must be absolute: None"),
        ({"path": "x"}, "path must be absolute: 'x'"),
        ({"path": "/x", "timeout": -1}, "timeout must be greater than zero: -1"),
        ({"path": "/x", "timeout": "1"}, "timeout must be greater than zero: '1'"),
    ],
)
def test_hooks(hook: dict[str, Any], words: str) -> None:
    check_hooks({"createRuntime": [{"path": "/x", "timeout": 3}], "unheardOf": [{}]})
    with pytest.raises(Invalid, match=words):
        check_hooks({"createRuntime": [hook]})
