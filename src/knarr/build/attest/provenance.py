"""Where a result came from, as BuildKit tells it: SLSA's predicate v0.2, or v1 where that is asked for.

`captured` reads the graph: the images, repositories and files that went in, and the secrets and agents that were lent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from knarr.build.attest import purl
from knarr.build.attest.asked import Provenance
from knarr.build.attest.statement import Attestation
from knarr.build.attest.steps import Steps
from knarr.build.graph import Vertex
from knarr.build.operations import Exec, MountKind, Network, Source
from knarr.model.errors import Invalid
from knarr.model.moments import rfc3339
from knarr.model.platform import Platform
from knarr.model.reference import Reference

Json = dict[str, Any]
PREDICATES = {"v0.2": "https://slsa.dev/provenance/v0.2", "v1": "https://slsa.dev/provenance/v1"}
_BUILD_TYPE_02 = "https://mobyproject.org/buildkit@v1"
_BUILD_TYPE_1 = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_HOST_SPECIFIC = frozenset({"cgroup-parent", "image-resolve-mode", "platform", "cache-imports"})
_SHA256 = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What went in. `pinned`: the digests of sources by their identifiers, where they are known."""

    materials: tuple[Json, ...] = ()
    locals: tuple[str, ...] = ()
    secrets: tuple[tuple[str, bool], ...] = ()
    agents: tuple[tuple[str, bool], ...] = ()
    network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One result's making. `args` are the frontend's options; `started`, `finished` nanoseconds; `steps`, `source` and `layers`
    are only told in mode max: `source` is the Dockerfile's name and text, `lines` the lines of vertices by their digests.
    `repeatable`: what names the client's session is left out, so that the same build tells the same again."""

    args: Mapping[str, str]
    captured: Captured
    invocation: str
    started: int
    finished: int
    builder_platform: Platform
    steps: Steps
    repeatable: bool = False
    filename: str = ""
    source: bytes = b""
    lines: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    layers: Mapping[str, list[list[Json]]] = field(default_factory=dict)


def captured(vertices: Iterable[Vertex], pinned: Mapping[str, str], lent: Iterable[str]) -> Captured:
    """Of the vertices of a result; `lent` are further directories of the client that were read."""
    images: dict[str, Json] = {}
    others: dict[str, Json] = {}
    names = set(lent)
    secrets: dict[str, bool] = {}
    agents: dict[str, bool] = {}
    network = False
    for vertex in vertices:
        match vertex.operation:
            case Source(scheme="local") as source:
                names.add(source.location)
            case Source(scheme="docker-image" | "oci-layout") as source:
                found = _image(source, vertex.platform)
                images[found["uri"]] = found
            case Source() as source:
                found = _remote(source, pinned.get(source.identifier, ""))
                others[found["uri"]] = found
            case Exec() as run:
                network = network or run.network != Network.NONE
                for mount in run.mounts:
                    if mount.credential is not None:
                        kept = secrets if mount.kind is MountKind.SECRET else agents
                        kept[mount.credential.id] = mount.credential.optional
                secrets |= {each.id: each.optional for each in run.secrets}
    return Captured(
        materials=(
            *(images[uri] for uri in sorted(images)),
            *(others[uri] for uri in sorted(others)),
        ),
        locals=tuple(sorted(names)),
        secrets=tuple(sorted(secrets.items())),
        agents=tuple(sorted(agents.items())),
        network=network,
    )


def _image(source: Source, platform: Platform | None) -> Json:
    try:
        ref = Reference.parse(source.location)
    except Invalid:
        return {"uri": source.identifier}
    digest = ref.digest
    shown = ref._replace(digest=None) if ref.tag else ref
    kind = "oci" if source.scheme == "oci-layout" else "docker"
    uri = purl.image(shown, platform).replace("pkg:docker/", f"pkg:{kind}/", 1)
    return {"uri": uri} if digest is None else {"uri": uri, "digest": {digest.algorithm: digest.hex}}


def _remote(source: Source, pin: str) -> Json:
    if source.scheme == "git":
        uri = source.attribute("git.fullurl") or f"https://{source.location.partition('#')[0]}"
        _, _, rest = source.location.partition("#")
        ref = rest.partition(":")[0]
        uri = f"{uri}#{ref}" if ref else uri
    else:
        uri = source.identifier
    if not pin:
        return {"uri": uri}
    algorithm, _, value = pin.rpartition(":")
    return {"uri": uri, "digest": {algorithm or ("sha256" if len(pin) == _SHA256 else "sha1"): value}}


def attestation(made: Made, wish: Provenance) -> Attestation:
    """The predicate, ready for its subjects."""
    make = _v1 if wish.version == "v1" else _v02
    return Attestation(PREDICATES[wish.version], make(made, wish), "provenance.json")


def scrubbed(made: Made, wish: Provenance) -> tuple[Made, bool]:
    """Without what mode min leaves out; whether the request is still told whole."""
    if wish.mode != "min":
        return made, True
    kept = {name: value for name, value in made.args.items() if not name.startswith(("build-arg:", "label:"))}
    quiet = replace(made.captured, secrets=(), agents=())
    return replace(made, args=kept, captured=quiet), len(kept) == len(made.args)


