"""Base images without a registry: from a distribution's own packages, the same bytes each time.

`bootstrap("debian:bookworm", archive)`, `bootstrap("busybox", archive)`, `bootstrap("nginx", archive)` (a recipe that is
shipped) or `bootstrap("my/recipe.toml", archive)` writes an archive that is docker's and an OCI layout at once. Blocking; Debian needs root and mmdebstrap, busybox busybox-static.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import knarr
from knarr.build.bootstrap import archive as archives
from knarr.build.bootstrap import busybox, debian
from knarr.build.bootstrap.archive import Layer
from knarr.build.bootstrap.difference import difference
from knarr.build.bootstrap.recipe import PATH, Recipe, read
from knarr.model.digest import Digest
from knarr.model.errors import Invalid
from knarr.model.platform import Platform

Report = Callable[[str], None]


class Bootstrapped(NamedTuple):
    """The name that the archive gives its image, the image's id and its manifest's digest."""

    reference: str
    image: Digest
    manifest: Digest


def bootstrap(name: str, archive: Path, *, report: Report = lambda line: None) -> Bootstrapped:
    """Makes `name` and writes it to `archive`; `report` gets a line for each step. Raises Invalid, Denied, Unavailable."""
    recipe = parse(name)
    with tempfile.TemporaryDirectory(prefix="knarr-bootstrap-", dir=archive.absolute().parent) as directory:
        work = Path(directory)
        layers, moment = _layers(recipe, work, report)
        report(f"Writing {recipe.name}")
        written = archives.write(
            work / "archive.tar",
            recipe.name,
            layers,
            dict(recipe.config),
            Platform.of_machine(os.uname().machine),
            moment,
        )
        (work / "archive.tar").replace(archive)
    return Bootstrapped(recipe.name, written.image, written.manifest)


def parse(name: str) -> Recipe:
    """`debian:SUITE`, `debian` for this machine's own suite, `busybox`, a shipped recipe's name, or the path of a recipe.

    Raises Invalid.
    """
    kind, _, tag = name.partition(":")
    if kind == "busybox":
        return Recipe(f"busybox:{tag or 'latest'}", "busybox", config={"Env": [PATH], "Cmd": ["sh"]})
    if kind == "debian":
        suite = tag or debian.own_codename() or "stable"
        return Recipe(f"debian:{suite}", f"debian:{suite}", config={"Env": [PATH], "Cmd": ["bash"]})
    path = Path(name) if name.endswith(".toml") else _shipped(name)
    if path is None:
        raise Invalid(
            f"cannot bootstrap {name}: it is not debian:SUITE, busybox, or the name or path of a recipe"
        )
    recipe = read(path)
    if not recipe.base.startswith("debian:"):
        raise Invalid(f"recipe {path}: it must be from debian:SUITE, not {recipe.base}")
    return recipe


def _shipped(name: str) -> Path | None:
    """The recipe of this name in the package, or in the repository that it runs from."""
    if not name.isalnum():
        return None
    package = Path(knarr.__file__).resolve().parent
    places = (package / "recipes", package.parent.parent / "recipes")
    return next((path for place in places if (path := place / f"{name}.toml").is_file()), None)


def _layers(recipe: Recipe, work: Path, report: Report) -> tuple[list[Layer], int]:
    base = work / "base.tar"
    if recipe.base == "busybox":
        report("Packing busybox")
        moment = busybox.make_root(base)
        return [archives.compress(base, work / "base.gz", "knarr bootstrap busybox")], moment
    suite = recipe.base.partition(":")[2]
    debian.check(suite)
    where = debian.apt_sources(suite)
    moment = debian.release_moment(*where[0], work)
    report(f"Making {recipe.base} from {where[0][0]}")
    debian.make_root(suite, where, (), (), moment, base)
    layers = [archives.compress(base, work / "base.gz", f"knarr bootstrap {recipe.base}")]
    if recipe.packages or recipe.run or recipe.files:
        report(f"Installing {' '.join(recipe.packages) or 'nothing'}")
        full, own = work / "full.tar", work / "own.tar"
        debian.make_root(suite, where, recipe.packages, recipe.run, moment, full)
        difference(base, full, recipe.files, moment, own)
        made_by = f"knarr bootstrap {recipe.name}: apt-get install {' '.join(recipe.packages)}"
        layers.append(archives.compress(own, work / "own.gz", made_by))
    return layers, moment
