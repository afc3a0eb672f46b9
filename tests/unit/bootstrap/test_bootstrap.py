"""Recipes, sources, the difference of two roots, and archives: the same input gives the same bytes."""

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from knarr.build.bootstrap import archive, busybox, debian
from knarr.build.bootstrap.bootstrap import bootstrap, parse
from knarr.build.bootstrap.difference import difference
from knarr.build.bootstrap.recipe import File, read
from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.platform import Platform

NGINX = Path(__file__).resolve().parents[3] / "recipes" / "nginx.toml"
TARGETS = """\
http://mirror.example/debian/|bookworm|main
http://mirror.example/debian/|bookworm|contrib
http://mirror.example/debian/|bookworm-updates|main
http://mirror.example/debian-security/|bookworm-security|main
http://other.example/tool/|bookworm|main
"""
needs_busybox = pytest.mark.skipif(
    not busybox.PROGRAM.exists() or shutil.which("busybox") is None, reason="needs busybox-static"
)


def test_the_nginx_recipe_is_like_the_hubs_image() -> None:
    recipe = read(NGINX)
    assert (recipe.name, recipe.base, recipe.packages) == ("nginx:latest", "debian:bookworm", ("nginx",))
    assert recipe.config["Cmd"] == ["nginx", "-g", "daemon off;"]
    assert recipe.config["Entrypoint"] == ["/docker-entrypoint.sh"]
    assert recipe.config["ExposedPorts"] == {"80/tcp": {}}
    assert recipe.config["StopSignal"] == "SIGQUIT"
    (file,) = recipe.files
    assert (file.path, file.mode) == ("/docker-entrypoint.sh", 0o755)
    assert file.text.startswith("#!/bin/sh\n")
    for stream, log in (("stdout", "access"), ("stderr", "error")):
        assert f"ln -sf /dev/{stream} /var/log/nginx/{log}.log" in recipe.run


def test_names() -> None:
    assert parse("debian:trixie").name == "debian:trixie"
    assert parse("busybox").name == "busybox:latest"
    for name in ("nginx", "postgres", "redis"):
        assert parse(str(NGINX.with_name(f"{name}.toml"))) == parse(name)
        assert parse(name).name == f"{name}:latest"
    for name in ("fedora", "", "../recipes/nginx", "ghost.toml", "debian-x:1"):
        with pytest.raises(Invalid):
            parse(name)


@pytest.mark.parametrize("suite", ["UPPER", "../x", "a b", "", "-x"])
def test_a_bad_suite(suite: str) -> None:
    with pytest.raises(Invalid):
        debian.check(suite)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name = 'x'",
        "name = 'x'\nfrom = 'debian:sid'\nghost = 1",
        "name = 'X'\nfrom = 'debian:sid'",
        "name = 'x'\nfrom = 'debian:sid'\npackages = 'nginx'",
        "name = 'x'\nfrom = 'debian:sid'\n[config]\nghost = 1",
        "name = 'x'\nfrom = 'debian:sid'\n[[files]]\npath = '/x'",
        "not toml",
    ],
)
def test_a_bad_recipe(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(Invalid):
        read(tmp_path / "bad.toml")


def test_sources_are_apts_own_for_any_suite() -> None:
    main, security = "http://mirror.example/debian", "http://mirror.example/debian-security"
    assert debian.sources("trixie", TARGETS, "bookworm") == [
        (main, "trixie"),
        (main, "trixie-updates"),
        (security, "trixie-security"),
    ]
    assert debian.sources("sid", TARGETS, "bookworm") == [(main, "sid")]
    for targets, own in (("", "bookworm"), (TARGETS, ""), (TARGETS, "noble")):
        assert debian.sources("bookworm", targets, own) == [(debian.PUBLIC, "bookworm")]


def root(path: Path, files: dict[str, bytes | None], links: dict[str, str] | None = None) -> Path:
    """None is a directory."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.mtime = 1.5 if name.endswith("pax") else 1
            if data is None:
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            else:
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(f"./{name}")
            link.type, link.linkname, link.mtime = tarfile.LNKTYPE, f"./{target}", 1
            tar.addfile(link)
    return path


def test_the_difference_stands_by_itself(tmp_path: Path) -> None:
    same = {"": None, "a": None, "a/same": b"1", "a/linked": b"5"}
    base = root(
        tmp_path / "base",
        {**same, "a/changed": b"2", "a/gone": b"3", "b": None, "b/gone": None, "b/gone/x": b"4", "z": None},
    )
    full = root(
        tmp_path / "full",
        {**same, "a/changed": b"x", "b": None, "b/new.pax": b"y", "c": None, "c/d": None, "z": None},
        {"c/link": "a/linked"},
    )
    files = [File("/own", "text", 0o755), File("/c/mine", "m")]
    difference(base, full, files, 77, tmp_path / "layer")
    with tarfile.open(tmp_path / "layer") as tar:
        found = {member.name.removeprefix("./"): member for member in tar}
        assert sorted(found) == sorted(
            [
                "a",
                "a/changed",
                "a/linked",
                "b",
                "b/new.pax",
                "c",
                "c/d",
                "c/link",
                "a/.wh.gone",
                "b/.wh.gone",
                "own",
                "c/mine",
            ]
        )
        assert (found["own"].mode, found["own"].mtime) == (0o755, 77)
        assert found["b/new.pax"].mtime == 1.5
        assert found["c/link"].islnk()
        content = tar.extractfile("./a/changed")
        assert content is not None
        assert content.read() == b"x"
    difference(base, full, files, 77, tmp_path / "again")
    assert (tmp_path / "layer").read_bytes() == (tmp_path / "again").read_bytes()


def test_an_archive_is_dockers_and_a_layout(tmp_path: Path) -> None:
    layer = archive.compress(root(tmp_path / "tar", {"a": b"1" * 5_000_000}), tmp_path / "gz", "made")
    written = archive.write(
        tmp_path / "archive", "x", [layer], {"Cmd": ["sh"]}, Platform("linux", "amd64"), 86400
    )
    with tarfile.open(tmp_path / "archive") as tar:

        def content(name: str) -> bytes:
            file = tar.extractfile(name)
            assert file is not None
            return file.read()

        listed = json.loads(content("manifest.json"))[0]
        assert listed["RepoTags"] == ["x:latest"]
        for path in (listed["Config"], *listed["Layers"]):
            assert hashlib.sha256(content(path)).hexdigest() == path.rpartition("/")[2]
        config = json.loads(content(listed["Config"]))
        assert config["created"] == "1970-01-02T00:00:00Z"
        assert config["rootfs"]["diff_ids"] == [str(Digest.of((tmp_path / "tar").read_bytes()))]
        entry = json.loads(content("index.json"))["manifests"][0]
        assert entry["digest"] == str(written.manifest)
        assert str(written.image).endswith(listed["Config"].rpartition("/")[2])


@needs_busybox
def test_busybox_twice_is_the_same(tmp_path: Path) -> None:
    said: list[str] = []
    first = bootstrap("busybox", tmp_path / "one.tar", report=said.append)
    assert bootstrap("busybox", tmp_path / "two.tar") == first
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert said == ["Packing busybox", "Writing busybox:latest"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.tar", "two.tar"]
