"""Which attestations a build was asked for: `attest:TYPE` of the frontend's options, and BUILDKIT_ATTEST_TYPE among the build arguments.

buildx asks for provenance by itself, with `inline-only=true`: nobody wished for it in a result, and then every build of the
same files would give another image. Such a one is only kept with the build's record.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field

from knarr.build.errors import BuildFailed

_OPTION = "attest:"
_ARGUMENT = "build-arg:BUILDKIT_ATTEST_"
_TYPES = ("sbom", "provenance")
_MODES = {"full": "max", "max": "max", "min": "min"}
_VERSIONS = ("v0.2", "v1")
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """`mode` min leaves arguments, secrets and steps out; `version` is SLSA's."""

    mode: str = "max"
    version: str = "v0.2"
    builder: str = ""
    reproducible: bool = False
    inline_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sbom:
    """`generator`: the image that scans; "" is the engine's own scanner. `parameters` are the generator's."""

    generator: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Both kinds; None where it was not asked for."""

    provenance: Provenance | None = None
    sbom: Sbom | None = None

    @property
    def in_results(self) -> bool:
        """Whether results have any."""
        return self.sbom is not None or (self.provenance is not None and not self.provenance.inline_only)


def asked(attributes: Mapping[str, str]) -> Asked:
    """Reads the frontend's options. Raises BuildFailed."""
    found: dict[str, str] = {}
    for prefix in (_OPTION, _ARGUMENT):
        found |= {
            name.removeprefix(prefix).lower(): value
            for name, value in attributes.items()
            if name.startswith(prefix)
        }
    for name in found:
        if name not in _TYPES:
            raise BuildFailed(f'unknown attestation type "{name}"')
    given = {name: _fields(name, value) for name, value in found.items()}
    given = {name: fields for name, fields in given.items() if not _flag(fields, "disabled")}
    return Asked(
        provenance=_provenance(given["provenance"]) if "provenance" in given else None,
        sbom=_sbom(given["sbom"]) if "sbom" in given else None,
    )


def _fields(name: str, text: str) -> dict[str, str]:
    """`a=b,c` as BuildKit splits it: one line of CSV."""
    try:
        (row,) = csv.reader([text], strict=True) if text else ([],)
    except (csv.Error, ValueError) as error:
        raise BuildFailed(f"failed to parse {name}: {error}") from error
    pairs = (each.partition("=") for each in row)
    return {key: value for key, _, value in pairs}


def _provenance(fields: Mapping[str, str]) -> Provenance:
    mode = _MODES.get(fields.get("mode", "max"))
    if mode is None:
        raise BuildFailed(f'invalid mode "{fields["mode"]}"')
    version = fields.get("version", _VERSIONS[0])
    if version not in _VERSIONS:
        raise BuildFailed(f"invalid provenance SLSA version: {version}")
    return Provenance(
        mode=mode,
        version=version,
        builder=fields.get("builder-id", ""),
        reproducible=_flag(fields, "reproducible"),
        inline_only=_flag(fields, "inline-only"),
    )


def _sbom(fields: Mapping[str, str]) -> Sbom:
    rest = {name: value for name, value in fields.items() if name not in ("generator", "disabled")}
    return Sbom(generator=fields.get("generator", ""), parameters=rest)


def _flag(fields: Mapping[str, str], name: str) -> bool:
    text = fields.get(name, "")
    if text and text not in (*_TRUE, *_FALSE):
        raise BuildFailed(f'failed to parse {name} flag "{text}"')
    return text in _TRUE
