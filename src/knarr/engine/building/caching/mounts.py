"""Cache mounts inside caches: archives beside the layers, each with the mount's id. BuildKit's tools pass them over."""

from collections.abc import Callable, Sequence

from knarr.engine.building.caching.imports import Parcel
from knarr.engine.images.layers import OpenBlob
from knarr.model.descriptor import Descriptor

MEDIA_TYPE = "application/vnd.knarr.cachemount.v1.tar+gzip"
ID = "dev.knarr.cachemount.id"


def parcels(entries: Sequence[Descriptor], opener: Callable[[Descriptor], OpenBlob]) -> list[Parcel]:
    """The mounts among a manifest's blobs."""
    return [
        Parcel(each.annotations[ID], each, opener(each))
        for each in entries
        if each.media_type == MEDIA_TYPE and each.annotations.get(ID)
    ]
