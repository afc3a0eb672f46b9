"""A scanner image's own graph, by BuildKit's scanner protocol: the result is mounted to be read, and what lies in /run/out
afterwards are in-toto statements. The results' directory is a part of the scanner's root, so that it comes out with that."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from knarr.build import operations as ops
from knarr.build.attest.asked import Sbom
from knarr.build.attest.statement import Attestation
from knarr.build.errors import BuildFailed
from knarr.build.graph import About, Edge, vertex
from knarr.model.platform import Platform

OUT = "run/out"
_CORE = "sbom"


def graph(
    image: str,
    config: Mapping[str, Any],
    wish: Sbom,
    result: Edge | None,
    extras: Sequence[tuple[str, Edge | None]],
    here: Platform,
    shown: str,
) -> Edge:
    """Raises BuildFailed if the image has no command. `image` is resolved; `shown` names the platform that is scanned."""
    own = config.get("config") or {}
    args = [*(own.get("Entrypoint") or ()), *(own.get("Cmd") or ())]
    if not args:
        raise BuildFailed(f"scanner {image} does not have cmd")
    root = vertex(
        ops.Source(f"docker-image://{image}"), platform=here, about=About(f"[{shown}] FROM {image}")
    )
    made = ops.File((ops.Action(ops.MakeDirectory(f"/{OUT}", 0o755, parents=True), input=0, output=0),))
    base = Edge(vertex(made, (Edge(root),), here, About(f"[{shown}] prepare the scanner")))
    inputs = [base]
    mounts = [ops.Mount("/", input=0, output=0), ops.Mount("/tmp", kind=ops.MountKind.TMPFS)]
    extras = [(name, edge) for name, edge in extras if edge is not None]
    for place, edge in (
        (f"/run/src/core/{_CORE}", result),
        *((f"/run/src/extras/{_CORE}-{name}", edge) for name, edge in extras),
    ):
        if edge is None:
            mounts.append(ops.Mount(place, readonly=True))
        else:
            mounts.append(ops.Mount(place, input=len(inputs), readonly=True))
            inputs.append(edge)
    env = [
        *(own.get("Env") or ()),
        f"BUILDKIT_SCAN_DESTINATION=/{OUT}/",
        f"BUILDKIT_SCAN_SOURCE=/run/src/core/{_CORE}",
    ]
    if extras:
        env.append("BUILDKIT_SCAN_SOURCE_EXTRAS=/run/src/extras")
    env += [f"BUILDKIT_SCAN_{name}={value}" for name, value in sorted(wish.parameters.items())]
    run = ops.Exec(
        tuple(args), tuple(env), own.get("WorkingDir") or "/", tuple(mounts), user=own.get("User") or ""
    )
    about = About(f"[{shown}] generating sbom using {image}")
    return Edge(vertex(run, tuple(inputs), here, about))


def read(path: str, data: bytes) -> Attestation:
    """One statement of the scanner's. Raises BuildFailed."""
    try:
        value = json.loads(data)
        kind, predicate = str(value["predicateType"]), value["predicate"]
    except (ValueError, KeyError, TypeError) as error:
        raise BuildFailed(f"cannot decode in-toto statement {path}: {error!r}") from error
    return Attestation(kind, predicate, path)
