"""A build's results on their way out."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from knarr.build.attest.statement import Attestation
from knarr.build.caching.config import INLINE
from knarr.build.dockerfile.frontend import Result
from knarr.build.graph import Edge
from knarr.build.operations import Exec
from knarr.build.port import Session, Sessions
from knarr.build.progress import Progress
from knarr.build.tree import Tree
from knarr.engine.images.config import dump_json
from knarr.engine.images.holding import Hold

_COMMENT = "buildkit.exporter.image.v0"


class Made(NamedTuple):
    """One platform's result, solved. `epoch` (seconds): no time of it is later. `inline`: the build's cache, to be
    carried inside. `attestations` go with it."""

    result: Result
    tree: Tree
    epoch: int
    inline: bytes = b""
    attestations: tuple[Attestation, ...] = ()

    @property
    def base(self) -> int:
        """How many of its layers are the base image's."""
        rootfs = (self.result.base_image or {}).get("rootfs") or {}
        given = rootfs.get("diff_ids") or []
        ours = [str(layer.diff) for layer in self.tree.layers[: len(given)]]
        return len(given) if ours == given else 0


class Giving(NamedTuple):
    """What every exporter of one build is given: its results, and who asked for them. `multi`: they are of several platforms,
    even if there is one."""

    made: Sequence[Made]
    multi: bool
    session: str
    sessions: Sessions
    progress: Progress
    hold: Hold

    async def lender(self) -> Session:
        """The client. Raises NoSuchSession."""
        return await self.sessions.get(self.session)


def config(made: Made) -> bytes:
    """The image's configuration, with its layers and the moments that were left open."""
    value: dict[str, Any] = json.loads(json.dumps(made.result.image))
    text = datetime.fromtimestamp(made.epoch, UTC).isoformat().replace("+00:00", "Z")
    value["created"] = text
    value["rootfs"] = {"type": "layers", "diff_ids": [str(layer.diff) for layer in made.tree.layers]}
    for step in value.get("history") or ():
        step.setdefault("created", text)
    _tell_rest(value, made, text)
    if made.inline:
        value[INLINE] = base64.b64encode(made.inline).decode()
    return dump_json(value)


def _tell_rest(value: dict[str, Any], made: Made, moment: str) -> None:
    """Layers that no line of the history tells of, as where a client's files are the root: lines for them come last, as
    BuildKit has it, whose names are the operations'."""
    told = sum(not step.get("empty_layer") for step in value.get("history") or ())
    missing = len(made.tree.layers) - told
    if missing > 0:
        names = [""] * (missing - 1) + [_described(made.result.output)]
        rest = [{"created": moment, "created_by": name, "comment": _COMMENT} for name in names]
        value["history"] = [*(value.get("history") or ()), *rest]


def _described(edge: Edge | None) -> str:
    if edge is None:
        return ""
    if isinstance(edge.vertex.operation, Exec):
        return f"mount / from exec {' '.join(edge.vertex.operation.args)}"
    return edge.vertex.about.name


def base_made(result: Result) -> int:
    """When the base image was made, in seconds; 0 where it does not say."""
    text = str((result.base_image or {}).get("created") or "")
    try:
        return int(datetime.fromisoformat(f"{text[:19]}+00:00").timestamp())
    except ValueError:
        return 0
