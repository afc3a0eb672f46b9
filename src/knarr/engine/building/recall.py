"""Results that builds of this daemon took from the cache or gave to it, in memory: a warm build asks the database for nothing.

The rows are what counts. What a row kept was seen whole when it was learned, and goes only with its row: whoever deletes rows
clears this before the files go, and what was read from the database before that is not learned after it.
"""

from collections import OrderedDict

from knarr.build.bench import Hit

_MOST = 2000


class Recall:
    """That of one engine."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Hit] = OrderedDict()
        self.cleared = 0

    def find(self, key: str) -> Hit | None:
        """The result under that key, if it is known."""
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def learn(self, key: str, hit: Hit, since: int) -> None:
        """`since` is `cleared` from before the row was read or written."""
        if since != self.cleared:
            return
        self._known[key] = hit
        self._known.move_to_end(key)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    def clear(self) -> None:
        """Rows were deleted."""
        self.cleared += 1
        self._known.clear()
