"""Hostile Dockerfiles, contexts and repositories: what a build gets of its host is nothing."""

import functools
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.daemons import Knarrd

AUTHOR = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of the host, which a build must neither see nor change."""
    made = tmp_path / "outside"
    (made / "below").mkdir(parents=True)
    (made / "below/empty").touch()
    (made / "below/place").mkdir()
    (made / "secret").write_text("the host's")
    return made


def facts(outside: Path) -> dict[str, str]:
    """All of it."""
    found = {str(each.relative_to(outside)): each for each in outside.rglob("*")}
    return {name: each.read_text() if each.is_file() else "" for name, each in found.items()}


UNTOUCHED = {"below": "", "below/empty": "", "below/place": "", "secret": "the host's"}


def build(knarrd: Knarrd, text: str, context: Path | None = None) -> str:
    """What `knarr build` says: of steps that print, what they printed."""
    words = ("-f-", str(context)) if context else ("-",)
    done = knarrd.knarr("build", "--no-cache", "--progress=plain", *words, data=text.encode(), check=False)
    return done.stdout + done.stderr


# A stage whose links lead to the host, as far as names go.
STAGE = """
FROM busybox AS evil
RUN ln -s {host} /absolute && ln -s ../../../../../../../../../../..{host} /up && ln -s /proc/1/root{host} /magic \
 && mkdir /ways && ln -s {host}/.. /ways/parent
FROM busybox
"""


def test_cve_2024_23651_the_source_of_a_mount_is_in_its_stage(knarrd: Knarrd, outside: Path) -> None:
    """And 2024-1753 (buildah): a link on the way to the source was followed on the host."""
    for source in ("/absolute", "/up", "/magic", "/ways/parent/outside", f"/../..{outside}"):
        for kind in ("bind,from=evil,rw", "cache,from=evil,id=one"):
            mount = f"--mount=type={kind},source={source},target=/m"
            step = f"RUN {mount} cat /m/secret; touch /m/planted; echo do''ne\n"
            assert "the host's" not in build(knarrd, STAGE.format(host=outside) + step), (kind, source)
    assert facts(outside) == UNTOUCHED


def test_cve_2024_9675_a_caches_name_is_no_path(knarrd: Knarrd, outside: Path) -> None:
    """buildah: a cache's id, and its source, were joined to where the caches are."""
    for wishes in (
        (f"id=../../../../..{outside}", f"id={outside}", "id=.."),
        (f"id=one,source=../..{outside}",),
    ):
        steps = "".join(
            f"RUN --mount=type=cache,{wish},target=/m cat /m/secret; touch /m/planted; ls -A /m\n"
            for wish in wishes
        )
        assert "the host's" not in build(knarrd, f"FROM busybox\n{steps}")
    assert facts(outside) == UNTOUCHED


def test_cve_2024_23652_places_of_mounts_are_cleared_in_the_steps_root(knarrd: Knarrd, outside: Path) -> None:
    """What was made for a mount is taken away after the step, which meanwhile has put a link in its way."""
    swap = f"mv /below /gone && ln -s {outside}/below /below"
    text = ""
    for kind in ("tmpfs", "bind,from=busybox,source=/bin", "cache"):
        text += f"FROM busybox\nRUN --mount=type={kind},target=/below/place {swap}\n"
        said = build(knarrd, text)
        assert "DONE" in said.partition("RUN")[2], said
    build(knarrd, f"FROM busybox\nRUN --mount=type=secret,id=none,target=/below/empty {swap} || true\n")
    assert facts(outside) == UNTOUCHED


def test_links_of_a_context_lead_nowhere(knarrd: Knarrd, outside: Path, tmp_path: Path) -> None:
    """COPY and mounts of the context, and of a stage: the host's file of that name is not what is copied."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "plain").touch()
    (context / "file").symlink_to(outside / "secret")
    (context / "tree").symlink_to(outside)
    for steps in (
        ("COPY file /got", "RUN --mount=type=bind,target=/m cat /m/file /m/tree/secret; true"),
        ("COPY tree/secret /got",),
        ("COPY tree/ /got/",),
        ("RUN --mount=type=bind,source=tree,target=/m cat /m/secret",),
        ("COPY --from=evil /absolute/secret /got",),
        ("COPY --from=evil /ways/parent/outside/ /got/",),
    ):
        text = "\n".join((STAGE.format(host=outside), *steps, "RUN cat /got /got/secret; true\n"))
        assert "the host's" not in build(knarrd, text, context), steps
    # Neither is a file laid down through one.
    text = f"{STAGE.format(host=outside)}COPY --from=evil / /\nCOPY plain /absolute/planted\nCOPY plain /up/\nADD plain /magic/x\n"
    build(knarrd, text, context)
    assert facts(outside) == UNTOUCHED


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Says nothing of what it serves."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """The address of one whose links lead to the host, and whose submodule is a directory there."""

    def git(where: Path, *words: str) -> None:
        subprocess.run(
            ["git", *words], cwd=where, env={**os.environ, **AUTHOR}, check=True, capture_output=True
        )

    secret, web, work = (tmp_path / name for name in ("secret", "web", "work"))
    for each in (secret, web, work, work / "real"):
        each.mkdir()
    (secret / "file").write_text("the host's")
    git(secret, "init", "-qb", "main")
    git(secret, "add", ".")
    git(secret, "commit", "-qm", "Secret")
    (work / "real/file").write_text("the repository's")
    (work / "absolute").symlink_to(secret)
    (work / "up").symlink_to("../" * 12 + str(secret).lstrip("/"))
    (work / "real/back").symlink_to(secret.parent)
    git(work, "init", "-qb", "main")
    git(work, "add", ".")
    git(work, "commit", "-qm", "First")
    git(work, "checkout", "-qb", "nested")
    git(work, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(secret), "inner")
    git(work, "commit", "-qm", "Second")
    git(web, "clone", "-q", "--bare", str(work), "r.git")
    git(web / "r.git", "update-server-info")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(web)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/r.git"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_cve_2026_33748_a_part_of_a_repository_is_inside_of_it(
    knarrd: Knarrd, repository: str, tmp_path: Path
) -> None:
    """BuildKit: `#ref:subdir` was joined to where the commit is, and a link there was followed; nor is a submodule the host's.
    And 2019-13139: a ref is no option of git's."""

    def added(part: str) -> str:
        out = tmp_path / sha256(part.encode()).hexdigest()
        text = f"FROM scratch\nADD {repository}#{part} /got/\n"
        words = ("build", "--no-cache", "-o", f"type=local,dest={out}", "-")
        done = knarrd.knarr(*words, data=text.encode(), check=False)
        found = sorted(each.name for each in out.rglob("*")) if out.exists() else []
        return " ".join(found) or done.stderr

    assert added("main:real") == "back file got"
    assert "levels of symbolic links" in added("main:absolute")
    assert "levels of symbolic links" in added("main:up")
    assert "levels of symbolic links" in added("main:real/back/secret")
    assert "no such file" in added("main:../secret")
    assert "transport 'file' not allowed" in added("nested")
    assert "invalid git ref" in added("--output=/x")
