"""What one build imported: keys of steps, and where the layers are that they give."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from knarr.build.caching.config import Known
from knarr.engine.images.layers import OpenBlob
from knarr.model.descriptor import Descriptor
from knarr.model.digest import Digest

Opener = Callable[[Descriptor], OpenBlob]


class Parcel(NamedTuple):
    """A cache mount inside a cache."""

    id: str
    blob: Descriptor
    opened: OpenBlob


class Imported(NamedTuple):
    """One cache."""

    keys: Mapping[str, Known]
    opener: Opener
    mounts: Sequence[Parcel] = ()


class Found(NamedTuple):
    """A step's result; without `opened` its name only."""

    diff: Digest
    blob: Descriptor | None
    opened: OpenBlob | None
    exact: str


class Imports:
    """All caches of one build, the first named asked first."""

    def __init__(self, caches: Sequence[Imported] = ()):
        self.caches = tuple(caches)
        self._spoiled: set[Digest] = set()

    def __bool__(self) -> bool:
        return bool(self.caches)

    def find(self, key: str) -> Found | None:
        """Rather with a layer than without."""
        named = None
        for cache in self.caches:
            known = cache.keys.get(key)
            if known is None:
                continue
            if known.blob is not None and known.blob.digest not in self._spoiled:
                return Found(known.diff, known.blob, cache.opener(known.blob), known.exact)
            if known.blob is None:
                named = named or Found(known.diff, None, None, known.exact)
        return named

    def spoil(self, blob: Digest) -> None:
        """A layer that turned out to be no good: what has it is forgotten."""
        self._spoiled.add(blob)

    def mount(self, name: str) -> Parcel | None:
        """A cache mount of that id."""
        return next((each for cache in self.caches for each in cache.mounts if each.id == name), None)

    def joined(self, others: Sequence["Imports"]) -> "Imports":
        """With the caches of builds that are inputs of this one."""
        return Imports([cache for each in (self, *others) for cache in each.caches])
