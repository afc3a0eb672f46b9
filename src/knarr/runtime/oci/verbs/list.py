"""list: every container below the root."""

import json
import os
import sys

from knarr.model.errors import Invalid, KnarrError
from knarr.runtime.oci.container import Container
from knarr.runtime.oci.errors import words
from knarr.runtime.oci.log import say
from knarr.runtime.oci.session import Session
from knarr.runtime.oci.verbs.state import describe, owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HEADER = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
_LEAST, _GAP = 12, 3


def run(session: Session) -> int:
    """Prints a table, JSON, or with --quiet names."""
    found = _containers(session)
    form = session.call.text("format") or "table"
    if session.call.on("quiet"):
        say("".join(f"{each['id']}\n" for each in found))
    elif form == "json":
        say(json.dumps(found or None, separators=(",", ":")) + "\n")
    elif form == "table":
        say(table(found))
    else:
        raise Invalid("invalid format option")
    return 0


def _containers(session: Session) -> "list[dict[str, Any]]":
    try:
        names = sorted(os.listdir(session.root))
    except FileNotFoundError:
        if session.chosen:
            raise
        return []
    found = []
    for name in names:
        where = f"{session.root}/{name}"
        try:
            if os.path.isdir(where):
                belongs = owner(where)
                found.append({**describe(Container.load(session.root, name)), "owner": belongs})
        except FileNotFoundError:
            continue
        except (KnarrError, OSError, ValueError) as error:
            sys.stderr.write(f"load container {name}: {words(error)}\n")
    return found


def table(found: "list[dict[str, Any]]") -> str:
    """Columns as Go's tabwriter sets them: at least 12 wide, 3 blanks between. Pure."""
    rows = [_HEADER, *(tuple(str(each[name.lower()]) for name in _HEADER) for each in found)]
    widths = [max(_LEAST, *(len(row[column]) + _GAP for row in rows)) for column in range(len(_HEADER) - 1)]
    lines = [
        "".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)) + row[-1] for row in rows
    ]
    return "\n".join(lines) + "\n"
