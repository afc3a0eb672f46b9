"""Images of several platforms, attestations and build records, by the real docker CLI with buildx.

dockerd has them only with containerd's image store: under `--peer` these tests have a dockerd of their own.
"""

import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import Daemon, Dockerd
from tests.support.registries import knarr_registry

BOTH = "linux/amd64,linux/arm64"
OWN = "ktindexes0", "10.231.8.0/24"


@pytest.fixture(scope="module")
def store(peer: bool, running_daemon: Daemon, busybox: Path) -> Iterator[Daemon]:
    """A daemon whose image store has indexes."""
    if not peer:
        yield running_daemon
        return
    daemon = Dockerd(*OWN, options=["--feature", "containerd-snapshotter=true"])
    try:
        daemon.start()
        daemon.give_busybox(busybox)
        yield daemon
    finally:
        daemon.close()


@pytest.fixture
def context(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A context whose build runs nothing, and is another for each test and platform."""
    place = tmp_path / "context"
    place.mkdir()
    (place / "Dockerfile").write_text("FROM scratch\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCOPY file /file\n")
    (place / "file").write_text(request.node.name)
    return place


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """A context with a step that runs."""
    place = tmp_path / "running"
    place.mkdir()
    (place / "Dockerfile").write_text("FROM busybox\nARG V=1\nRUN echo told $V\nCOPY file /file\n")
    (place / "file").write_text("small\n")
    return place


def build(daemon: Daemon, context: Path, *arguments: str, provenance: str = "false") -> str:
    """A build without what buildx wants by itself; what it told."""
    done = daemon.docker("build", f"--provenance={provenance}", *arguments, str(context))
    return done.stderr


def blobs(path: Path) -> dict[str, Any]:
    """The JSON documents of an archive by digest, and `index.json` as ""."""
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            data = file.read() if file is not None else b""
            if data.startswith(b"{"):
                name = member.name.rpartition("/")[2]
                found["" if name == "index.json" else f"sha256:{name}"] = json.loads(data)
    return found


def inspected(daemon: Daemon, name: str, *platform: str) -> dict[str, Any]:
    """One platform's image."""
    done = daemon.docker("image", "inspect", *platform, name)
    value: dict[str, Any] = json.loads(done.stdout)[0]
    return value


def test_several_platforms_under_one_name(store: Daemon, context: Path, tmp_path: Path) -> None:
    build(store, context, "--platform", BOTH, "-t", "indexed:1", "--iidfile", str(tmp_path / "iid"))
    assert inspected(store, "indexed:1")["Architecture"] == "amd64"
    arm = inspected(store, "indexed:1", "--platform=linux/arm64")
    assert arm["Architecture"] == "arm64"
    assert "ARCH=arm64" in arm["Config"]["Env"]
    told = store.docker("image", "history", "--platform=linux/arm64", "--no-trunc", "indexed:1").stdout
    assert "ENV ARCH=arm64" in told
    done = store.docker("image", "inspect", "--platform=linux/s390x", "indexed:1", check=False)
    assert "was found but does not provide the specified platform (linux/s390x)" in done.stderr
    assert inspected(store, (tmp_path / "iid").read_text())["RepoTags"] == ["indexed:1"]
    names = store.docker("images", "--format={{.Repository}}:{{.Tag}}").stdout.split()
    assert names.count("indexed:1") == 1
    assert "<none>:<none>" not in names


def test_a_container_of_another_platform(store: Daemon, context: Path) -> None:
    build(store, context, "--platform", BOTH, "-t", "indexed:2")
    made = store.docker("create", "--platform=linux/arm64", "indexed:2", "/file").stdout.strip()
    assert "ARCH=arm64" in store.inspect(made)["Config"]["Env"]
    other = store.docker("create", "indexed:2", "/file").stdout.strip()
    assert "ARCH=amd64" in store.inspect(other)["Config"]["Env"]
    store.docker("rm", other)
    done = store.docker("rmi", "indexed:2", check=False)
    assert "is using its referenced image" in done.stderr
    store.docker("rm", made)
    store.docker("rmi", "indexed:2")
    assert store.docker("image", "inspect", "indexed:2", check=False).returncode == 1


def test_saved_whole_or_by_platform(store: Daemon, context: Path, tmp_path: Path) -> None:
    build(store, context, "--platform", BOTH, "-t", "indexed:3")
    whole, part = tmp_path / "whole.tar", tmp_path / "part.tar"
    store.docker("save", "-o", str(whole), "indexed:3")
    (top,) = blobs(whole)[""]["manifests"]
    index = blobs(whole)[top["digest"]]
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    assert all(each["digest"] in blobs(whole) for each in index["manifests"])
    store.docker("save", "--platform=linux/arm64", "-o", str(part), "indexed:3")
    (top,) = blobs(part)[""]["manifests"]
    assert top["digest"] == index["manifests"][1]["digest"]
    assert index["manifests"][0]["digest"] not in blobs(part)
    store.docker("rmi", "indexed:3")
    assert "Loaded image: indexed:3" in store.docker("load", "-i", str(whole)).stdout
    assert inspected(store, "indexed:3", "--platform=linux/arm64")["Architecture"] == "arm64"
    assert inspected(store, "indexed:3")["Architecture"] == "amd64"


def test_an_archive_with_attestations_is_loaded_whole(store: Daemon, context: Path, tmp_path: Path) -> None:
    path, again = tmp_path / "out.tar", tmp_path / "again.tar"
    output = f"type=oci,dest={path},name=loaded:1"
    build(store, context, "--platform", BOTH, "-o", output, provenance="mode=min")
    store.docker("load", "-i", str(path))
    store.docker("save", "-o", str(again), "loaded:1")
    (before,), (after,) = (blobs(each)[""]["manifests"] for each in (path, again))
    assert after["digest"] == before["digest"]
    assert {each for each in blobs(path) if each} <= set(blobs(again))


def test_pushed_and_pulled(store: Daemon, context: Path, tmp_path: Path) -> None:
    """The registry has the index with what belongs to it, by a push of the build and by one of the image."""
    with knarr_registry(tmp_path / "registry") as port:
        name = f"127.0.0.1:{port}/indexed"
        build(store, context, "--platform", BOTH, "-t", f"{name}:built", "--push", provenance="mode=min")
        store.docker("push", f"{name}:built")
        (digest,) = [each.partition("@")[2] for each in inspected(store, f"{name}:built")["RepoDigests"]]
        told = store.docker("buildx", "imagetools", "inspect", f"{name}:built").stdout
        assert digest in told
        assert told.count("attestation-manifest") == 2
        store.docker("rmi", f"{name}:built")
        store.docker("pull", "--platform=linux/arm64", f"{name}:built")
        assert inspected(store, f"{name}:built", "--platform=linux/arm64")["Architecture"] == "arm64"
        store.docker("rmi", f"{name}:built")


def test_pulled_platform_by_platform(store: Daemon, context: Path, tmp_path: Path) -> None:
    """A later one joins the name, whichever was first; all go together."""
    with knarr_registry(tmp_path / "registry") as port:
        name = f"127.0.0.1:{port}/several:1"
        build(store, context, "--platform", BOTH, "--push", "-t", name)
        for first, second in (("arm64", "amd64"), ("amd64", "arm64")):
            store.docker("rmi", "-f", name)
            store.docker("pull", f"--platform=linux/{first}", name)
            assert inspected(store, name)["Architecture"] == first
            store.docker("pull", f"--platform=linux/{second}", name)
            for each in (first, second):
                found = inspected(store, name, f"--platform=linux/{each}")
                assert (found["Architecture"], found["RepoTags"]) == (each, [name])
            assert inspected(store, name)["Architecture"] == "amd64"
            told = store.docker("pull", f"--platform=linux/{first}", name).stdout
            assert "Image is up to date" in told
            names = store.docker("images", "-a", "--format={{.Repository}}:{{.Tag}}").stdout.split()
            assert names.count(name) == 1
            assert "<none>:<none>" not in names
        made = store.docker("create", "--platform=linux/arm64", name, "/file").stdout.strip()
        assert "ARCH=arm64" in store.inspect(made)["Config"]["Env"]
        store.docker("rm", made)
        tree = json.loads(store.docker("image", "inspect", name).stdout)[0]["RepoDigests"]
        store.docker("push", name)
        path = tmp_path / "saved.tar"
        store.docker("save", "--platform=linux/arm64", "-o", str(path), name)
        architectures = {each["architecture"] for each in blobs(path).values() if "architecture" in each}
        assert architectures == {"arm64"}
        store.docker("rmi", name)
        assert store.docker("image", "inspect", tree[0], check=False).returncode == 1


def test_pushed_and_not_stored(store: Daemon, context: Path, tmp_path: Path) -> None:
    with knarr_registry(tmp_path / "registry") as port:
        name = f"127.0.0.1:{port}/passing:1"
        build(store, context, "-o", f"type=image,name={name},push=true,store=false")
        assert store.docker("image", "inspect", name, check=False).returncode == 1
        store.docker("pull", name)
        store.docker("rmi", name)


@pytest.mark.parametrize("version", ["v0.2", "v1"])
def test_provenance_in_an_archive(store: Daemon, running: Path, tmp_path: Path, version: str) -> None:
    path = tmp_path / "out.tar"
    output = f"type=oci,dest={path},name=attested:1"
    build(store, running, "-o", output, "--build-arg=V=2", provenance=f"mode=max,version={version}")
    found = blobs(path)
    (top,) = found[""]["manifests"]
    image, attached = found[top["digest"]]["manifests"]
    assert attached["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert attached["annotations"] == {
        "vnd.docker.reference.digest": image["digest"],
        "vnd.docker.reference.type": "attestation-manifest",
    }
    (layer,) = found[attached["digest"]]["layers"]
    assert layer["annotations"] == {"in-toto.io/predicate-type": f"https://slsa.dev/provenance/{version}"}
    statement = found[layer["digest"]]
    (subject,) = statement["subject"]
    assert subject["name"] == "pkg:docker/attested@1?platform=linux%2Famd64"
    assert f"sha256:{subject['digest']['sha256']}" == image["digest"]
    predicate = statement["predicate"]
    if version == "v1":
        request = predicate["buildDefinition"]["externalParameters"]["request"]
        materials = predicate["buildDefinition"]["resolvedDependencies"]
        steps = predicate["buildDefinition"]["internalParameters"]["buildConfig"]["llbDefinition"]
        assert set(predicate["runDetails"]) == {"builder", "metadata"}
    else:
        request, materials = predicate["invocation"]["parameters"], predicate["materials"]
        steps = predicate["buildConfig"]["llbDefinition"]
        assert set(predicate["metadata"]) >= {"buildInvocationID", "buildStartedOn", "completeness"}
    assert request["args"] == {"build-arg:V": "2"}
    assert request["locals"] == [{"name": "context"}, {"name": "dockerfile"}]
    assert [each["uri"] for each in materials] == ["pkg:docker/busybox@latest?platform=linux%2Famd64"]
    kinds = [next(iter(each["op"]["Op"]), "") for each in steps]
    assert kinds == ["source", "exec", "source", "file", ""]
    assert steps[1]["op"]["Op"]["exec"]["meta"]["args"] == ["/bin/sh", "-c", "echo told $V"]


def test_provenance_with_an_epoch_is_the_same_again(
    store: Daemon, running: Path, tmp_path: Path, peer: bool
) -> None:
    if peer:
        pytest.skip("dockerd tells the moment and the build")
    found = []
    for name in ("one.tar", "two.tar"):
        output = f"type=oci,dest={tmp_path / name}"
        epoch = "--build-arg=SOURCE_DATE_EPOCH=1700000000"
        build(store, running, "-o", output, epoch, "--sbom=true", provenance="mode=max")
        found.append(blobs(tmp_path / name)[""]["manifests"][0]["digest"])
    assert found[0] == found[1]


def test_provenance_of_a_directory(store: Daemon, running: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(store, running, "-o", f"type=local,dest={out}", provenance="mode=min")
    statement = json.loads((out / "provenance.json").read_text())
    assert "file" in [each["name"] for each in statement["subject"]]
    assert "buildConfig" not in statement["predicate"]
    path = tmp_path / "out.tar"
    build(store, running, "-o", f"type=tar,dest={path}", provenance="mode=min")
    with tarfile.open(path) as archive:
        file = archive.extractfile("provenance.json")
        assert file is not None
        assert json.load(file)["subject"] == statement["subject"]


def test_metadata(store: Daemon, running: Path, tmp_path: Path) -> None:
    path = tmp_path / "metadata"
    build(store, running, "-t", "attested:2", f"--metadata-file={path}", provenance="mode=max")
    told = json.loads(path.read_text())
    assert told["containerimage.descriptor"]["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert told["containerimage.descriptor"]["digest"] == told["containerimage.digest"]
    assert "containerimage.config.digest" not in told
    assert told["buildx.build.provenance"]["buildType"] == "https://mobyproject.org/buildkit@v1"
    assert told["image.name"] == "docker.io/library/attested:2"
    assert store.docker("run", "--rm", "attested:2", "cat", "/file").stdout == "small\n"


@pytest.mark.parametrize(
    ("attestation", "message"),
    [
        ("type=foo", 'unknown attestation type "foo"'),
        ("type=provenance,mode=bad", 'invalid mode "bad"'),
        ("type=provenance,version=v3", "invalid provenance SLSA version: v3"),
    ],
)
def test_attestations_that_are_not_known(
    store: Daemon, context: Path, attestation: str, message: str
) -> None:
    done = store.docker("build", "--attest", attestation, str(context), check=False)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("type=image,compression=foo", "unsupported compression type foo"),
        ("type=image,oci-mediatypes=maybe", "non-bool value specified for oci-mediatypes"),
    ],
)
def test_options_that_are_not_known(store: Daemon, context: Path, output: str, message: str) -> None:
    done = store.docker("build", "-o", output, str(context), check=False)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize("kind", ["zstd", "uncompressed", "gzip"])
def test_compressions(store: Daemon, running: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out.tar"
    build(store, running, "-o", f"type=oci,dest={path},compression={kind},force-compression=true")
    found = blobs(path)
    (top,) = found[""]["manifests"]
    suffix = {"zstd": "+zstd", "uncompressed": "", "gzip": "+gzip"}[kind]
    types = {each["mediaType"] for each in found[top["digest"]]["layers"]}
    assert types == {f"application/vnd.oci.image.layer.v1.tar{suffix}"}


def test_annotations(store: Daemon, context: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.tar"
    wished = {
        "manifest:all": "1",
        "manifest[linux/arm64]:arm": "2",
        "manifest-descriptor:described": "3",
        "index:index": "4",
    }
    flags = [f"--annotation={key}={value}" for key, value in wished.items()]
    build(store, context, "--platform", BOTH, "-o", f"type=oci,dest={path}", *flags)
    found = blobs(path)
    index = found[found[""]["manifests"][0]["digest"]]
    assert index["annotations"] == {"index": "4"}
    assert [each["annotations"] for each in index["manifests"]] == [{"described": "3"}] * 2
    notes = [found[each["digest"]]["annotations"] for each in index["manifests"]]
    assert notes == [{"all": "1"}, {"all": "1", "arm": "2"}]


def test_a_layout(store: Daemon, context: Path, tmp_path: Path) -> None:
    """`tar=false`: a directory; and one is a context."""
    out = tmp_path / "layout"
    build(store, context, "-o", f"type=oci,dest={out},tar=false,name=laid:1")
    (top,) = json.loads((out / "index.json").read_text())["manifests"]
    manifest = json.loads((out / f"blobs/sha256/{top['digest'].removeprefix('sha256:')}").read_text())
    config = manifest["config"]["digest"].removeprefix("sha256:")
    assert "ARCH=amd64" in json.loads((out / f"blobs/sha256/{config}").read_text())["config"]["Env"]
    (context / "Dockerfile").write_text("FROM base\nENV MORE=1\n")
    flag = f"--build-context=base=oci-layout://{out}@{top['digest']}"
    build(store, context, flag, "-t", "laid:2")
    assert {"ARCH=amd64", "MORE=1"} <= set(inspected(store, "laid:2")["Config"]["Env"])


def exported(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The record in a bundle, and its trace: one JSON value after the other."""
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isreg()}
        data = {name.rpartition("/")[2]: file.read() for name, file in files.items() if file is not None}
    (top,) = json.loads(data["index.json"])["manifests"]
    manifest = json.loads(data[top["digest"].removeprefix("sha256:")])
    record = json.loads(data[manifest["config"]["digest"].removeprefix("sha256:")])
    kinds = {each["mediaType"]: each["digest"].removeprefix("sha256:") for each in manifest["layers"]}
    assert {"application/vnd.buildkit.status.v0", "application/vnd.buildkit.otlp.json.v0"} <= set(kinds)
    text, spans = data[kinds["application/vnd.buildkit.otlp.json.v0"]].decode().strip(), []
    while text:
        span, end = json.JSONDecoder().raw_decode(text)
        spans.append(span)
        text = text[end:].strip()
    return record, spans


def test_records(store: Daemon, running: Path, tmp_path: Path, peer: bool) -> None:
    """`docker buildx history`: what was built, how it went, what it told."""
    build(store, running, "-t", "recorded", "--build-arg=V=3")
    (running / "Dockerfile").write_text("FROM busybox\nRUN echo before; exit 3\n")
    assert store.docker("build", str(running), check=False).returncode == 1

    def history(*words: str) -> str:
        done = store.docker("buildx", "history", *words)
        return done.stdout + done.stderr

    refs = history("ls", "--format={{.Ref}} {{.Status}}").splitlines()[:2]
    assert [each.split()[1] for each in refs] == ["Error", "Completed"]
    failed, good = (each.split()[0] for each in refs)
    assert history("ls", "--filter=status=error", "--format={{.Ref}}").split()[0] == failed
    told = json.loads(history("inspect", "--format=json", good))
    assert told["Status"] == "completed"
    assert told["BuildArgs"] == [{"Name": "V", "Value": "3"}]
    assert told["NumCompletedSteps"] == told["NumTotalSteps"] > 3
    assert told["Materials"][0]["URI"] == "pkg:docker/busybox@latest?platform=linux%2Famd64"
    types = {each["Type"] for each in told["Attachments"]}
    assert "https://slsa.dev/provenance/v0.2" in types
    assert "told 3" in history("logs", good)
    assert json.loads(history("inspect", "attachment", "--type=provenance", good))["builder"] == {"id": ""}
    told = json.loads(history("inspect", "--format=json", failed))
    assert told["Status"] == "failed"
    assert "exit code: 3" in told["Error"]["Message"]
    assert ">>> RUN echo before" in history("inspect", failed)
    bundle = tmp_path / "record.dockerbuild"
    history("export", "--finalize", "-o", str(bundle), failed)
    record, spans = exported(bundle)
    assert record["Ref"] == failed
    steps = {span["Name"]: span for span in spans}
    step = steps["[2/2] RUN echo before; exit 3"]
    assert step["Status"]["Code"] == 1
    assert {each["SpanContext"]["TraceID"] for each in spans} == {step["SpanContext"]["TraceID"]}
    if peer:
        return  # dockerd 28.5 may die of a removal that follows at once
    history("rm", good)
    assert good not in history("ls", "--format={{.Ref}}").split()
    assert store.docker("buildx", "history", "inspect", good, check=False).returncode == 1
    history("rm", "--all")
    assert not history("ls", "--format={{.Ref}}").split()


def test_materials_of_packages(store: Daemon, running: Path, tmp_path: Path, peer: bool) -> None:
    """`--sbom`: dockerd needs a scanner from a registry."""
    if peer:
        pytest.skip("dockerd has no scanner of its own")
    (running / "status").write_text("Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.2\n")
    (running / "Dockerfile").write_text("FROM busybox\nCOPY status /var/lib/dpkg/status\n")
    path = tmp_path / "out.tar"
    build(store, running, "--sbom=true", "-o", f"type=oci,dest={path}")
    statements = [each for each in blobs(path).values() if each.get("predicateType")]
    (found,) = statements
    assert found["predicateType"] == "https://spdx.dev/Document"
    assert found["predicate"]["packages"][0]["name"] == "zlib1g"


SCAN = """#!/bin/sh
set -e
test -f "$BUILDKIT_SCAN_SOURCE/file"
! touch "$BUILDKIT_SCAN_SOURCE/written" 2>/dev/null
touch /tmp/here
extras=""
for each in ${BUILDKIT_SCAN_SOURCE_EXTRAS:+"$BUILDKIT_SCAN_SOURCE_EXTRAS"/*}; do extras="$extras $(basename "$each")"; done
printf '{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","subject":[],"predicate":{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"%s%s"}}' "$BUILDKIT_SCAN_GREETING" "$extras" > "$BUILDKIT_SCAN_DESTINATION/sbom.spdx.json"
"""


@pytest.mark.parametrize("extras", ["", "context and stage"])
def test_a_scanner_that_is_an_image(store: Daemon, running: Path, tmp_path: Path, extras: str) -> None:
    """It finds the result below /run/src/core, what else is to be scanned beside it, and writes statements to /run/out."""
    (running / "scan").write_text(SCAN)
    (running / "scan").chmod(0o755)
    dockerfile = running / "Dockerfile.scan"
    dockerfile.write_text('FROM busybox\nCOPY scan /scan\nENTRYPOINT ["/scan"]\n')
    build(store, running, "-f", str(dockerfile), "-t", "scanner:1")
    path = tmp_path / "out.tar"
    asked = "ARG BUILDKIT_SBOM_SCAN_CONTEXT=true\nARG BUILDKIT_SBOM_SCAN_STAGE=true\n" if extras else ""
    (running / "Dockerfile").write_text(
        f"{asked}FROM busybox AS one\n{asked}COPY file /made\nFROM busybox\nCOPY --from=one /made /file\n"
    )
    sbom = "--sbom=generator=docker.io/library/scanner:1,GREETING=hello"
    build(store, running, sbom, "-o", f"type=oci,dest={path}")
    (found,) = [each for each in blobs(path).values() if each.get("predicateType")]
    expected = "hello sbom-context sbom-one" if extras else "hello"
    assert sorted(found["predicate"]["name"].split()) == sorted(expected.split())


def test_nothing_is_attested_that_was_not_asked_for(store: Daemon, context: Path, peer: bool) -> None:
    """buildx' own wish is kept in the record alone: the same build gives the same image."""
    if peer:
        pytest.skip("dockerd puts it into the image")
    store.docker("build", "-t", "quiet:1", str(context))
    done = subprocess.run(
        ["docker", "image", "inspect", "--format={{json .Descriptor}}", "quiet:1"],
        env=store.environment(),
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert b"image.index" not in done.stdout
