"""The log of a container whose driver is journald, read where it is: in the journal. Blocking; see `logs`."""

from knarr.kernel.journal import Journal, synchronize
from knarr.model.errors import Invalid
from knarr.model.moments import parse_rfc3339
from knarr.wire.record import Record

_ERROR = b"3"
_MANY = 256
_OWN = frozenset(
    [
        "MESSAGE",
        "MESSAGE_ID",
        "PRIORITY",
        "CODE_FILE",
        "CODE_LINE",
        "CODE_FUNC",
        "ERRNO",
        "SYSLOG_FACILITY",
        "SYSLOG_IDENTIFIER",
        "SYSLOG_PID",
        "SYSLOG_TIMESTAMP",
        "CONTAINER_NAME",
        "CONTAINER_ID",
        "CONTAINER_ID_FULL",
        "CONTAINER_TAG",
        "IMAGE_NAME",
        "CONTAINER_PARTIAL_ID",
        "CONTAINER_PARTIAL_ORDINAL",
        "CONTAINER_PARTIAL_LAST",
        "CONTAINER_PARTIAL_MESSAGE",
        "CONTAINER_LOG_EPOCH",
        "CONTAINER_LOG_ORDINAL",
    ]
)


class JournalLog:
    """One container's entries, oldest first."""

    def __init__(self, container_id: str) -> None:
        self._id = container_id
        self._journal: Journal | None = None
        self._stands = False

    def open(self, tail: int | None) -> None:
        """At the first entry, or the last `tail` ones. What was sent until now is there."""
        synchronize()
        self._journal = journal = Journal()
        journal.match(f"CONTAINER_ID_FULL={self._id}")
        if tail is None:
            journal.seek_head()
        else:
            self._stands = journal.seek_back(tail)

    def more(self) -> list[Record]:
        """The next records, [] at the end for now."""
        journal, found = self._journal, list[Record]()
        if journal is None:
            return []
        journal.process()
        while len(found) < _MANY and (self._stands or journal.next()):
            self._stands = False
            found.append(_record(journal))
        return found

    def catch_up(self) -> None:
        """The container has ended: what it said last is in the journal when this returns."""
        synchronize()

    def watched(self) -> tuple[int, bool]:
        """The journal's own descriptor."""
        assert self._journal is not None
        return self._journal.fd(), False

    def close(self) -> None:
        """May be called again."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def _record(journal: Journal) -> Record:
    fields = dict(journal.fields())
    partial = fields.get("CONTAINER_PARTIAL_MESSAGE") == b"true"
    attrs = {
        name: value.decode("utf-8", "replace")
        for name, value in fields.items()
        if name not in _OWN and not name.startswith("_")
    }
    return Record(
        "stderr" if fields.get("PRIORITY") == _ERROR else "stdout",
        _moment(fields.get("SYSLOG_TIMESTAMP", b"")) or journal.moment(),
        fields.get("MESSAGE", b"") + (b"" if partial else b"\n"),
        attrs,
    )


def _moment(text: bytes) -> int:
    try:
        return parse_rfc3339(text.decode("ascii", "replace"))
    except (Invalid, ValueError):
        return 0
