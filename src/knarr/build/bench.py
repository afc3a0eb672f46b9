"""The port on which the solver works: the engine's images, layers and processes, for the length of one build."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from knarr.build.context.entries import Index
from knarr.build.explain import Earlier, Parts
from knarr.build.graph import Resources
from knarr.build.operations import Act, Exec, Source
from knarr.build.port import Sessions
from knarr.build.progress import Step
from knarr.build.tree import Tree
from knarr.model.platform import Platform

Given = Tree | Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is remembered of a cached result beside it. `parts`: what the key is made of, so that a later miss can be explained.
    `exact`: the step's key by no more than the files that it takes, where this one names all that it could take."""

    kind: str
    description: str
    parts: Parts | None = None
    exact: str = ""


class Hit(NamedTuple):
    """A cached result, with its step's exact key where that is another one."""

    tree: Tree
    exact: str = ""


class Bench(Protocol):
    """One build's. What it makes is kept from collection until the build is over; after that, what is cached stays.

    `epoch` (seconds): no file of a layer that is made is younger.
    """

    epoch: int | None

    async def image(self, source: Source, platform: Platform | None, step: Step) -> Tree:
        """The layers of an image, which need not be here yet. Raises what the registry says."""
        ...

    async def remote(self, source: Source, step: Step) -> Index:
        """The file at an address, or the files of a commit. Raises BuildFailed."""
        ...

    async def cached(self, key: str, base: Tree) -> Hit | None:
        """The result that was kept under `key`, if its layers are still here; or its name, which is one layer on `base`."""
        ...

    async def imported(self, key: str, base: Tree, facts: Facts) -> Hit | None:
        """What a cache elsewhere has under `key`: one layer on `base`, which is fetched when it is needed, or only its name."""
        ...

    async def keep(self, key: str, tree: Tree, facts: Facts) -> None:
        """Remembers a result."""
        ...

    async def earlier(self, key: str, parts: Parts) -> Earlier:
        """What is remembered of steps that were built: this one, and those that may have been it."""
        ...

    async def listing(self, tree: Tree, path: str) -> Index:
        """Everything at and below `path` in the tree, with the digests of the files. Raises NotFound."""
        ...

    async def act(self, base: Tree, acts: Sequence[tuple[Act, Given | None]]) -> Tree:
        """`base` with one more layer: what the acts do, in turn; the second of each is what a copy reads. Raises BuildFailed."""
        ...

    async def run(
        self,
        command: Exec,
        inputs: Sequence[Given],
        resources: Resources | None,
        step: Step,
        sessions: Sessions,
    ) -> Tree:
        """The root of the command with one more layer: what it changed. Raises BuildFailed with its exit code."""
        ...
