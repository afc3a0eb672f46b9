"""in-toto statements: a predicate, and the files or images that it is about."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

PAYLOAD = "application/vnd.in-toto+json"
PREDICATE = "in-toto.io/predicate-type"
SPDX = "https://spdx.dev/Document"
_TYPE = "https://in-toto.io/Statement/v0.1"


class Subject(NamedTuple):
    """What a statement is about: its name, and its digests by algorithm."""

    name: str
    digest: Mapping[str, str]


class Attestation(NamedTuple):
    """A predicate without subjects; `path` is the name of the file that it is where results are files."""

    predicate_type: str
    predicate: Mapping[str, Any]
    path: str


def statement(attestation: Attestation, subjects: Sequence[Subject], *, indented: bool = False) -> bytes:
    """The document."""
    value = {
        "_type": _TYPE,
        "predicateType": attestation.predicate_type,
        "subject": [{"name": each.name, "digest": dict(each.digest)} for each in subjects],
        "predicate": attestation.predicate,
    }
    if indented:
        return json.dumps(value, indent=2, ensure_ascii=False).encode()
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
