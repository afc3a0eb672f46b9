"""The firewall table as text; the system tests load it."""

from knarr.network import rules
from knarr.network.plan import NetworkConfig


def net(**options: bool) -> NetworkConfig:
    return NetworkConfig.from_bip("n", "knarr1", "10.0.0.1/24", **options)


def test_the_table_is_its_own_and_is_emptied_of_rules_first() -> None:
    text = rules.ruleset(net())
    assert all(" ip knarr-knarr1" in line for line in text.splitlines())
    assert text.index("flush table") < text.index("add rule")


def test_icc_decides_between_containers() -> None:
    line = 'forward iifname "knarr1" oifname "knarr1"'
    assert f"{line} accept" in rules.ruleset(net())
    assert f"{line} drop" in rules.ruleset(net(icc=False))


def test_an_internal_network_is_neither_masqueraded_nor_forwarded() -> None:
    text = rules.ruleset(net(internal=True))
    assert 'oifname != "knarr1" ip saddr 10.0.0.0/24 masquerade' not in text
    assert 'iifname "knarr1" oifname != "knarr1" drop' in text


def test_elements_become_commands() -> None:
    pairs = [("published", "tcp . 80"), ("endpoints", "10.0.0.2")]
    assert rules.change("delete", "t", pairs) == (
        "delete element ip t published { tcp . 80 }\ndelete element ip t endpoints { 10.0.0.2 }\n"
    )
