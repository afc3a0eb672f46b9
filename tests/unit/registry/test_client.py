"""The client's decisions: which origin is the same, which proxy, what a token is asked for with, in whose words it fails."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.model.errors import Invalid, NotFound, Unavailable
from knarr.registry.client import tokens, words
from knarr.registry.client.hosts import Endpoint, endpoints, is_insecure, proxy_for, same_origin
from knarr.registry.spec.names import Challenge


@dataclass
class Credentials:
    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("https://a", "https://a/v2/", True),
        ("https://a", "https://A:443/x", True),
        ("http://a:5000", "http://a:5000/x", True),
        ("https://a", "http://a/", False),
        ("https://a", "https://a.b/", False),
        ("https://a", "https://a@b/", False),
        ("https://a:1", "https://a:2", False),
        ("https://a", "https://a:x/", False),
        ("https://a", "https://[", False),
    ],
)
def test_origins(first: str, second: str, wanted: bool) -> None:
    assert same_origin(first, second) is wanted


@given(st.text(max_size=50))
def test_no_text_has_an_origin_by_accident(text: str) -> None:
    assert not same_origin("https://registry.example", text) or "registry.example" in text.lower()


def test_mirrors_and_certificates() -> None:
    assert endpoints(
        "a.example", {"a.example": ["m.example/", "http://n.example"]}, ("m.example",), pull=True
    ) == [
        Endpoint("https://m.example", True, False),
        Endpoint("http://n.example", True),
        Endpoint("https://a.example"),
    ]
    assert [each.verify for each in endpoints("localhost", {}, (), pull=True)] == [False, False]
    assert not is_insecure("10.0.0.1", ("nonsense/x",))


PROXIES = {
    "https_proxy": "http://p:1",
    "HTTP_PROXY": "q:2",
    "NO_PROXY": "none.example,.sub.example,10.0.0.0/8,x.y:81",
}


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://a.example/v2/", "http://p:1"),
        ("http://a.example/v2/", "http://q:2"),
        ("http://localhost:5000/", None),
        ("http://127.0.0.1:5000/", None),
        ("https://none.example", None),
        ("https://deep.none.example", None),
        ("https://notnone.example", "http://p:1"),
        ("https://b.sub.example:5", None),
        ("https://10.1.2.3", None),
        ("https://11.1.2.3", "http://p:1"),
        ("http://x.y:81", None),
        ("http://x.y:82", "http://q:2"),
    ],
)
def test_proxies(url: str, wanted: str | None) -> None:
    assert proxy_for(url, PROXIES) == wanted


def test_no_proxy_at_all() -> None:
    assert proxy_for("https://a.example", {}) is None
    assert proxy_for("https://a.example", {"https_proxy": "http://p", "no_proxy": "*"}) is None


ASKED = Challenge("bearer", {"realm": "https://t/token", "service": "s", "scope": "repository:a:pull"})


def test_a_token_for_nobody() -> None:
    found = tokens.request(ASKED, "repository:a:pull,push repository:b:pull", None)
    assert found.query == (
        ("service", "s"),
        ("scope", "repository:a:pull,push"),
        ("scope", "repository:b:pull"),
    )
    assert (found.form, found.headers) == ((), {})


def test_a_token_for_a_user() -> None:
    found = tokens.request(ASKED, "repository:a:pull", Credentials(auth="dTpwOng="))
    assert found.query[:2] == (("account", "u"), ("client_id", "knarr"))
    assert found.headers == {"Authorization": "Basic dTpwOng="}


def test_a_token_for_an_identity() -> None:
    found = tokens.request(ASKED, "repository:a:pull", Credentials(identitytoken="id"))
    assert dict(found.form) == {
        "grant_type": "refresh_token",
        "refresh_token": "id",
        "client_id": "knarr",
        "service": "s",
        "scope": "repository:a:pull",
    }


@pytest.mark.parametrize("auth", ["x", "////", "é"])
def test_credentials_that_are_none(auth: str) -> None:
    with pytest.raises(Invalid):
        tokens.login(Credentials(auth=auth))


@given(st.binary(max_size=60))
def test_any_answer_of_a_token_server(data: bytes) -> None:
    try:
        tokens.answer(data)
    except Unavailable:
        pass


@pytest.mark.parametrize("life", [300, "300", None, -5, 10**30, "x", "nan", "inf"])
def test_lives_of_tokens(life: object) -> None:
    data = json.dumps({"token": "T", "expires_in": life}).encode()
    try:
        assert 5 <= tokens.answer(data)[1] <= 86400
    except Unavailable:
        assert life == "x"


def test_words() -> None:
    name_unknown = words.RegistryError(404, "NAME_UNKNOWN", "repository name not known to registry")
    assert str(words.as_pull(name_unknown, "x", "x:1")) == (
        "repository x not found: name unknown: repository name not known to registry"
    )
    assert isinstance(words.as_blob(words.RegistryError(404, "", ""), "x"), NotFound)
    assert str(words.as_push(words.RegistryError(403, "", ""))) == words.DENIED
    assert str(words.as_push(words.RegistryError(401, "UNAUTHORIZED", "no"))) == "unauthorized: no"
