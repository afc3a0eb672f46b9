"""How many descriptors a process may have (getrlimit(2)): a daemon needs several for each container, a container what is usual."""

import resource

INHERITED = resource.getrlimit(resource.RLIMIT_NOFILE)
"""As this process was started."""


def raise_open_files() -> None:
    """This process may have as many as it could allow itself."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (INHERITED[1], INHERITED[1]))


def as_inherited(pid: int) -> None:
    """A child has the limit of before; what it has open stays."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, INHERITED)
