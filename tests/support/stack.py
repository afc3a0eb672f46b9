"""The images of a real project from Debian's packages: PostgreSQL, Redis, nginx and a Python web application's base.

They are the shipped recipes' (and the project's own), made together: one root with the packages of all, over it each image's own
files and configuration. So one run of mmdebstrap does, and its outcome is kept in .cache/images while the recipes stay the same.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from knarr.build.bootstrap import debian
from knarr.build.bootstrap.recipe import Recipe, read
from tests.support.daemons import REPOSITORY
from tests.support.images import digest, layer

PROJECT = REPOSITORY / "tests" / "clients" / "project"
RECIPES = (
    *(REPOSITORY / "recipes" / f"{name}.toml" for name in ("nginx", "postgres", "redis")),
    PROJECT / "web.toml",
)
CACHE = REPOSITORY / ".cache" / "images"


def archive() -> Path:
    """What `docker load` takes: all four. The first call may take a minute; calls side by side wait for one another."""
    texts = [path.read_bytes() for path in (*RECIPES, Path(__file__))]
    path = CACHE / f"stack-{hashlib.sha256(b''.join(texts)).hexdigest()[:16]}.tar"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for old in CACHE.glob("stack-*.tar"):
                old.unlink()
            with tempfile.TemporaryDirectory(dir=_room()) as work:
                _make([read(recipe) for recipe in RECIPES], Path(work), path)
    return path


def _room() -> Path:
    """Memory, where there is enough: dpkg writes every file to its disk one by one."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30 else CACHE


def _make(recipes: Sequence[Recipe], work: Path, target: Path) -> None:
    suite = recipes[0].base.partition(":")[2]
    debian.check(suite)
    where = debian.apt_sources(suite)
    moment = debian.release_moment(*where[0], work)
    root = work / "root.tar"
    packages = [package for recipe in recipes for package in recipe.packages]
    commands = ["rm -rf /usr/share/doc /usr/share/info /usr/share/locale /usr/share/man"]
    commands += [command for recipe in recipes for command in recipe.run]
    debian.make_root(suite, where, packages, commands, moment, root)
    part = target.with_suffix(".part")
    with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as tar:
        with root.open("rb") as file:
            base = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        tar.add(root, "root.tar")
        _add(tar, "manifest.json", json.dumps([_image(tar, each, base, moment) for each in recipes]).encode())
    part.replace(target)


def _image(tar: tarfile.TarFile, recipe: Recipe, base: str, moment: int) -> dict[str, object]:
    """Adds what is the image's own; its entry in manifest.json."""
    own = layer({file.path.lstrip("/"): file.text.encode() for file in recipe.files} or {"etc/image": b""})
    config = json.dumps(
        {
            "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
            "os": "linux",
            "created": datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "config": dict(recipe.config),
            "rootfs": {"type": "layers", "diff_ids": [base, digest(own)]},
            "history": [{"created_by": "packages"}, {"created_by": recipe.name}],
        }
    ).encode()
    name = recipe.name.partition(":")[0]
    _add(tar, f"{name}.tar", own)
    _add(tar, f"{name}.json", config)
    return {"Config": f"{name}.json", "RepoTags": [recipe.name], "Layers": ["root.tar", f"{name}.tar"]}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    print(archive())
