"""Which platforms' programs run here."""

from pathlib import Path

import pytest

from knarr.engine.building.emulation import handled, runnable
from knarr.model.platform import Platform

AMD = Platform("linux", "amd64")
_HEAD = "enabled\ninterpreter /usr/libexec/qemu-binfmt/x\nflags: {flags}\noffset 0\nmagic {magic}\nmask ff\n"
MAGICS = {
    "arm64": "7f454c460201010000000000000000000200b700",
    "arm/v7": "7f454c4601010100000000000000000002002800",
    "s390x": "7f454c4602020100000000000000000000020016",
    "riscv64": "7f454c460201010000000000000000000200f300",
    "ppc64le": "7f454c4602010100000000000000000002001500",
}


@pytest.mark.parametrize(("name", "magic"), MAGICS.items())
def test_a_handler_is_of_a_platform(name: str, magic: str) -> None:
    assert Platform.parse(f"linux/{name}") in handled([_HEAD.format(flags="POCF", magic=magic)])


@pytest.mark.parametrize(
    "text",
    [
        _HEAD.format(flags="OC", magic=MAGICS["arm64"]),
        _HEAD.format(flags="F", magic=MAGICS["arm64"]).replace("enabled", "disabled"),
        _HEAD.format(flags="F", magic="7f454c46"),
        _HEAD.format(flags="F", magic="cafebabe00000000000000000000000000000000"),
        _HEAD.format(flags="F", magic="not hexadecimal"),
        "enabled\ninterpreter /usr/bin/python\nflags: F\nextension .pyc\n",
        "",
    ],
)
def test_what_is_no_handler_for_containers(text: str) -> None:
    assert handled([text]) == []


def test_this_machine_first(tmp_path: Path) -> None:
    for name in ("register", "status"):
        (tmp_path / name).write_text("enabled\n")
    (tmp_path / "qemu-aarch64").write_text(_HEAD.format(flags="F", magic=MAGICS["arm64"]))
    (tmp_path / "python").write_text("enabled\nflags: \n")
    found = [str(each) for each in runnable(AMD, str(tmp_path))]
    assert found == ["linux/amd64", "linux/386", "linux/arm64"]
    assert runnable(AMD, str(tmp_path / "missing")) == (AMD, Platform("linux", "386"))
