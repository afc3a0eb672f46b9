"""Headers that are written by one end are read by the other, whatever is in them; anything else is refused, not crashed on."""

from hypothesis import given
from hypothesis import strategies as st

from knarr.model.errors import Invalid
from knarr.registry.spec import names

TOKENS = st.text("abcdefghijklmnopqrstuvwxyz-_0123456789", min_size=1, max_size=12)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(
    st.lists(
        st.tuples(TOKENS, st.dictionaries(TOKENS, TEXTS, min_size=1, max_size=4)), min_size=1, max_size=3
    )
)
def test_challenges(wanted: list[tuple[str, dict[str, str]]]) -> None:
    header = ", ".join(
        f"{scheme} " + ",".join(f"{key}={quoted(value)}" for key, value in parameters.items())
        for scheme, parameters in wanted
    )
    assert [(each.scheme, each.parameters) for each in names.challenges(header)] == wanted


@given(TOKENS, TOKENS)
def test_unquoted_parameters(key: str, value: str) -> None:
    assert names.challenge(f"Basic {key} = {value}").parameters == {key: value}


def test_bearer_is_answered_before_basic() -> None:
    header = 'Basic realm="x", Bearer realm="https://a/t",service="s"'
    assert names.challenge(header) == ("bearer", {"realm": "https://a/t", "service": "s"})
    assert names.challenge("Negotiate, Basic realm=x").scheme == "basic"
    assert names.challenge("Negotiate").scheme == ""


@given(st.text(max_size=200))
def test_any_text_as_a_challenge(header: str) -> None:
    names.challenges(header)


@given(st.integers(0, 10**17), st.integers(0, 10**17))
def test_content_ranges(first: int, length: int) -> None:
    last = first + length
    for header in (f"{first}-{last}", f"bytes {first}-{last}/{last + 1}", f"bytes {first}-{last}/*"):
        assert names.content_range(header) == (first, last)


@given(st.text(max_size=60))
def test_any_text_as_a_content_range(header: str) -> None:
    try:
        first, last = names.content_range(header)
    except Invalid:
        return
    assert 0 <= first <= last


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 200))
def test_ranges(first: int, length: int, size: int) -> None:
    try:
        found = names.byte_range(f"bytes={first}-{first + length}", size)
    except Invalid:
        assert first >= size
    else:
        assert found == (first, min(first + length, size - 1))


@given(st.from_regex(r"bytes=[0-9]{0,30}-[0-9]{0,30}", fullmatch=True), st.integers(0, 100))
def test_huge_numbers(header: str, size: int) -> None:
    try:
        found = names.byte_range(header, size)
    except Invalid:
        return
    assert found is None or 0 <= found[0] <= found[1] < size


def test_digits_of_other_scripts_are_none() -> None:
    assert names.number("²") is names.number("٣") is names.number("") is names.number("-1") is None
    assert names.number("12") == 12
    assert names.byte_range("bytes=٣-٤", 10) is None


@given(
    st.lists(st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True), min_size=1, max_size=3),
    st.dictionaries(TOKENS, TEXTS, max_size=3),
)
def test_links(path: list[str], query: dict[str, str]) -> None:
    header = names.link("/v2/" + "/".join(path), query)
    target = names.next_link(header)
    assert target.startswith("/v2/" + "/".join(path) + "?")
    assert ">" not in target
    assert names.next_link(f'</other>; rel="prev", {header}') == target


@given(st.text(max_size=200))
def test_any_text_as_a_link(header: str) -> None:
    names.next_link(header)


def test_other_links() -> None:
    assert names.next_link("</a>; rel=next") == "/a"
    assert names.next_link('</a>; title="x, y"; rel="first next"') == "/a"
    assert names.next_link('</a>; rel="nextdoor"') == ""
    assert names.next_link("") == ""


def test_what_an_upload_has() -> None:
    assert names.received("0-9") == 10
    assert names.received("bytes=0-9") == 10
    assert names.received("0-0") is names.received("5-9") is names.received("") is None


@given(st.text(max_size=120))
def test_any_path(path: str) -> None:
    found = names.target("/v2/" + path)
    if found is not None:
        assert "/" not in found.rest
