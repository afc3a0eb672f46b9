"""Caches that travel: what one engine's build exports, an engine with an empty data root builds from, and runs no step.

With `--peer` both engines are dockerds with containerd's image store, which has BuildKit's exports.
"""

import hashlib
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import host
from tests.support.daemons import Daemon, Dockerd, Knarrd
from tests.support.registries import knarr_registry

pytestmark = pytest.mark.timeout(300)

CONFIG = "application/vnd.buildkit.cacheconfig.v0"
DOCKERFILE = """FROM busybox AS build
COPY source /source
RUN cat /source >/made && head -c 300000 /dev/urandom >/big

FROM busybox
RUN head -c 100 /dev/urandom >/first
COPY --from=build /made /made
RUN --mount=type=cache,id=things,target=/things cat /made >>/things/seen; head -c 100 /dev/urandom >/last
"""
STEPS = ("COPY source", "RUN cat", "RUN head", "COPY --from", "RUN --mount")


class WithStore(Dockerd):
    """dockerd with containerd's image store."""

    def _config(self) -> Path:
        path = super()._config()
        value = {**json.loads(path.read_text()), "features": {"containerd-snapshotter": True}}
        path.write_text(json.dumps(value))
        return path


@pytest.fixture(scope="module")
def near(peer: bool, running_daemon: Daemon, busybox: Path) -> Iterator[Daemon]:
    """The engine that exports."""
    if not peer:
        yield running_daemon
        return
    daemon = WithStore("ktcaches0", "10.231.1.0/24")
    try:
        daemon.start()
        daemon.give_busybox(busybox)
        yield daemon
    finally:
        daemon.close()


@pytest.fixture(scope="module")
def far(peer: bool, busybox: Path) -> Iterator[Daemon]:
    """The engine that imports, on a data root of its own."""
    make = WithStore if peer else Knarrd
    daemon = make("ktcaches1", "10.231.2.0/24")
    try:
        daemon.start()
        daemon.give_busybox(busybox)
        yield daemon
    finally:
        daemon.close()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry of its own."""
    with knarr_registry(tmp_path_factory.mktemp("registry")) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """Two stages; what the second takes of the first is small."""
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "Dockerfile").write_text(DOCKERFILE)
    (directory / "source").write_text("the source\n")
    return directory


@pytest.fixture(autouse=True)
def emptied(near: Daemon, far: Daemon) -> None:
    """No build's leavings before."""
    _empty(near, far)


def _empty(*daemons: Daemon) -> None:
    for daemon in daemons:
        _, images = daemon.api("GET", "/images/json")
        for name in (tag for image in images for tag in image["RepoTags"] or ()):
            if re.match(r"(\S+/)?built(/|:)", name):
                daemon.api("DELETE", f"/images/{name}?force=1")
        daemon.api("POST", "/build/prune?all=1")


def build(
    daemon: Daemon, context: Path, *words: str, tag: str = "built", check: bool = True
) -> dict[str, str]:
    """What became of each step, by its name: CACHED, DONE, or what went wrong."""
    done = daemon.docker("build", "--progress=plain", "-t", tag, *words, str(context), check=check)
    return told(done.stderr)


def told(text: str) -> dict[str, str]:
    """The same, from what a client printed."""
    names: dict[str, str] = {}
    found: dict[str, str] = {"": text}
    for number, rest in re.findall(r"^#(\d+) (.*)$", text, re.MULTILINE):
        names.setdefault(number, rest)
        if rest.startswith(("CACHED", "DONE", "ERROR", "CANCELED")) and found.get(names[number]) != "CACHED":
            found[names[number]] = rest
    return found


def ran(steps: Mapping[str, str]) -> list[str]:
    """The Dockerfile's steps that were not cached, as STEPS has them."""
    return [
        word
        for word in STEPS
        if any(f"] {word}" in name and not how.startswith("CACHED") for name, how in steps.items())
    ]


def said(daemon: Daemon, path: str) -> str:
    """A file of the built image."""
    return daemon.docker("run", "--rm", "built", "cat", path).stdout


