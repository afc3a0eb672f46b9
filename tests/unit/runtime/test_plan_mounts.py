"""Mount words and mounts: every word has a place, and what contradicts itself has an order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.errors import Invalid
from knarr.runtime.plan import Step
from knarr.runtime.plan_mounts import (
    ATTRIBUTES,
    EXTRAS,
    PROPAGATIONS,
    WORDS,
    Mounts,
    Options,
    check_place,
    parse_options,
)
from knarr.runtime.plan_steps import clean, split_namespaces

ATIMES = {"noatime", "relatime", "strictatime"}
OWN = split_namespaces([{"type": "mount"}])
DATA = st.from_regex(r"[a-z_]{1,8}=[a-z0-9]{1,4}", fullmatch=True).filter(lambda word: word not in WORDS)


def plan(*mounts: dict[str, Any], root: str = "/bundle/rootfs", **linux: Any) -> list[Step]:
    space = split_namespaces(linux.pop("namespaces", [{"type": "mount"}]))
    made = Mounts({"mounts": list(mounts), "linux": linux}, [["bind", root, ["rbind"]]], space)
    parts = (made.sources(), made.root(), made.mounts(), made.devices(), made.closing(), made.propagation())
    return [step for part in parts for step in part]


def of(steps: list[Step], act: str) -> list[tuple[Any, ...]]:
    return [step.arguments for step in steps if step.act == act]


@given(st.lists(st.sampled_from(WORDS) | DATA))
def test_every_word_goes_somewhere_and_nothing_contradicts_itself(words: list[str]) -> None:
    options = parse_options(words)
    assert not set(options.on) & set(options.off)
    assert not set(options.recursive) & set(options.recursive_off)
    assert len(ATIMES & set(options.on)) <= 1
    assert len(ATIMES & set(options.recursive)) <= 1
    assert set(options.on) | set(options.off) | set(options.recursive) | set(options.recursive_off) <= set(
        ATTRIBUTES
    )
    assert options.data == tuple(word for word in words if word not in WORDS)
    assert set(options.propagation) == set(words) & set(PROPAGATIONS)
    assert set(options.extras) == set(words) & set(EXTRAS)


@given(st.lists(st.sampled_from(WORDS)), st.lists(st.sampled_from(WORDS)))
def test_the_later_word_wins(before: list[str], after: list[str]) -> None:
    options = parse_options([*before, *after])
    later = parse_options(after)
    assert set(later.on) <= set(options.on)
    assert set(later.off) <= set(options.off)
    assert set(later.recursive) <= set(options.recursive)
    assert set(later.flags) <= set(options.flags)


@given(st.lists(st.sampled_from(WORDS)))
def test_sorting_what_is_sorted_changes_nothing(words: list[str]) -> None:
    options = parse_options(words)
    spelled = [*options.on, *(f"r{word}" for word in options.recursive), *options.flags, *options.propagation]
    again = parse_options(spelled)
    assert (again.on, again.recursive, again.flags) == (options.on, options.recursive, options.flags)


def test_every_word_of_the_specification_is_known() -> None:
    """config.md, "Linux mount options"."""
    words = [
        "async",
        "atime",
        "bind",
        "defaults",
        "dev",
        "diratime",
        "dirsync",
        "exec",
        "iversion",
        "lazytime",
        "loud",
        "mand",
        "noatime",
        "nodev",
        "nodiratime",
        "noexec",
        "noiversion",
        "nolazytime",
        "nomand",
        "norelatime",
        "nostrictatime",
        "nosuid",
        "nosymfollow",
        "private",
        "ratime",
        "rbind",
        "rdev",
        "rdiratime",
        "relatime",
        "remount",
        "rexec",
        "rnoatime",
        "rnodev",
        "rnodiratime",
        "rnoexec",
        "rnorelatime",
        "rnostrictatime",
        "rnosuid",
        "rnosymfollow",
        "ro",
        "rprivate",
        "rrelatime",
        "rro",
        "rrw",
        "rshared",
        "rslave",
        "rstrictatime",
        "rsuid",
        "rsymfollow",
        "runbindable",
        "rw",
        "shared",
        "silent",
        "slave",
        "strictatime",
        "suid",
        "symfollow",
        "sync",
        "tmpcopyup",
        "unbindable",
        "idmap",
        "ridmap",
    ]
    assert set(words) <= set(WORDS)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["ro", "rw"], Options(off=("ro",))),
        (["rw", "ro"], Options(on=("ro",))),
        (["noatime", "strictatime"], Options(on=("strictatime",))),
        (["noatime", "atime"], Options(off=("noatime",))),
        (["sync", "lazytime", "async"], Options(flags=("lazytime",))),
        (["rro", "rrw", "rnoexec"], Options(recursive=("noexec",), recursive_off=("ro",))),
        (["slave", "shared"], Options(propagation=("slave", "shared"))),
        (["size=1m,mode=700", "", "defaults", "loud"], Options(data=("size=1m", "mode=700"))),
        (["rbind", "tmpcopyup"], Options(extras=("rbind", "tmpcopyup"))),
    ],
)
def test_words(words: list[str], options: Options) -> None:
    assert parse_options(words) == options


@given(st.lists(st.sampled_from(["", ".", "..", "a", "b", "proc"])))
def test_a_clean_path_is_absolute_and_stays_clean(parts: list[str]) -> None:
    path = clean("/".join(parts))
    assert path.startswith("/")
    assert "//" not in path
    assert not {".", ".."} & set(path.split("/"))
    assert clean(path) == path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "tmpfs"),
        ("/proc", "tmpfs"),
        ("/proc", "sysfs"),
        ("/proc/sys", "bind"),
        ("/proc/sys/net", "proc"),
        ("/proc/self/attr", "bind"),
    ],
)
def test_places_that_nothing_may_take(path: str, kind: str) -> None:
    with pytest.raises(Invalid):
        check_place(path, kind)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/proc", "proc"),
        ("/proc", "bind"),
        ("/proc/uptime", "bind"),
        ("/process", "tmpfs"),
        ("/sys/fs/cgroup", "cgroup"),
        ("/x/proc/sys", "bind"),
    ],
)
def test_places_that_are_free(path: str, kind: str) -> None:
    check_place(path, kind)


def test_a_bind_takes_the_propagation_of_the_namespace() -> None:
    bind = {"destination": "/x", "type": "bind", "source": "/host"}
    (words,) = of(plan(bind), "bind")
    assert words[2].propagation == ("rslave",)
    (words,) = of(plan(bind, rootfsPropagation="rprivate"), "bind")
    assert words[2].propagation == ("rprivate",)
    (words,) = of(plan({**bind, "options": ["rbind", "shared"]}), "bind")
    assert words[2].propagation == ("shared",)


def test_sources_in_the_root_are_taken_in_their_turn() -> None:
    steps = plan(
        {"destination": "/a", "type": "bind", "source": "/host"},
        {"destination": "/b", "type": "bind", "source": "/bundle/rootfs/a"},
        {"destination": "/c", "type": "bind", "source": "/bundle/rootfs-other"},
        {"destination": "/bundle/rootfs/d", "type": "tmpfs"},
    )
    acts = ("take", "take-own", "isolate", "bind", "mount")
    order = [(step.act, step.arguments[0]) for step in steps if step.act in acts]
    assert order == [
        ("take", 0),
        ("take", 2),
        ("isolate", "rslave"),
        ("bind", 0),
        ("take-own", 1),
        ("bind", 1),
        ("bind", 2),
        ("mount", "/d"),
    ]
    assert of(steps, "take-own") == [(1, "/a", "/b", True)]


def test_the_roots_propagation() -> None:
    assert of(plan(), "isolate") == [("rslave",)]
    assert of(plan(rootfsPropagation="private"), "isolate") == [("rprivate",)]
    assert of(plan(rootfsPropagation="rslave"), "root")[0][3] is True
    assert of(plan(rootfsPropagation="shared"), "root")[0][3] is False
    assert of(plan(rootfsPropagation="rshared"), "root-propagation") == [("rshared",)]
    assert of(plan(rootfsPropagation="unbindable"), "root-propagation") == [("unbindable",)]
    assert of(plan(rootfsPropagation="slave"), "root-propagation") == []
    with pytest.raises(Invalid, match="rootfsPropagation=loud is not supported"):
        plan(rootfsPropagation="loud")


def test_a_container_in_the_hosts_mount_namespace() -> None:
    steps = plan(namespaces=[{"type": "uts"}])
    assert of(steps, "enter-root") == [("/bundle/rootfs",)]
    assert not {"isolate", "root", "take-root"} & {step.act for step in steps}
    with pytest.raises(Invalid, match="needs a mount namespace"):
        list(Mounts({}, [["overlay", "overlay", []]], split_namespaces([])).root())


def test_what_takes_files_first_is_closed_later() -> None:
    steps = plan(
        {"destination": "/dev", "type": "devtmpfs", "options": ["ro"]},
        {"destination": "/t", "type": "tmpfs", "options": ["ro", "nosuid"]},
        {"destination": "/s", "type": "sysfs", "options": ["ro"]},
        {"destination": "/b", "type": "bind", "source": "/x", "options": ["ro"]},
    )
    assert of(steps, "close-mount") == [("/dev",), ("/t",)]
    opened = {words[0]: words[3].on for words in of(steps, "mount")}
    assert opened == {"/dev": (), "/t": ("nosuid",), "/s": ("ro",)}


def test_remounts_are_no_new_mounts() -> None:
    steps = plan(
        {"destination": "/x", "type": "bind", "options": ["bind", "remount", "ro"]},
        {"destination": "/t", "type": "tmpfs", "options": ["remount", "size=1m"]},
        {"destination": "/u", "options": ["remount", "ro"]},
    )
    assert [words[:2] for words in of(steps, "remount")] == [("/x", "bind"), ("/t", "tmpfs"), ("/u", "")]
    assert not {"bind", "mount", "take"} & {step.act for step in steps}


def test_labels_are_for_file_systems_that_take_them() -> None:
    kinds = ("tmpfs", "proc", "sysfs", "mqueue", "ramfs")
    places = [{"destination": "/proc" if kind == "proc" else f"/{kind}", "type": kind} for kind in kinds]
    labels = {words[1]: words[4] for words in of(plan(*places, mountLabel="a:b:c"), "mount")}
    assert labels == {"tmpfs": "a:b:c", "proc": "", "sysfs": "", "mqueue": "", "ramfs": "a:b:c"}


def test_devices_in_a_user_namespace_are_the_hosts() -> None:
    steps = plan(
        namespaces=[{"type": "mount"}, {"type": "user"}],
        devices=[{"path": "/dev/fuse", "major": 10, "minor": 229}],
    )
    assert of(steps, "device") == []
    assert {words[0] for words in of(steps, "device-bind")} >= {"/dev/null", "/dev/tty", "/dev/fuse"}


@given(
    st.sampled_from("cbup"), st.integers(0, 255), st.integers(0, 1 << 19), st.none() | st.integers(0, 0o7777)
)
def test_nodes(kind: str, major: int, minor: int, mode: int | None) -> None:
    device = {"path": "/dev/x", "type": kind, "major": major, "minor": minor, "fileMode": mode}
    words = of(plan(devices=[device]), "device")[-1]
    wanted = 0o666 if mode is None else mode
    assert words == ("/dev/x", "c" if kind == "u" else kind, major, minor, wanted, 0, 0)
