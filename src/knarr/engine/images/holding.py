"""A lease that remembers what it held, so that a use case can delete what it brought and did not need."""

import contextlib
from collections.abc import AsyncIterator

from knarr.content.leases import Lease, Resource
from knarr.engine.images import removing
from knarr.engine.images.rooms import Rooms
from knarr.model.digest import Digest
from knarr.model.errors import Unavailable

RESUMABLE = (Unavailable, TimeoutError, ConnectionError)


class Hold:
    """One use case's lease. `unpacked`: layers that were seen unpacked while it held them, by their ChainIDs."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self.resources: set[Resource] = set()
        self.unpacked: set[Digest] = set()

    def add(self, *resources: Resource) -> None:
        """Holds these from now on."""
        self._lease.add(*resources)
        self.resources.update(resources)


@contextlib.asynccontextmanager
async def holding(rooms: Rooms, *, leftovers: bool) -> AsyncIterator[Hold]:
    """Released at the end. What failed for good leaves nothing; what was broken off (or cancelled) stays for the next
    attempt. `leftovers`: what no row needs is deleted in every case."""
    with rooms.leases.create(brief=leftovers) as lease:
        hold = Hold(lease)
        useless = leftovers
        try:
            yield hold
        except Exception as error:
            useless = leftovers or not isinstance(error, RESUMABLE)
            raise
        finally:
            if useless:
                lease.release()
                await removing.discard(rooms, hold.resources)
