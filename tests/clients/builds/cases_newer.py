"""What BuildKit 0.32's language has and dockerd 28 has not, or has as something else. The answers are knarr's own, looked over by hand.

`--record-builds` without `--peer` writes them anew.
"""

from collections.abc import Mapping

from tests.clients.builds.case import Case, File
from tests.clients.builds.cases_adding import TREE


def _new(
    name: str,
    *lines: str,
    files: Mapping[str, str | File] | None = None,
    args: tuple[str, ...] = (),
) -> Case:
    return Case(f"newer/{name}", "\n".join(("FROM busybox", *lines)) + "\n", {**TREE, **(files or {})}, args)


CASES = (
    _new("parents", "COPY --parents a.txt d/e/*.txt /x/"),
    _new("parents-deep", "COPY --parents ./d/**/*.txt /x/"),
    _new("parents-from-a-point", "COPY --parents d/./e/*.txt /x/"),
    _new("parents-directory", "COPY --parents d/e /x/"),
    _new("parents-of-a-stage", "RUN mkdir -p /p/q && touch /p/q/r", "FROM busybox AS b", "COPY --parents --from=0 /p/q/r /x/"),
    _new("parents-nothing", "COPY --parents none/*.txt /x/"),
    _new("parents-modes", "COPY --parents --chown=3:4 --chmod=0700 d/e/one.txt /x/", files={"d/e/": File(mode=0o711)}),
    _new("exclude-with-parents", "COPY --parents --exclude=**/*.md d /x/"),
    _new("parents-is-boolean", "COPY --parents=maybe a.txt /x/"),
    _new("parents-on-add", "ADD --parents a.txt /x/"),
    _new("link-is-a-layer-of-its-own", "RUN mkdir /y && ln -s /y /x", "COPY --link a.txt /x/"),
    _new("link-knows-no-names", "COPY --link --chown=daemon a.txt /x"),
    _new("security-sandbox", "RUN --security=sandbox mount -t tmpfs x /tmp 2> /dev/null || echo refused > /x"),
    _new("security-insecure", "RUN --security=insecure true"),
    _new("security-insecure-asked-for", "RUN --security=insecure true", args=("--allow", "security.insecure")),
    _new("security-bad", "RUN --security=what true"),
    _new("device-that-is-not-there", "RUN --device=example.org/thing=one true"),
    _new("device-that-must-be-there", "RUN --device=example.org/thing=one,required true"),
    _new("onbuild-maintainer", "ONBUILD MAINTAINER me"),
    _new("epoch-bad", "RUN true", args=("--build-arg", "SOURCE_DATE_EPOCH=yesterday")),
    _new("context-of-an-archive", "COPY --from=o /context /x.tar.gz", args=("--build-context", "o=http://{web}/tree.tar.gz")),
    _new("context-of-a-file", "COPY --from=o / /x/", args=("--build-context", "o=http://{web}/file.txt")),
    _new("context-of-a-file-is-a-root", "FROM o", "COPY a.txt /x", args=("--build-context", "o=http://{web}/file.txt")),
    _new("context-of-nothing-on-the-web", "COPY --from=o / /x/", args=("--build-context", "o=http://{web}/none")),
    _new("capability-of-a-context", "COPY c /x", files={"c": File(b"1", 0o755, capable=True)}),
    _new("git-checksum", "ADD --checksum=a4db61266b8c7c999a0024e1d6caae4446da8857 http://{web}/repo.git#v1 /x"),
    _new("git-checksum-wrong", "ADD --checksum=a4db61266b8c7c999a0024e1d6caae4446da8857 http://{web}/repo.git#main /x"),
    _new("git-checksum-short", "ADD --checksum=a4db61266b8c http://{web}/repo.git#v1 /x"),
    _new("git-checksum-bad", "ADD --checksum=what http://{web}/repo.git#v1 /x"),
    _new("syntax-argument", "ENV A=1", args=("--build-arg", "BUILDKIT_SYNTAX=docker/dockerfile:1")),
    _new("syntax-argument-of-another", "ENV A=1", args=("--build-arg", "BUILDKIT_SYNTAX=example.org/other")),
    _new("epoch-of-the-context", "ARG SOURCE_DATE_EPOCH", "RUN echo x$SOURCE_DATE_EPOCH > /x", args=("--build-arg", "SOURCE_DATE_EPOCH=context")),
    _new("epoch-of-nothing", "RUN true", args=("--build-arg", "SOURCE_DATE_EPOCH=")),
    Case("newer/syntax", "# syntax=docker/dockerfile:1.7-labs@sha256:" + "0" * 64 + "\nFROM busybox\nENV A=1\n"),
    Case("newer/syntax-of-another", "# syntax=example.org/other:1\nFROM busybox\n"),
    Case("newer/no-text", "", {"Dockerfile": File(b"FROM busybox\nR\xffN x\n")}),
    Case("newer/two-byte-characters", "", {"Dockerfile": File("FROM busybox\n".encode("utf-16"))}),
)  # fmt: skip
