"""A software bill of materials: packages as an SPDX 2.3 document in JSON. The same packages give the same document."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from knarr.build.attest.packages import Package
from knarr.build.attest.statement import SPDX, Attestation
from knarr.model.moments import rfc3339

_NONE = "NOASSERTION"
_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*\Z")
_ROOT = "SPDXRef-DocumentRoot-Directory"


def attestation(packages: Sequence[Package], name: str, epoch: int, tool: str) -> Attestation:
    """Of a file system `name`, at the moment `epoch` (seconds)."""
    return Attestation(SPDX, document(packages, name, epoch, tool), "sbom.spdx.json")


def document(packages: Sequence[Package], name: str, epoch: int, tool: str) -> dict[str, Any]:
    """Identifiers and the namespace are made of the contents."""
    entries = [_entry(each) for each in packages]
    known = hashlib.sha256(repr((name, epoch, tool, list(packages))).encode()).hexdigest()
    root = {
        "name": name,
        "SPDXID": _ROOT,
        "downloadLocation": _NONE,
        "filesAnalyzed": False,
        "licenseConcluded": _NONE,
        "licenseDeclared": _NONE,
        "copyrightText": _NONE,
        "primaryPackagePurpose": "CONTAINER",
    }
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"https://knarr.invalid/spdx/{name}-{known[:32]}",
        "creationInfo": {
            "creators": ["Organization: knarr", f"Tool: {tool}"],
            "created": rfc3339(epoch * 10**9),
        },
        "packages": [*entries, root],
        "relationships": [
            _related("SPDXRef-DOCUMENT", "DESCRIBES", _ROOT),
            *(_related(_ROOT, "CONTAINS", entry["SPDXID"]) for entry in entries),
        ],
    }


def _entry(package: Package) -> dict[str, Any]:
    kind = package.purl.partition(":")[2].partition("/")[0]
    known = hashlib.sha256(repr(package).encode()).hexdigest()[:16]
    plain = re.sub(r"[^A-Za-z0-9.-]", "-", package.name)
    return {
        "name": package.name,
        "SPDXID": f"SPDXRef-Package-{kind}-{plain}-{known}",
        "versionInfo": package.version,
        "supplier": f"Person: {package.supplier}" if package.supplier else _NONE,
        "downloadLocation": _NONE,
        "filesAnalyzed": False,
        "sourceInfo": f"acquired package info from /{package.found}",
        "licenseConcluded": _NONE,
        "licenseDeclared": package.licence if _EXPRESSION.match(package.licence) else _NONE,
        "copyrightText": _NONE,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.purl,
            }
        ],
    }


def _related(one: str, how: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relatedSpdxElement": other, "relationshipType": how}
