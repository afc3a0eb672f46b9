"""The packages that a file system says it has: Debian's dpkg, Alpine's apk, and Python's installed distributions."""

import re
from collections.abc import Iterable, Iterator, Mapping
from email.parser import HeaderParser
from typing import NamedTuple

from knarr.build.attest import purl

WANTED = re.compile(
    r"(?:var/lib/dpkg/status(?:\.d/[^/]+)?|lib/apk/db/installed|usr/lib/apk/db/installed|(?:usr/lib|etc)/os-release"
    r"|.*\.dist-info/METADATA|.*\.egg-info/PKG-INFO|.*\.egg-info)\Z"
)
"""The paths of the files that are read."""
_GONE = frozenset({"deinstall", "purge"})


class Package(NamedTuple):
    """One installed package; `found` is the file that tells of it."""

    name: str
    version: str
    purl: str
    licence: str = ""
    supplier: str = ""
    found: str = ""


def packages(files: Mapping[str, bytes]) -> list[Package]:
    """Of the files by their paths, without a leading slash; each package once, sorted."""
    system = _system(files)
    found: set[Package] = set()
    for path, data in files.items():
        text = data.decode("utf-8", "replace")
        if path.startswith("var/lib/dpkg/"):
            found.update(_dpkg(text, path, system))
        elif path.endswith("apk/db/installed"):
            found.update(_apk(text, path, system))
        elif path.endswith(("/METADATA", "/PKG-INFO", ".egg-info")):
            found.update(_python(text, path))
    return sorted(found)


def _system(files: Mapping[str, bytes]) -> Mapping[str, str]:
    """os-release(5)"""
    text = files.get("etc/os-release") or files.get("usr/lib/os-release") or b""
    pairs = (line.partition("=") for line in text.decode("utf-8", "replace").splitlines())
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs if value}


def _distribution(system: Mapping[str, str]) -> str:
    number = system.get("VERSION_ID", "")
    return f"{system['ID']}-{number}" if "ID" in system and number else system.get("ID", "")


def _paragraphs(text: str) -> Iterator[Mapping[str, str]]:
    """deb822(5): fields, and paragraphs between empty lines. Continued lines are of no interest here."""
    for paragraph in re.split(r"\n[ \t]*\n", text):
        pairs = (
            line.partition(":") for line in paragraph.splitlines() if line[:1] not in ("", " ", "\t", "#")
        )
        fields = {name: value.strip() for name, _, value in pairs}
        if "Package" in fields:
            yield fields


def _dpkg(text: str, path: str, system: Mapping[str, str]) -> Iterable[Package]:
    for fields in _paragraphs(text):
        words = fields.get("Status", "install ok installed").split()
        if words[0] in _GONE or words[-1] != "installed" or not fields.get("Version"):
            continue
        source, _, version = fields.get("Source", "").partition(" ")
        qualifiers = {
            "arch": fields.get("Architecture", ""),
            "distro": _distribution(system),
            "upstream": f"{source}@{version.strip('()')}" if version else source,
        }
        name = fields["Package"]
        yield Package(
            name,
            fields["Version"],
            purl.package("deb", system.get("ID", "debian"), name, fields["Version"], qualifiers),
            supplier=fields.get("Maintainer", ""),
            found=path,
        )


def _apk(text: str, path: str, system: Mapping[str, str]) -> Iterable[Package]:
    for paragraph in text.split("\n\n"):
        fields = {line[0]: line[2:].strip() for line in paragraph.splitlines() if line[1:2] == ":"}
        if "P" not in fields or "V" not in fields:
            continue
        qualifiers = {
            "arch": fields.get("A", ""),
            "distro": _distribution(system),
            "upstream": fields["o"] if fields.get("o", fields["P"]) != fields["P"] else "",
        }
        yield Package(
            fields["P"],
            fields["V"],
            purl.package("apk", system.get("ID", "alpine"), fields["P"], fields["V"], qualifiers),
            licence=fields.get("L", ""),
            supplier=fields.get("m", ""),
            found=path,
        )


def _python(text: str, path: str) -> Iterable[Package]:
    fields = HeaderParser().parsestr(text)
    name, version = fields.get("Name", ""), fields.get("Version", "")
    if name and version:
        plain = re.sub(r"[-_.]+", "-", name).lower()
        licence = fields.get("License-Expression") or ""
        yield Package(
            name, version, purl.package("pypi", "", plain, version, {}), licence=licence, found=path
        )
