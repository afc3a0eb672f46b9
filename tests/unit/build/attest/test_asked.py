"""Which attestations a build was asked for."""

import pytest

from knarr.build.attest.asked import Asked, Provenance, Sbom, asked
from knarr.build.errors import BuildFailed


def test_nothing_is_asked_for() -> None:
    assert asked({"filename": "Dockerfile"}) == Asked()


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("", Provenance()),
        ("mode=min", Provenance(mode="min")),
        ("mode=full,version=v1", Provenance(mode="max", version="v1")),
        (
            "mode=max,builder-id=https://here,reproducible=true",
            Provenance(builder="https://here", reproducible=True),
        ),
        ("mode=min,inline-only=true", Provenance(mode="min", inline_only=True)),
        ('"builder-id=a,b"', Provenance(builder="a,b")),
    ],
)
def test_provenance(text: str, wish: Provenance) -> None:
    assert asked({"attest:provenance": text}).provenance == wish


def test_what_buildx_asks_for_by_itself_stays_out_of_results() -> None:
    assert not asked({"attest:provenance": "mode=min,inline-only=true"}).in_results
    assert asked({"attest:provenance": "mode=min"}).in_results
    assert asked({"attest:sbom": "", "attest:provenance": "inline-only=true"}).in_results


def test_a_bill_of_materials() -> None:
    assert asked({"attest:sbom": ""}).sbom == Sbom()
    assert asked({"build-arg:BUILDKIT_ATTEST_SBOM": "generator=scan/me,KEY=value"}).sbom == Sbom(
        generator="scan/me", parameters={"KEY": "value"}
    )


def test_what_is_disabled_is_not_asked_for() -> None:
    assert asked({"attest:provenance": "disabled=true", "attest:sbom": "disabled=1"}) == Asked()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"attest:foo": ""}, 'unknown attestation type "foo"'),
        ({"attest:provenance": "mode=bad"}, 'invalid mode "bad"'),
        ({"attest:provenance": "version=v3"}, "invalid provenance SLSA version: v3"),
        ({"attest:provenance": "reproducible=perhaps"}, 'failed to parse reproducible flag "perhaps"'),
    ],
)
def test_what_is_not_understood_is_named(attributes: dict[str, str], message: str) -> None:
    with pytest.raises(BuildFailed, match=message):
        asked(attributes)
