"""Where a result came from, as a predicate."""

from dataclasses import replace

import pytest

from knarr.build import operations as ops
from knarr.build.attest import provenance, purl
from knarr.build.attest.asked import Provenance
from knarr.build.attest.statement import Subject, statement
from knarr.build.attest.steps import steps
from knarr.build.graph import About, Edge, vertex, walk
from knarr.model.platform import Platform
from knarr.model.reference import Reference

HERE = Platform("linux", "amd64")
DIGEST = "sha256:" + "ab" * 32
IMAGE = vertex(ops.Source(f"docker-image://docker.io/library/busybox:1@{DIGEST}"), platform=HERE)
FILES = vertex(ops.Source("local://context", (("local.session", "s"), ("local.followpaths", '["file"]'))))
COPY = vertex(
    ops.File((ops.Action(ops.Copy("/file", "/file", create_dest=True), input=0, secondary=1, output=0),)),
    (Edge(IMAGE), Edge(FILES)),
    about=About("COPY", lines=(2,)),
)
RUN = vertex(
    ops.Exec(
        ("sh", "-c", "true"),
        ("A=1",),
        "/",
        (
            ops.Mount("/", input=0, output=0),
            ops.Mount(
                "/run/secrets/s",
                ops.MountKind.SECRET,
                credential=ops.Credential("s", mode=256, optional=True),
            ),
        ),
    ),
    (Edge(COPY),),
    HERE,
    About("RUN", lines=(3,)),
)
RESULT = Edge(RUN)
ARGS = {
    "filename": "Dockerfile",
    "build-arg:V": "2",
    "label:x": "y",
    "platform": "linux/amd64",
    "vcs:source": "here",
}


def made(**changes: object) -> provenance.Made:
    """A build of all these vertices."""
    vertices = list(walk(RESULT))
    first = provenance.Made(
        args=ARGS,
        captured=provenance.captured(vertices, {}, ["dockerfile"]),
        invocation="ref",
        started=10**9,
        finished=2 * 10**9,
        builder_platform=HERE,
        steps=steps(RESULT),
        filename="Dockerfile",
        source=b"FROM busybox:1\n",
        lines={each.digest: each.about.lines for each in vertices},
        layers={"step0:0": [[{"digest": DIGEST}]]},
    )
    return replace(first, **changes)  # type: ignore[arg-type]


def test_images_are_named_by_their_tags_with_the_digest_beside() -> None:
    (material,) = made().captured.materials
    assert material == {
        "uri": "pkg:docker/busybox@1?platform=linux%2Famd64",
        "digest": {"sha256": "ab" * 32},
    }
    only = Reference.parse(f"registry.example:5000/a/b@{DIGEST}")
    assert purl.image(only, None) == f"pkg:docker/registry.example%3A5000/a/b?digest={DIGEST}"


def test_repositories_and_addresses_with_what_was_found_there() -> None:
    git = ops.Source("git://example.org/x.git#main:sub", (("git.fullurl", "https://example.org/x.git"),))
    web = ops.Source("https://example.org/file")
    found = provenance.captured(
        [vertex(git), vertex(web)],
        {git.identifier: "sha1:" + "1" * 40, web.identifier: DIGEST},
        [],
    )
    assert found.materials == (
        {"uri": "https://example.org/file", "digest": {"sha256": "ab" * 32}},
        {"uri": "https://example.org/x.git#main", "digest": {"sha1": "1" * 40}},
    )
    assert not found.locals


def test_the_most_of_v02() -> None:
    told = provenance.attestation(made(), Provenance(mode="max"))
    assert told.predicate_type == "https://slsa.dev/provenance/v0.2"
    value = told.predicate
    assert value["invocation"] == {
        "configSource": {"entryPoint": "Dockerfile"},
        "parameters": {
            "frontend": "dockerfile.v0",
            "args": {"build-arg:V": "2", "label:x": "y"},
            "secrets": [{"id": "s", "optional": True}],
            "locals": [{"name": "context"}, {"name": "dockerfile"}],
        },
        "environment": {"platform": "linux/amd64"},
    }
    ids = [each["id"] for each in value["buildConfig"]["llbDefinition"]]
    assert ids == ["step0", "step1", "step2", "step3", "step4"]
    assert value["buildConfig"]["llbDefinition"][2]["inputs"] == ["step0:0", "step1:0"]
    assert value["buildConfig"]["llbDefinition"][1]["op"]["Op"]["source"]["attrs"] == {
        "local.followpaths": '["file"]'
    }
    metadata = value["metadata"]
    assert metadata["completeness"] == {"parameters": True, "environment": True, "materials": False}
    details = metadata["https://mobyproject.org/buildkit@v1#metadata"]
    assert details["vcs"] == {"source": "here"}
    assert details["source"]["locations"]["step3"]["locations"][0]["ranges"][0]["start"] == {"line": 3}
    assert details["layers"]["step0:0"] == [[{"digest": DIGEST}]]


@pytest.mark.parametrize("version", ["v0.2", "v1"])
def test_mode_min_tells_no_arguments_secrets_or_steps(version: str) -> None:
    text = str(provenance.attestation(made(), Provenance(mode="min", version=version)).predicate)
    for secret in ("build-arg", "label:x", "secrets", "llbDefinition", "locations", "layers"):
        assert secret not in text
    whole = {"v0.2": "'parameters': False", "v1": "'request': False"}[version]
    assert whole in text


def test_v1() -> None:
    told = provenance.attestation(made(), Provenance(version="v1", builder="id", reproducible=True))
    assert told.predicate_type == "https://slsa.dev/provenance/v1"
    definition, details = told.predicate["buildDefinition"], told.predicate["runDetails"]
    assert definition["externalParameters"]["configSource"] == {"path": "Dockerfile"}
    assert definition["resolvedDependencies"][0]["digest"] == {"sha256": "ab" * 32}
    assert definition["internalParameters"]["builderPlatform"] == "linux/amd64"
    assert details["builder"] == {"id": "id"}
    assert details["metadata"]["buildkit_reproducible"] is True
    assert details["metadata"]["startedOn"] == "1970-01-01T00:00:01Z"


def test_what_needs_nothing_of_elsewhere_is_hermetic() -> None:
    quiet = provenance.captured([IMAGE], {}, [])
    value = provenance.attestation(made(captured=quiet), Provenance()).predicate
    assert value["metadata"]["https://mobyproject.org/buildkit@v1#hermetic"] is True


def test_a_remote_context_is_the_source() -> None:
    args = {**ARGS, "context": "https://example.org/x.git#main"}
    value = provenance.attestation(made(args=args), Provenance()).predicate
    assert value["invocation"]["configSource"]["uri"] == "https://example.org/x.git#main"


def test_a_scratch_image_has_no_steps() -> None:
    assert steps(None).definition == ()
    value = provenance.attestation(made(steps=steps(None), lines={}), Provenance()).predicate
    assert "buildConfig" not in value


def test_statements() -> None:
    told = provenance.attestation(made(), Provenance(mode="min"))
    data = statement(told, [Subject("name", {"sha256": "00"})])
    assert data.startswith(
        b'{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2",'
        b'"subject":[{"name":"name","digest":{"sha256":"00"}}],"predicate":{"builder":{"id":""}'
    )
    assert b'\n  "subject": []' in statement(told, [], indented=True)
