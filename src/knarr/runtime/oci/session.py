"""One invocation: what was asked, where containers are recorded, where words go. Nothing here outlives the command."""

import os

from knarr.model.errors import Invalid, Unsupported
from knarr.runtime.oci.arguments import Call
from knarr.runtime.oci.log import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PLACE = "/run/knarr-oci"


class Session:
    """`root` holds one directory a container; `chosen` says that the caller named it.

    `pid` is the caller. With `orders`, a socket, signals for the container come from there, otherwise to this process.
    """

    def __init__(self, call: Call, environment: "Mapping[str, str]", pid: int, orders: int = -1):
        self.call = call
        self.environment, self.pid, self.orders = environment, pid, orders
        self.log = Log(
            os.path.abspath(call.option("log")) if call.option("log") else "",
            call.option("log-format") or "text",
            bool(call.options.get("debug")),
        )
        self.chosen = "root" in call.options
        self.root = ""
        self.forerunner: object | None = None
        """An init that waits for its recipe, in a warm process."""

    def prepare(self) -> None:
        """Raises Invalid, Unsupported for global options that cannot be had."""
        form = self.call.option("log-format")
        if form not in ("", "text", "json"):
            raise Invalid(f"invalid log-format: {form}")
        if self.call.options.get("systemd-cgroup"):
            raise Unsupported(
                "systemd cgroup flag passed, but systemd support for managing cgroups is not available"
            )
        if self.chosen:
            self.root = os.path.abspath(self.call.option("root"))
            if self.root == "/":
                raise Invalid("Option --root argument should not be set to /")
            return
        runtime = self.environment.get("XDG_RUNTIME_DIR", "")
        if os.geteuid() == 0 or not runtime:
            self.root = PLACE
            return
        self.root = f"{runtime}/knarr-oci"
        os.makedirs(self.root, 0o700, exist_ok=True)
        os.chmod(self.root, 0o1700)  # sticky, so that it is not pruned (XDG base directory specification)

    @property
    def rootless(self) -> bool:
        """Whether cgroups are used only as far as they are permitted."""
        word = self.call.option("rootless").lower()
        if word in ("", "auto"):
            return os.geteuid() != 0
        return word in ("true", "1", "t")