def sums(daemon: Daemon) -> str:
    """What the built image's files are."""
    return daemon.docker("run", "--rm", "built", "md5sum", "/first", "/made", "/last").stdout


def fetched(registry: str, path: str) -> tuple[str, Any, bytes]:
    """A manifest or a blob: its media type, its JSON, its bytes."""
    accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
    accept += ", application/vnd.docker.distribution.manifest.list.v2+json"
    request = urllib.request.Request(f"http://{registry}/v2/{path}", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        data = answer.read()
        return answer.headers["Content-Type"], json.loads(data), data


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ("mode=max,compression=zstd,force-compression=true", "application/vnd.oci.image.manifest.v1+json"),
        ("mode=min,oci-mediatypes=false", "application/vnd.docker.distribution.manifest.list.v2+json"),
    ],
)
def test_a_registry_carries_a_cache(
    near: Daemon, far: Daemon, registry: str, context: Path, options: str, kind: str
) -> None:
    """Each form of it; and the cache is as BuildKit lays one out."""
    name = f"caches/{hashlib.sha256(options.encode()).hexdigest()[:8]}"
    ref = f"{registry}/{name}:one"
    steps = build(near, context, "--cache-to", f"type=registry,ref={ref},{options}")
    assert steps["exporting cache to registry"].startswith("DONE")
    found, manifest, _ = fetched(registry, f"{name}/manifests/one")
    assert found == manifest["mediaType"] == kind
    check_layout(registry, name, manifest)
    steps = build(far, context, "--cache-from", f"type=registry,ref={ref}")
    assert f"importing cache manifest from {ref}" in steps
    assert f"inferred cache manifest type: {kind}" in steps[""]
    assert ran(steps) == []
    assert sums(far) == sums(near)


def check_layout(registry: str, name: str, manifest: Mapping[str, Any]) -> None:
    """The manifest names a configuration whose layers it has, each with its DiffID."""
    blobs = manifest.get("layers") or [each for each in manifest["manifests"] if each["mediaType"] != CONFIG]
    entry = manifest.get("config") or manifest["manifests"][-1]
    assert entry["mediaType"] == CONFIG
    _, config, data = fetched(registry, f"{name}/blobs/{entry['digest']}")
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == entry["digest"]
    assert {each["blob"] for each in config["layers"]} == {each["digest"] for each in blobs}
    assert all(each["annotations"]["containerd.io/uncompressed"].startswith("sha256:") for each in blobs)
    for layer in config["layers"]:
        assert -1 <= layer.get("parent", 0) < len(config["layers"])
    for record in config["records"]:
        for links in record.get("inputs", []):
            assert links
            assert all(0 <= link.get("link", 0) < len(config["records"]) for link in links)


def test_only_what_is_needed_is_fetched(near: Daemon, far: Daemon, registry: str, context: Path) -> None:
    """A stage of which a file is taken stays where it is; what came is told of and pruned as one's own."""
    ref = f"{registry}/caches/lazy:one"
    build(near, context, "--cache-to", f"type=registry,ref={ref},mode=max")
    build(far, context, "--cache-from", f"type=registry,ref={ref}")
    kinds = [json.loads(line) for line in far.docker("buildx", "du", "--format", "json").stdout.splitlines()]
    assert all(size_of(each["Size"]) < 300_000 or "import" in str(each) or each["Shared"] for each in kinds)
    assert ran(build(far, context)) == []
    far.docker("buildx", "prune", "-af")
    assert ran(build(far, context)) == list(STEPS)


def size_of(text: str) -> float:
    """Bytes of `1.5MB`."""
    number, unit = re.fullmatch(r"([\d.]+)([kMG]?B)\*?", text).groups()  # type: ignore[union-attr]
    return float(number) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


