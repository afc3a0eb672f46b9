"""Layers that a build knows of and that are not here: each is fetched when its contents are needed, and never before.

What a cache elsewhere promised and cannot give is Lost: the build forgets that cache's word and does the step itself.
"""

from dataclasses import replace

from knarr.build.errors import BuildFailed
from knarr.build.progress import Progress, Step
from knarr.build.tree import Tree
from knarr.engine.images.layers import Layers, OpenBlob, Wanted
from knarr.engine.images.rows import LayerRow
from knarr.engine.images.settled import all_of
from knarr.model import image
from knarr.model.digest import Digest
from knarr.model.errors import KnarrError


class Lost(BuildFailed):
    """A layer that a cache elsewhere has no more, or has otherwise than it said."""

    def __init__(self, blob: Digest, why: str):
        super().__init__(f"layer {blob} cannot be had from the cache: {why}")
        self.blob = blob


class Supply:
    """What one build can fetch."""

    def __init__(self, layers: Layers, progress: Progress):
        self._layers = layers
        self.progress = progress
        self._offered: dict[Digest, tuple[OpenBlob, bool]] = {}
        self._brought: dict[tuple[Digest, Digest], LayerRow] = {}

    def offer(self, blob: Digest, opened: OpenBlob, *, cached: bool) -> None:
        """From now on this blob is fetched by `opened`. `cached`: a build can do without it."""
        self._offered.setdefault(blob, (opened, cached))

    def opened(self, blob: Digest) -> OpenBlob | None:
        """How the blob is fetched; None for what is here or nowhere."""
        found = self._offered.get(blob)
        return None if found is None else found[0]

    def offers(self, tree: Tree) -> bool:
        """Whether something of the tree may have to be fetched."""
        return any(layer.blob.digest in self._offered for layer in tree.layers)

    async def bring(self, tree: Tree) -> Tree:
        """All of it is here, with its sizes. Raises Lost, and what a base image's registry says."""
        wanted = [
            Wanted(chain, layer.diff, layer.blob)
            for chain, layer in zip(tree.chain, tree.layers, strict=True)
            if layer.blob.digest in self._offered
        ]
        missing = [each for each in wanted if (each.chain, each.blob.digest) not in self._brought]
        if missing:
            with self.progress.begin("[internal] fetch layers") as step:
                rows = await all_of([self._fetch(each, step) for each in missing])
            self._brought.update(
                ((each.chain, each.blob.digest), row) for each, row in zip(missing, rows, strict=True)
            )
        return self.sized(tree)

    def sized(self, tree: Tree) -> Tree:
        """The tree with the sizes of what was brought of it."""
        rows = [
            self._brought.get((chain, layer.blob.digest))
            for chain, layer in zip(tree.chain, tree.layers, strict=True)
        ]
        return Tree(
            tuple(
                layer if row is None else replace(layer, size=row.size)
                for layer, row in zip(tree.layers, rows, strict=True)
            )
        )

    async def _fetch(self, wanted: Wanted, step: Step) -> LayerRow:
        opened, cached = self._offered[wanted.blob.digest]
        with step.task(str(wanted.blob.digest), "downloading", wanted.blob.size) as task:

            def report(line: image.Progress) -> None:
                if line.status == "Downloading" and line.current:
                    task.at(line.current)

            try:
                return await self._layers.fetch(wanted, opened, report)
            except KnarrError as error:
                if cached:
                    raise Lost(wanted.blob.digest, str(error)) from error
                raise
