"""The house's laws that import-linter can't say: sizes, docstrings, purity, budgets, and what the README promises."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import knarr

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = REPOSITORY / "src" / "knarr"
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST = 600
PS_BUDGET = 90
BUILD_BUDGET = 125
SLOW = {"asyncio", "dataclasses", "logging", "google", "ssl", "subprocess", "tempfile", "inspect", "random"}
"""What `knarr build` starts without: asyncio alone takes longer than a build whose steps are all cached."""
WORLD = {"os", "socket", "asyncio", "time", "random"}
HEAVY = {"asyncio", "dataclasses", "sqlite3", "logging", "subprocess", "msgspec", "aiohttp"}
DAEMON_BUDGET = 300
LATE = {
    "bz2",
    "lzma",
    "dnslib",
    "google",
    "email",
    "tempfile",
    "zipfile",
    "tarfile",
    "unittest",
    "aiohttp",
}
"""What knarrd imports when it is first asked for it: all that it has loaded is in memory for as long as it runs."""
UNTOUCHED = "/run/knarr-nobody-listens-here.sock"


def name_of(path: Path) -> str:
    """Relative to the package, for messages."""
    return str(path.relative_to(SOURCE))


def pure() -> list[Path]:
    """model, wire, every spec and every plan, whose parts are plan_*.py."""
    return [
        path
        for path in MODULES
        if path.name.startswith("plan")
        or {"model", "wire", "spec"} & set(path.relative_to(SOURCE).parts[:-1])
    ]


def imported(path: Path) -> set[str]:
    """The first words of all modules that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def loaded(code: str) -> set[str]:
    """What a fresh interpreter has loaded after running `code`, beyond what it starts with."""
    script = f"import sys\nbefore = set(sys.modules)\n{code}\nimport json\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    argv = [sys.executable, "-I", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=name_of)
def test_a_package_is_a_docstring(path: Path) -> None:
    body = ast.parse(path.read_text()).body
    if path.parent == SOURCE:
        assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in body)
    else:
        assert len(body) == 1


def test_the_package_alone_loads_nothing() -> None:
    assert loaded("import knarr") - {"json"} <= loaded("pass") | {"knarr"}


def test_the_packages_names_exist() -> None:
    names = set(
        re.findall(r"^from \S+ import \w+ as (\w+)$", (SOURCE / "__init__.pyi").read_text(), re.MULTILINE)
    )
    assert {"Engine", "Container", "errors"} <= names
    assert names == set(knarr._NAMES)  # type: ignore[attr-defined]
    assert all(getattr(knarr, name) for name in names)
    with pytest.raises(AttributeError):
        _ = knarr.Nothing  # type: ignore[attr-defined]


def test_the_plugin_is_light_until_it_is_used() -> None:
    assert not any(
        name.startswith("knarr.") for name in loaded("import knarr.pytest_plugin") - {"knarr.pytest_plugin"}
    )


@pytest.mark.parametrize("path", pure(), ids=name_of)
def test_pure_modules_meet_no_world(path: Path) -> None:
    assert not imported(path) & WORLD


def test_the_pure_modules_are_the_ones_meant() -> None:
    names = {name_of(path) for path in pure()}
    assert {"model/digest.py", "wire/mux.py", "network/plan.py", "runtime/plan.py", "engine/plan.py"} <= names
    assert {"runtime/plan_mounts.py", "runtime/plan_process.py"} <= names
    assert any(name.startswith("api/spec/") for name in names)
    assert any(name.startswith("registry/spec/") for name in names)


def test_ps_loads_few_modules() -> None:
    code = f"""
from knarr.cli.main import run
sys.stderr = open("/dev/null", "w")
run(["-H", "unix://{UNTOUCHED}", "ps"])
"""
    modules = loaded(code)
    assert "knarr.api.client.http" in modules, "ps did not come as far as asking the daemon"
    assert len(modules) <= PS_BUDGET, sorted(modules)


def test_build_loads_few_modules() -> None:
    code = f"""
from knarr.cli.main import run
sys.stderr = open("/dev/null", "w")
run(["-H", "unix://{UNTOUCHED}", "build", "-t", "x", "/etc"])
"""
    modules = loaded(code)
    assert "knarr.build.client.calls" in modules, "build did not come as far as asking the daemon"
    assert not {name.partition(".")[0] for name in modules} & SLOW
    assert len(modules) <= BUILD_BUDGET, sorted(modules)


def test_the_daemon_loads_what_it_uses_daily() -> None:
    modules = loaded("import knarr.daemon")
    assert not {name.partition(".")[0] for name in modules} & LATE
    assert len([name for name in modules if name.startswith("knarr.")]) <= DAEMON_BUDGET


def test_the_zygote_is_light() -> None:
    assert not loaded("import knarr.zygote") & HEAVY


def test_grpc_below_its_loop_is_light() -> None:
    modules = loaded("import knarr.grpc.connection, knarr.grpc.services")
    assert not modules & (HEAVY | {"google.protobuf", "ssl", "socket", "urllib.parse"})


@pytest.mark.parametrize("room", ["runtime", "wire", "kernel"])
def test_rooms_of_the_zygote_are_light(room: str) -> None:
    names = [
        ".".join(("knarr", *path.relative_to(SOURCE).with_suffix("").parts))
        for path in (SOURCE / room).rglob("*.py")
        if path.name != "__init__.py"
    ]
    assert not loaded("\n".join(f"import {name}" for name in names)) & HEAVY


def test_the_readmes_commands_exist() -> None:
    commands = re.findall(r"^make ([a-z-]+)", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    assert commands[:2] == ["demo", "test"]
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert set(commands) <= set(targets)
