"""Options that all test rooms share."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# The same examples each time, and no verdict that depends on how busy the machine is.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

# What a shell ignores for its jobs in the background, their children would ignore as well, and some tests send these.
for _each in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(_each) == signal.SIG_IGN:
        signal.signal(_each, signal.default_int_handler if _each == signal.SIGINT else signal.SIG_DFL)

pytest_plugins = ["pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--peer", action="store_true", help="run tests/clients against dockerd instead of knarrd"
    )
    parser.addoption(
        "--record-builds",
        action="store_true",
        help="with --peer: write what dockerd makes of tests/clients/builds",
    )
