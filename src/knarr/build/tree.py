"""What an operation gives: layers on one another. A tree is named by what it contains (OCI's ChainID)."""

from dataclasses import dataclass
from functools import cached_property

from knarr.model.descriptor import Descriptor, chain_ids
from knarr.model.digest import Digest

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Layer:
    """`diff` is the digest of the plain archive, `blob` what it is stored as, `size` the bytes of its files. `absent`: a cache
    elsewhere tells that this is what a step gives, and has no more of it than the name."""

    diff: Digest
    blob: Descriptor
    size: int
    absent: bool = False


@dataclass(frozen=True)
class Tree:
    """A file system; one without layers is empty."""

    layers: tuple[Layer, ...] = ()

    @cached_property
    def chain(self) -> tuple[Digest, ...]:
        """The ChainIDs, base first."""
        return chain_ids([layer.diff for layer in self.layers])

    @property
    def identity(self) -> str:
        """The same for the same contents."""
        return str(self.chain[-1]) if self.layers else SCRATCH

    @property
    def whole(self) -> bool:
        """Whether its contents can be had."""
        return not any(layer.absent for layer in self.layers)

    def beyond(self, lower: "Tree") -> "Tree | None":
        """The layers above `lower`'s; None if this tree is not built on that."""
        count = len(lower.layers)
        if [layer.diff for layer in self.layers[:count]] != [layer.diff for layer in lower.layers]:
            return None
        return Tree(self.layers[count:])