def test_a_change_runs_what_depends_on_it(
    near: Daemon, far: Daemon, registry: str, context: Path, peer: bool
) -> None:
    """Of a stage that is known by its name only, too; dockerd's BuildKit begins much of it again."""
    ref = f"{registry}/caches/change:one"
    build(near, context, "--cache-to", f"type=registry,ref={ref},mode=min")
    file = context / "Dockerfile"
    file.write_text(file.read_text().replace("COPY --from=build /made", "COPY --from=build /source"))
    steps = build(far, context, "--cache-from", f"type=registry,ref={ref}")
    assert peer or "RUN head" not in ran(steps)
    assert said(far, "/made") == "the source\n"
    (context / "source").write_text("changed\n")
    steps = build(far, context, "--cache-from", f"type=registry,ref={ref}")
    assert peer or ran(steps) == ["COPY source", "RUN cat", "COPY --from", "RUN --mount"]
    assert said(far, "/made") == "changed\n"


def test_a_directory_carries_a_cache(near: Daemon, far: Daemon, context: Path, tmp_path: Path) -> None:
    """An OCI layout of blobs that are what their names say; an export onto it adds what is new."""
    where = tmp_path / "cache"
    build(near, context, "--cache-to", f"type=local,dest={where},mode=max")
    assert json.loads((where / "index.json").read_text())["manifests"][0]["mediaType"].startswith(
        "application/"
    )
    blobs = {path.name: path.read_bytes() for path in (where / "blobs/sha256").iterdir()}
    assert all(hashlib.sha256(data).hexdigest() == name for name, data in blobs.items())
    assert not any((where / "ingest").glob("*"))
    steps = build(far, context, "--cache-from", f"type=local,src={where}")
    assert any(re.fullmatch(r"importing cache manifest from local:\d+", name) for name in steps)
    assert ran(steps) == []
    assert sums(far) == sums(near)
    (context / "source").write_text("changed\n")
    build(far, context, "--cache-to", f"type=local,dest={where},mode=max,tag=other")
    tags = [each["annotations"] for each in json.loads((where / "index.json").read_text())["manifests"]]
    assert {"latest", "other"} == {each["org.opencontainers.image.ref.name"] for each in tags}
    assert {path.name for path in (where / "blobs/sha256").iterdir()} > set(blobs)


def test_an_image_carries_its_cache(
    near: Daemon, far: Daemon, registry: str, context: Path, peer: bool
) -> None:
    """By `type=inline` and by the build argument, which are one; the import names the image alone."""
    ref = f"{registry}/built/inline:one"
    build(near, context, "--cache-to", "type=inline", "--push", tag=ref)
    first = near.inspect(ref)["Id"]
    near.docker("rmi", "-f", ref)
    if not peer:  # whose images are of their moment
        build(near, context, "--build-arg", "BUILDKIT_INLINE_CACHE=1")
        assert near.inspect("built")["Id"] == first
        build(near, context)
        assert near.inspect("built")["Id"] != first
    steps = build(far, context, "--cache-from", ref)
    assert f"importing cache manifest from {ref}" in steps
    assert ran(steps) == []
    if not peer:
        assert sums(far) == sums(near)


def test_an_image_that_is_here_carries_its_cache(near: Daemon, context: Path, peer: bool) -> None:
    """No registry is asked, as with dockerd's own store."""
    if peer:
        pytest.skip("containerd's image store asks the registry")
    build(near, context, "--cache-to", "type=inline", tag="built/own")
    near.docker("buildx", "prune", "-f")
    near.docker("buildx", "prune", "-af", "--filter", "type=source.local")
    steps = build(near, context, "--cache-from", "built/own")
    assert ran(steps) == []


def test_other_kinds_are_refused_by_name(near: Daemon, context: Path) -> None:
    """As an export; an import is a warning. So is what is wrong with the words."""
    steps = build(near, context, "--cache-to", "type=azblob,name=x,account_url=y", check=False)
    assert 'unknown cache exporter: "azblob"' in steps[""]
    words = "type=registry,ref=a,image-manifest=true,oci-mediatypes=false"
    steps = build(near, context, "--cache-to", words, check=False)
    assert "invalid configuration for remote cache, OCI mediatypes are required" in steps[""]
    steps = build(near, context, "--cache-from", "type=azblob,name=x,account_url=y")
    assert "ERROR: unknown cache importer: azblob" in steps.values()


