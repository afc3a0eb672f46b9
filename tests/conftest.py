"""Options that all test rooms share."""

import pytest
from hypothesis import HealthCheck, settings

# The same examples each time, and no verdict that depends on how busy the machine is.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

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
