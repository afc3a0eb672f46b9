"""Options that all test rooms share."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--peer", action="store_true", help="run tests/clients against dockerd instead of knarrd"
    )
