"""Daemons beside each other that obey the host's firewall: each listens to a group of its own."""

from knarr.network.admission import Admission


async def test_each_has_its_own_group() -> None:
    listening = [Admission() for _ in range(3)]
    try:
        assert len({each.group for each in listening}) == 3
    finally:
        for each in listening:
            each.close()
