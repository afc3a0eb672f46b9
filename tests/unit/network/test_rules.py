"""The firewall table as text; the system tests load it."""

from typing import Any

from knarr.network import rules
from knarr.network.config import NetworkConfig
from knarr.network.plan import Element


def net(**options: Any) -> NetworkConfig:
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
    pairs = [Element("ip", "published", "tcp . 80"), Element("ip6", "endpoints", "fd00::2")]
    assert rules.change("delete", "t", pairs) == (
        "delete element ip t published { tcp . 80 }\ndelete element ip6 t endpoints { fd00::2 }\n"
    )


def test_a_family_has_a_table_of_its_own() -> None:
    both = net(subnet6="fd00::/64", gateway6="fd00::1")
    assert rules.families(both) == ("ip", "ip6")
    text = rules.ruleset(both)
    assert 'ip6 knarr-knarr1 postrouting oifname != "knarr1" ip6 saddr fd00::/64 masquerade' in text
    assert "ip6 daddr != { ::1, fe80::/10 } fib daddr type local jump publish" in text
    assert rules.count(both) == text.count("add rule ")
    six = NetworkConfig(name="n", bridge="knarr1", subnet6="fd00::/64", gateway6="fd00::1")
    assert rules.families(six) == ("ip6",)
    assert " ip knarr" not in rules.ruleset(six)


def test_what_is_routed_is_not_translated_and_open_at_its_own_address() -> None:
    text = rules.ruleset(net(mode4="routed"))
    assert 'oifname != "knarr1" ip saddr' not in text
    assert "ip daddr . meta l4proto . th dport @open accept" in text
    assert "@open accept" not in rules.ruleset(net())
    assert 'iifname { "eth9" }' in rules.ruleset(net(trusted=("eth9",)))
    assert 'forward oifname "knarr1" accept' in rules.ruleset(net(mode4="nat-unprotected"))


def test_where_the_hosts_rules_are_obeyed_nothing_from_outside_is_translated_at_once() -> None:
    plain, obeying = rules.ruleset(net()), rules.ruleset(net(), 7)
    assert "prerouting fib daddr type local jump publish" in plain
    assert "prerouting fib daddr type local jump publish" not in obeying
    assert obeying.count("log group 7 drop") == 2
    assert rules.count(net(), 7) == obeying.count("add rule ")