def _arguments(made: Made) -> tuple[Json, Json, Json]:
    """Where the Dockerfile is, the options, and what the client said of its version control."""
    args = {
        name: value
        for name, value in sorted(made.args.items())
        if name not in _HOST_SPECIFIC
        and not name.startswith("attest:")
        and not (made.repeatable and name.startswith("local-sessionid:"))
    }
    vcs = {name.removeprefix("vcs:"): args.pop(name) for name in list(args) if name.startswith("vcs:")}
    place: Json = {}
    key = args.get("contextkey") or "context"
    context = args.pop(key, "")
    if context:
        place["uri"] = context
        digest = next(
            (each.get("digest") for each in made.captured.materials if each["uri"] == context), None
        )
        if digest:
            place["digest"] = digest
    filename = args.pop("filename", "")
    if filename:
        place["path"] = filename
    return place, args, {name: value for name, value in vcs.items() if value}


def _request(made: Made, args: Json) -> Json:
    request: Json = {"frontend": "dockerfile.v0"}
    if args:
        request["args"] = args
    for name, pairs in (("secrets", made.captured.secrets), ("ssh", made.captured.agents)):
        if pairs:
            request[name] = [{"id": each, "optional": True} if free else {"id": each} for each, free in pairs]
    if made.captured.locals:
        request["locals"] = [{"name": name} for name in made.captured.locals]
    return request


def _details(made: Made, vcs: Json) -> Json:
    """BuildKit's own part of the metadata."""
    found: Json = {}
    if vcs:
        found["vcs"] = vcs
    if made.source:
        found["source"] = {"locations": _locations(made), "infos": [_info(made)]}
    if made.layers:
        found["layers"] = {name: made.layers[name] for name in sorted(made.layers)}
    return found


def _locations(made: Made) -> Json:
    found: Json = {}
    for digest, number in sorted(made.steps.numbers.items(), key=lambda item: item[1]):
        if digest in made.lines:
            ranges = [{"start": {"line": line}, "end": {"line": line}} for line in made.lines[digest]]
            found[f"step{number}"] = {"locations": [{"ranges": ranges}]} if ranges else {}
    return found


def _info(made: Made) -> Json:
    from base64 import b64encode

    return {
        "filename": made.filename,
        "language": "Dockerfile",
        "data": b64encode(made.source).decode(),
    }


def _config(made: Made) -> Json | None:
    if not made.steps.definition:
        return None
    found: Json = {"llbDefinition": list(made.steps.definition)}
    return found if made.repeatable else {**found, "digestMapping": made.steps.mapping}


def _v02(made: Made, wish: Provenance) -> Json:
    made, whole = scrubbed(made, wish)
    place, args, vcs = _arguments(made)
    if "path" in place:
        place["entryPoint"] = place.pop("path")
    value: Json = {"builder": {"id": wish.builder}, "buildType": _BUILD_TYPE_02}
    if made.captured.materials:
        value["materials"] = list(made.captured.materials)
    value["invocation"] = {
        "configSource": place,
        "parameters": _request(made, args),
        "environment": {"platform": str(made.builder_platform)},
    }
    config = _config(made) if wish.mode == "max" else None
    if config is not None:
        value["buildConfig"] = config
    details = (
        _details(made, vcs) if wish.mode == "max" else _details(replace(made, source=b"", layers={}), vcs)
    )
    value["metadata"] = {
        "buildInvocationID": made.invocation,
        "buildStartedOn": rfc3339(made.started),
        "buildFinishedOn": rfc3339(made.finished),
        "completeness": {"parameters": whole, "environment": True, "materials": not made.captured.locals},
        "reproducible": wish.reproducible,
        "https://mobyproject.org/buildkit@v1#metadata": details,
    }
    if _hermetic(made.captured):
        value["metadata"]["https://mobyproject.org/buildkit@v1#hermetic"] = True
    return value


def _v1(made: Made, wish: Provenance) -> Json:
    made, whole = scrubbed(made, wish)
    place, args, vcs = _arguments(made)
    definition: Json = {"buildType": _BUILD_TYPE_1}
    if made.captured.materials:
        definition["resolvedDependencies"] = list(made.captured.materials)
    definition["externalParameters"] = {"configSource": place, "request": _request(made, args)}
    config = _config(made) if wish.mode == "max" else None
    internal: Json = {} if config is None else {"buildConfig": config}
    definition["internalParameters"] = {**internal, "builderPlatform": str(made.builder_platform)}
    details = (
        _details(made, vcs) if wish.mode == "max" else _details(replace(made, source=b"", layers={}), vcs)
    )
    metadata: Json = {
        "invocationId": made.invocation,
        "startedOn": rfc3339(made.started),
        "finishedOn": rfc3339(made.finished),
        "buildkit_metadata": details,
    }
    if _hermetic(made.captured):
        metadata["buildkit_hermetic"] = True
    metadata["buildkit_completeness"] = {
        "request": whole,
        "resolvedDependencies": not made.captured.locals,
    }
    if wish.reproducible:
        metadata["buildkit_reproducible"] = True
    return {
        "buildDefinition": definition,
        "runDetails": {"builder": {"id": wish.builder}, "metadata": metadata},
    }


def _hermetic(found: Captured) -> bool:
    return not found.locals and not found.network
