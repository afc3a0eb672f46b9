"""What a client must have asked for, and what nobody is granted."""

import pytest

from knarr.build import entitlements
from knarr.build.errors import BuildFailed
from tests.unit.build.support import build


def needed(line: str, *granted: str) -> None:
    built = build(f"FROM alpine AS a\n{line}\nFROM alpine\nCOPY --from=a /x /x\n")
    entitlements.check_needed([result.output for result in built.results], granted)


def test_what_can_be_granted() -> None:
    assert entitlements.check_asked(["network.host"], {"network.host"}) == {"network.host"}
    assert entitlements.check_asked([], {"network.host"}) == frozenset()


@pytest.mark.parametrize("asked", ["security.insecure", "device", "what"])
def test_what_the_daemon_does_not_allow(asked: str) -> None:
    with pytest.raises(
        BuildFailed, match=f"granting entitlement {asked} is not allowed by build daemon configuration"
    ):
        entitlements.check_asked(["network.host", asked], {"network.host"})


def test_a_step_needs_it_in_any_stage() -> None:
    needed("RUN --network=none x")
    needed("RUN --network=host x", "network.host")
    with pytest.raises(BuildFailed, match=r"failed to load LLB: network\.host is not allowed"):
        needed("RUN --network=host x")
    with pytest.raises(BuildFailed, match=r"failed to load LLB: security\.insecure is not allowed"):
        needed("RUN --security=insecure x", "network.host")


def test_devices_are_nowhere() -> None:
    needed("RUN --device=example.org/a=b x")
    with pytest.raises(BuildFailed, match=r"required device example\.org/a=b is not registered"):
        needed("RUN --device=example.org/a=b,required x")