def test_a_cache_that_is_not_there(near: Daemon, context: Path) -> None:
    """The build goes on without it; but where it should go is asked for."""
    steps = build(near, context, "--cache-from", "type=registry,ref=127.0.0.1:1/none")
    assert steps["importing cache manifest from 127.0.0.1:1/none"].startswith(
        "ERROR: failed to configure registry cache importer: "
    )
    target = "type=registry,ref=127.0.0.1:1/none"
    done = near.docker("build", "--cache-to", target, str(context), check=False)
    assert done.returncode == 1
    assert "error writing layer blob: " in done.stderr
    steps = build(near, context, "--cache-to", f"{target},ignore-error=true")
    assert steps["exporting cache to registry"].startswith("ERROR: ")


def test_a_spoiled_cache_is_no_cache(
    near: Daemon, far: Daemon, context: Path, tmp_path: Path, peer: bool
) -> None:
    """Its configuration, then a layer of it: nothing is taken that is not what its name says."""
    where = tmp_path / "cache"
    build(near, context, "--cache-to", f"type=local,dest={where},mode=max")
    blobs = {path: path.read_bytes() for path in (where / "blobs/sha256").iterdir()}
    config = next(path for path, data in blobs.items() if data.startswith(b'{"layers":[{"blob"'))
    config.write_bytes(config.read_bytes().replace(b"sha256:", b"sha256;"))
    steps = build(far, context, "--cache-from", f"type=local,src={where}")
    if peer:  # which takes it as it comes
        return
    assert any(how.startswith("ERROR") for name, how in steps.items() if name.startswith("importing cache"))
    assert ran(steps) == list(STEPS)
    config.write_bytes(blobs[config])
    layers = [path for path, data in blobs.items() if data.startswith(b"\x1f\x8b") and len(data) < 10_000]
    for path in layers:
        path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    _empty(far)
    build(far, context, "--cache-from", f"type=local,src={where}")
    assert said(far, "/made") == "the source\n"


def test_cache_mounts_go_along(near: Daemon, far: Daemon, registry: str, context: Path, peer: bool) -> None:
    """Where both ends ask for it; and never over what is there."""
    if peer:
        pytest.skip("BuildKit leaves cache mounts where they are")
    ref = f"{registry}/caches/mounts:one"
    steps = build(near, context, "--cache-to", f"type=registry,ref={ref},mounts=true")
    assert "packing cache mount /things" in steps[""]
    look = context.parent / "look"
    look.mkdir()
    (look / "Dockerfile").write_text(
        "FROM busybox\nRUN --mount=type=cache,id=things,target=/t cat /t/* >/seen; echo mine >/t/seen\n"
    )
    build(far, look, "--cache-from", f"type=registry,ref={ref}", "--no-cache")
    assert said(far, "/seen") == ""
    _empty(far)
    steps = build(far, look, "--cache-from", f"type=registry,ref={ref},mounts=true", "--no-cache")
    assert "unpacking cache mount /things" in steps[""]
    assert said(far, "/seen") == "the source\n"
    build(far, look, "--cache-from", f"type=registry,ref={ref},mounts=true", "--no-cache")
    assert said(far, "/seen") == "mine\n"
    assert ran(build(far, context, "--cache-from", f"type=registry,ref={ref}")) == []


def files(daemon: Daemon) -> set[str]:
    """Blobs, layers and builds' directories on the daemon's disk, but for the records of builds."""
    daemon.docker("buildx", "history", "rm", "--all", check=False)
    names = ("blobs", "ingest", "layers", "build/mounts", "build/cachemounts")
    found: set[str] = set()
    for name in names:
        for path in daemon.data_root.rglob(name):
            found |= {str(each) for each in path.rglob("*") if each.is_file()}
    return found


def test_what_fails_leaves_nothing(
    near: Daemon, far: Daemon, registry: str, context: Path, peer: bool
) -> None:
    """An export that breaks off, and a build that fails after an import."""
    if peer:
        pytest.skip("looks into knarrd's directories")
    ref = f"{registry}/caches/undo:one"
    build(near, context, "--cache-to", f"type=registry,ref={ref},mode=max")
    before = files(near)
    build(near, context, "--cache-to", "type=registry,ref=127.0.0.1:1/none,mounts=true", check=False)
    host.settle(lambda: files(near) - before)
    file = context / "Dockerfile"
    file.write_text(f"{file.read_text()}RUN false\n")
    before = files(far)
    build(far, context, "--cache-from", f"type=registry,ref={ref}", check=False)
    far.docker("buildx", "prune", "-af")
    host.settle(lambda: files(far) - before)


