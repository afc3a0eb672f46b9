"""Names of networks, and what a container sees of them."""

from hypothesis import given
from hypothesis import strategies as st

from knarr.network.dns.zone import Sight, Zone


def front() -> Zone:
    zone = Zone()
    zone.add("e1", ("10.0.0.2",), ("web", "www"))
    zone.add("e2", ("10.0.0.3",), ("api", "www"))
    return zone


def test_names_and_owners() -> None:
    zone = front()
    assert zone.addresses("web") == ["10.0.0.2"]
    assert zone.addresses("www") == ["10.0.0.2", "10.0.0.3"]
    assert zone.owner("10.0.0.3") == "api"
    assert zone.addresses("nobody") == []


def test_a_name_has_addresses_of_both_families() -> None:
    zone = front()
    zone.add("e3", ("10.0.0.9", "fd00::9"), ("both",))
    assert zone.addresses("both") == ["10.0.0.9", "fd00::9"]
    assert zone.owner("fd00::9") == zone.owner("10.0.0.9") == "both"
    zone.remove("e3")
    assert zone.owner("fd00::9") is None


def test_an_endpoint_takes_its_names_along() -> None:
    zone = front()
    zone.remove("e1")
    zone.remove("e1")
    assert zone.addresses("web") == []
    assert zone.addresses("www") == ["10.0.0.3"]
    assert zone.owner("10.0.0.2") is None


def test_again_is_a_new_name() -> None:
    zone = front()
    zone.add("e1", ("10.0.0.2",), ("shop",))
    assert zone.addresses("web") == []
    assert zone.addresses("shop") == ["10.0.0.2"]


def test_a_container_sees_its_own_networks() -> None:
    back = Zone()
    back.add("e3", ("10.0.1.2",), ("db",))
    sight = Sight({"front": front(), "back": back}, {"store": "db"})
    assert sight.addresses("db") == ["10.0.1.2"]
    assert sight.addresses("db.back") == ["10.0.1.2"]
    assert sight.addresses("store") == ["10.0.1.2"]
    assert sight.addresses("web.back") is None
    assert sight.addresses("example.org") is None
    assert sight.name("10.0.0.2") == "web.front"
    assert sight.name("192.0.2.1") is None


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", "Z"]), st.booleans()), max_size=30)
)
def test_it_is_the_last_word_that_counts(changes: list[tuple[str, str, bool]]) -> None:
    zone, model = Zone(), dict[str, tuple[str, str]]()
    for number, (endpoint, name, there) in enumerate(changes):
        if there:
            model[endpoint] = (name.lower(), f"10.0.0.{number}")
            zone.add(endpoint, (f"10.0.0.{number}",), (name,))
        else:
            model.pop(endpoint, None)
            zone.remove(endpoint)
    for name in ("x", "y", "z"):
        assert set(zone.addresses(name)) == {address for own, address in model.values() if own == name}
