"""The "builder" of daemon.json."""

from typing import Any

import pytest

from knarr.engine.settings import BuilderSettings, CacheRule
from knarr.model.errors import Invalid
from knarr.service import config
from knarr.service.builder import builder

HOUR = 3600 * 10**9


def test_nothing_is_the_default() -> None:
    assert builder({}) == BuilderSettings()
    assert builder({"gc": None, "Entitlements": {}}) == BuilderSettings()


def test_entitlements() -> None:
    found = builder({"Entitlements": {"network-host": False, "Security-Insecure": True}})
    assert (found.network_host, found.insecure) == (False, True)


def test_amounts_by_newer_and_older_names() -> None:
    found = builder(
        {"gc": {"defaultKeepStorage": "20GB", "defaultMaxUsedSpace": "1g", "defaultMinFreeSpace": ""}}
    )
    assert found.collect
    assert found.rules is None
    assert found.default == CacheRule(reserved=20 << 30, max_used=1 << 30)
    both = builder({"gc": {"defaultReservedSpace": "1m", "defaultKeepStorage": "2m", "enabled": False}})
    assert (both.default.reserved, both.collect) == (1 << 20, False)


def test_a_policy() -> None:
    rules = [
        {"keepStorage": "10GB", "filter": ["unused-for=2200h", "type=regular"]},
        {"reservedSpace": "50GB", "maxUsedSpace": "5g", "filter": {"unused-for": {"24h": True}}},
        {"all": True, "minFreeSpace": "1g", "filter": ["id=ab"]},
    ]
    assert builder({"gc": {"policy": rules}}).rules == (
        CacheRule(filters=("type==regular",), unused=2200 * HOUR, reserved=10 << 30),
        CacheRule(unused=24 * HOUR, reserved=50 << 30, max_used=5 << 30),
        CacheRule(all=True, filters=("id~=ab",), min_free=1 << 30),
    )


def test_how_long_records_stay() -> None:
    assert builder({"history": {"maxAge": "36h", "maxEntries": 3}})[-2:] == (3, 36 * HOUR)
    assert builder({"history": {"maxAge": 7200}})[-2:] == (0, 2 * HOUR)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"gc": {"enabled": 1}}, "cannot read builder.gc.enabled: it is to be of type bool"),
        (
            {"gc": {"policy": [{"maxUsedSpace": "much"}]}},
            r"builder.gc.policy\[0\].maxUsedSpace: invalid size",
        ),
        ({"gc": {"policy": {}}}, "builder.gc.policy: it is to be of type array"),
        ({"gc": {"policy": [{"filter": ["colour=red"]}]}}, "invalid filter 'colour'"),
        ({"gc": {"policy": [{"filter": ["type=a", "type=b"]}]}}, "only one value"),
        ({"gc": {"policy": [{"filter": ["until=soon"]}]}}, "expects a duration"),
        ({"gc": []}, "cannot read builder.gc: it is to be of type object"),
        ({"entitlements": {"device": True}}, "knarrd has no builder.entitlements.device"),
        ({"history": {"maxAge": "old"}}, "invalid duration old"),
        ({"colour": {}}, "knarrd has no builder.colour"),
    ],
)
def test_what_cannot_be(value: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        builder(value)


def test_it_comes_from_the_file_only() -> None:
    values = config.read('{"builder": {"entitlements": {"security-insecure": true}}}')
    assert config.settings_from(config.merge(values, {})).builder.insecure
    with pytest.raises(Invalid, match="cannot read builder"):
        config.read('{"builder": 1}')