def test_bake_and_compose(near: Daemon, far: Daemon, registry: str, context: Path, tmp_path: Path) -> None:
    """`cache-to`, `cache-from` of a bake file; `cache_to`, `cache_from` of a project."""
    ref = f"{registry}/caches/bake:one"
    target = {
        "context": str(context),
        "tags": ["built:bake"],
        "cache-to": [f"type=registry,ref={ref},mode=max"],
        "output": ["type=image"],
    }
    bake = tmp_path / "bake.json"
    bake.write_text(json.dumps({"target": {"default": target}}))
    client(near, "buildx", "bake", "-f", str(bake))
    project = tmp_path / "compose.yaml"
    project.write_text(
        json.dumps(
            {
                "name": "caches",
                "services": {
                    "one": {
                        "image": "built:compose",
                        "build": {
                            "context": str(context),
                            "cache_from": [f"type=registry,ref={ref}"],
                            "cache_to": [f"type=local,dest={tmp_path / 'local'}"],
                        },
                    }
                },
            }
        )
    )
    assert ran(told(client(far, "compose", "-f", str(project), "build"))) == []
    assert (tmp_path / "local/index.json").exists()


def client(daemon: Daemon, *words: str) -> str:
    """What a client prints of its progress."""
    done = subprocess.run(
        ["docker", *words],
        env={**daemon.environment(), "BUILDKIT_PROGRESS": "plain", "BUILDX_BAKE_ENTITLEMENTS_FS": "0"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr + done.stdout


def test_the_classic_builders_sources(near: Daemon, context: Path, peer: bool) -> None:
    """`cachefrom` of POST /build: only these images' steps count."""
    if peer:
        pytest.skip("dockerd's classic builder has its own store")
    (context / "Dockerfile").write_text(
        "FROM busybox\nENV A=b\nRUN head -c 9 /dev/urandom >/a\nRUN echo >/b\n"
    )

    def used(*words: str) -> int:
        done = subprocess.run(
            ["docker", "build", *words, str(context)],
            env={**near.environment(), "DOCKER_BUILDKIT": "0"},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        return done.stdout.count("Using cache")

    assert used("-t", "built") == 1
    assert used("--cache-from", "built", "-t", "built:again") == 3
    assert used("--cache-from", "built:none", "-t", "built:none") == 0
    assert used("--cache-from", "built", "-t", "built:again") in (0, 1, 3)


def test_both_engines_read_each_others_caches(
    near: Daemon, registry: str, context: Path, peer: bool, tmp_path: Path, busybox: Path
) -> None:
    """Their keys differ, so that no step is saved; but neither finds anything wrong."""
    if not peer:
        pytest.skip("wants dockerd beside knarrd")
    ours = Knarrd("ktcaches2", "10.231.3.0/24")
    try:
        ours.start()
        ours.give_busybox(busybox)
        for source, target in ((ours, near), (near, ours)):
            for options in ("mode=max", "mode=max,image-manifest=false"):
                ref = f"{registry}/caches/{source.name}:{len(options)}"
                build(source, context, "--cache-to", f"type=registry,ref={ref},{options}")
                steps = build(target, context, "--cache-from", f"type=registry,ref={ref}", "--no-cache")
                assert steps[f"importing cache manifest from {ref}"].startswith("DONE")
            where = tmp_path / source.name
            build(source, context, "--cache-to", f"type=local,dest={where}")
            steps = build(target, context, "--cache-from", f"type=local,src={where}")
            found = [how for name, how in steps.items() if name.startswith("importing cache manifest")]
            assert [how.split()[0] for how in found] == ["DONE"]
            image = f"{registry}/built/{source.name}:one"
            build(source, context, "--cache-to", "type=inline", "--push", tag=image)
            steps = build(target, context, "--cache-from", image)
            assert steps[f"importing cache manifest from {image}"].startswith("DONE")
    finally:
        ours.close()
