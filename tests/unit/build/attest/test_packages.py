"""Packages that files tell of, and the document that is made of them."""

from knarr.build.attest import spdx
from knarr.build.attest.packages import WANTED, packages

_DPKG = b"""Package: zlib1g
Status: install ok installed
Maintainer: A Person <person@example.org>
Architecture: amd64
Multi-Arch: same
Source: zlib
Version: 1:1.2.13.dfsg-1
Description: compression library
 with a line that is continued
 Package: not-this-one

Package: gone
Status: deinstall ok config-files
Version: 1

Package: base
Status: install ok installed
Architecture: all
Source: base-src (12.4)
Version: 12.4+deb12u1
"""
_APK = b"""C:Q1abc=
P:musl
V:1.2.4-r2
A:x86_64
L:MIT
o:musl
m:Somebody <some@example.org>

P:busybox-binsh
V:1.36.1-r5
A:x86_64
L:GPL-2.0-only
o:busybox
"""
_METADATA = b"Metadata-Version: 2.1\nName: Typing_Extensions\nVersion: 4.8.0\nLicense-Expression: PSF-2.0\n\nText\nName: no\n"
FILES = {
    "etc/os-release": b'NAME="Debian"\nID=debian\nVERSION_ID="12"\n',
    "var/lib/dpkg/status": _DPKG,
    "usr/lib/python3/dist-packages/typing_extensions-4.8.0.dist-info/METADATA": _METADATA,
}


def test_debian_and_python() -> None:
    found = {each.name: each for each in packages(FILES)}
    assert sorted(found) == ["Typing_Extensions", "base", "zlib1g"]
    assert found["zlib1g"].purl == (
        "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?arch=amd64&distro=debian-12&upstream=zlib"
    )
    assert found["base"].purl.endswith("&upstream=base-src%4012.4")
    assert found["base"].version == "12.4+deb12u1"
    assert found["Typing_Extensions"].purl == "pkg:pypi/typing-extensions@4.8.0"
    assert found["zlib1g"].supplier == "A Person <person@example.org>"


def test_distroless_and_alpine() -> None:
    found = packages(
        {"var/lib/dpkg/status.d/tzdata": b"Package: tzdata\nVersion: 2024a\n", "lib/apk/db/installed": _APK}
    )
    assert [each.name for each in found] == ["busybox-binsh", "musl", "tzdata"]
    assert found[0].purl == "pkg:apk/alpine/busybox-binsh@1.36.1-r5?arch=x86_64&upstream=busybox"
    assert found[1].licence == "MIT"


def test_what_is_damaged_is_passed_over() -> None:
    assert (
        packages({"var/lib/dpkg/status": b"\xff\xfe\n\n:\nPackage\n", "lib/apk/db/installed": b"P:\nx"}) == []
    )
    assert packages({"a.dist-info/METADATA": b"\x00"}) == []


def test_only_files_of_interest_are_read() -> None:
    assert WANTED.match("opt/app/lib/x-1.dist-info/METADATA")
    assert not WANTED.match("var/lib/dpkg/status-old")
    assert not WANTED.match("etc/passwd")


def test_the_same_packages_make_the_same_document() -> None:
    made = spdx.document(packages(FILES), "sbom", 1_700_000_000, "tool-1")
    again = spdx.document(packages(dict(reversed(FILES.items()))), "sbom", 1_700_000_000, "tool-1")
    assert made == again
    assert made["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    ids = [each["SPDXID"] for each in made["packages"]]
    assert len(set(ids)) == len(ids) == 4
    contained = [each for each in made["relationships"] if each["relationshipType"] == "CONTAINS"]
    assert sorted(each["relatedSpdxElement"] for each in contained) == sorted(ids[:-1])
    licences = {each["name"]: each["licenseDeclared"] for each in made["packages"]}
    assert licences["Typing_Extensions"] == "PSF-2.0"
    assert licences["zlib1g"] == "NOASSERTION"
