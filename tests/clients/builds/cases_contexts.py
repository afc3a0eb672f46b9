"""Where files come from: ignore files, named contexts, contexts of the web, and what is no Dockerfile."""

from collections.abc import Mapping

from tests.clients.builds import web
from tests.clients.builds.case import Case, File

_TREE: Mapping[str, str | File] = {
    "a.txt": "a",
    "b.md": "b",
    "d/one.txt": "1",
    "d/two.md": "2",
    "d/e/three.txt": "3",
    "d/e/f/four.md": "4",
    ".hidden": "5",
}


def _ignore(name: str, *patterns: str) -> Case:
    text = "".join(f"{pattern}\n" for pattern in patterns)
    return Case(f"ignore/{name}", "FROM busybox\nCOPY . /x/\n", {**_TREE, ".dockerignore": text})


def _file(name: str, content: bytes, args: tuple[str, ...] = ()) -> Case:
    """A Dockerfile that is not text of ours."""
    return Case(f"file/{name}", "", {"Dockerfile": File(content)}, args)


def _named(
    name: str, *lines: str, args: tuple[str, ...], files: Mapping[str, str | File] | None = None
) -> Case:
    contexts = tuple(word for value in args for word in ("--build-context", value))
    return Case(f"context/{name}", "\n".join(lines) + "\n", files or {"o/f": "1", "o/g": "2"}, contexts)


CASES = (
    _ignore("directory", "d"),
    _ignore("directory-slash", "d/"),
    _ignore("leading-slash", "/d/e"),
    _ignore("one-level", "*/*.md"),
    _ignore("any-level", "**/*.md"),
    _ignore("middle", "d/**/*.md"),
    _ignore("end", "d/**"),
    _ignore("question", "d/?wo.md"),
    _ignore("class", "[ab].*"),
    _ignore("class-negated", "[^a].*"),
    _ignore("escaped", "\\a.txt", "\\!x"),
    _ignore("all-but", "*", "!a.txt", "!d/e"),
    _ignore("all-but-deep", "**", "!**/*.txt"),
    _ignore("last-one-counts", "!d/one.txt", "d/*.txt", "!d/one.txt", "d/one.*"),
    _ignore("dots", "./d/../a.txt", ".", "d/./e"),
    _ignore("white-space", "  a.txt  ", "\tb.md", "", "# d", " # d"),
    _ignore("mark-and-byte-order", "\ufeffa.txt", "! d", "!"),
    _ignore("carriage-returns", "a.txt\r", "d/e\r"),
    _ignore("hidden", ".*"),
    _ignore("dockerfile-itself", "Dockerfile", ".dockerignore"),
    _ignore("everything", "*"),
    _ignore("bad-class", "[a"),
    _ignore("bad-negation", "!"),
    _ignore("class-by-name", "[[:alpha:]]"),
    _ignore("backslash-at-the-end", "a\\"),
    _ignore("bad-range", "[b-a]"),
    Case("ignore/bad-range-of-one-file", "FROM busybox\nCOPY a.txt /x/\n", {**_TREE, ".dockerignore": "[b-a]\n"}),
    Case("ignore/bad-range-of-nothing", "FROM busybox\nRUN true\n", {**_TREE, ".dockerignore": "[b-a]\n"}),
    Case("ignore/bad-escape", "FROM busybox\nCOPY . /x/\n", {**_TREE, ".dockerignore": "a\\b*c?\n"}),
    Case("ignore/own-file", "", {**_TREE, "sub/x.Dockerfile": "FROM busybox\nCOPY . /x/\n", "Dockerfile": "",
                                 "sub/x.Dockerfile.dockerignore": "d\n", ".dockerignore": "a.txt\n"}, ("-f", "{context}/sub/x.Dockerfile")),
    Case("ignore/of-a-named-context", "FROM busybox\nCOPY --from=o . /x/\n", {"o/f": "1", "o/g": "2", "o/.dockerignore": "g\n"}, ("--build-context", "o={context}/o")),
    Case("ignore/does-not-hold-for-stages", "FROM busybox AS a\nRUN mkdir /d && touch /d/a.txt\nFROM busybox\nCOPY --from=a /d /x\n", {".dockerignore": "*\n"}),

    _file("empty", b""),
    _file("only-white-space", b" \n\t\n"),
    _file("no-newline", b"FROM busybox\nENV A=1"),
    _file("carriage-returns", b"FROM busybox\r\nRUN echo 1 \\\r\n > /x\r\nCOPY <<E /y\r\nhere\r\nE\r\n"),
    _file("invalid-utf-8", b"FROM busybox\nENV A=\xff\xfe B=1\nLABEL \xc3=2\n"),
    _file("zero-byte", b"FROM busybox\nENV A=a\x00b\n"),
    _file("binary", b"\x7fELF\x02\x01\x01" + bytes(range(256))),
    _file("long-line", b"FROM busybox\nENV A=" + b"x" * 60_000 + b"\n"),
    _file("line-too-long", b"FROM busybox\nENV A=" + b"x" * 70_000 + b"\n"),
    _file("too-big", b"FROM busybox\n" + b"# a comment\n" * 20_000),
    Case("file/is-a-link", "", {"Dockerfile": "-> real", "real": "FROM busybox\nENV A=1\n"}),
    Case("file/is-a-link-out", "", {"Dockerfile": "-> /etc/passwd"}),
    Case("file/is-a-directory", "", {"Dockerfile/f": "1"}),
    Case("file/is-a-directory-that-is-named", "FROM busybox\n", {"d/f": "1"}, ("-f", "{context}/d")),
    Case("file/is-below-a-file", "FROM busybox\n", {"f": "1"}, ("-f", "{context}/f/Dockerfile")),
    Case("file/is-a-dead-link", "", {"Dockerfile": "-> none"}),
    Case("file/lower-case-name", "", {"dockerfile": "FROM busybox\nENV A=1\n"}),
    Case("file/missing", "", {"other": "x", "Dockerfile.not": "FROM busybox\n"}),

    _named("directory-over-stage", "FROM busybox AS o", "RUN false", "FROM busybox", "COPY --from=o /f /x", args=("o={context}/o",)),
    _named("directory-mounted", "FROM busybox", "RUN --mount=from=o,target=/m cp /m/f /x", args=("o={context}/o",)),
    _named("image-for-image", "FROM golang:1.0", "RUN touch /x", args=("golang:1.0=docker-image://busybox",)),
    _named("image-for-copies", "FROM busybox", "COPY --from=tools /etc/group /x", args=("tools=docker-image://busybox",)),
    _named("of-a-repository", "FROM busybox", "COPY --from=o f.txt /x", args=("o=http://{web}/repo.git#v1",)),
    _named("directory-is-a-root", "FROM o", "COPY Dockerfile /x", args=("o={context}/o",)),
    _named("directory-is-a-root-and-runs", "FROM busybox AS a", "FROM o", "COPY --from=a /bin /bin", 'RUN ["/bin/sh", "-c", "cat /f > /x; pwd > /y"]', args=("o={context}/o",)),
    _named("directory-is-a-root-alone", "FROM o", args=("o={context}/o",)),
    _named("directory-is-a-stage-s-root", "FROM o AS a", "FROM busybox", "COPY --from=a /f /x", args=("o={context}/o",)),
    _named("repository-is-a-root", "FROM o", "COPY Dockerfile /x", args=("o=http://{web}/repo.git#v1",)),
    _named("not-used", "FROM busybox", "ENV A=1", args=("o={context}/o",)),
    _named("variable", "ARG O=o", "FROM busybox", "ARG O", "COPY --from=$O /f /x", args=("o={context}/o",)),
    _named("missing-directory", "FROM busybox", "COPY --from=o /f /x", args=("o={context}/none",)),
    _named("missing-file", "FROM busybox", "COPY --from=o /none /x", args=("o={context}/o",)),
    _named("bad-image", "FROM o", args=("o=docker-image://Bad:Name:Twice",)),
    _named("image-nobody-has", "FROM o", args=("o=docker-image://127.0.0.1:1/nothing",)),
    _named("bad-scheme", "FROM o", args=("o=what://thing",)),
    _named("bad-target", "FROM o", args=("o=target:base",)),
    _named("bad-flag", "FROM busybox", args=("o",)),
    _named("a-file", "FROM busybox", "COPY --from=o / /x", args=("o={context}/o/f",)),

    Case("outside/links", "FROM busybox\nCOPY . /x/\n", {"up": "-> ../../../../etc", "abs": "-> /etc/passwd"}),
    Case("outside/through-a-link", "FROM busybox\nCOPY up/passwd /x\n", {"up": "-> ../../../../../../../etc"}),
    Case("outside/through-an-absolute-link", "FROM busybox\nCOPY abs /x\n", {"abs": "-> /etc/passwd"}),
    Case("outside/through-a-link-of-a-stage", "FROM busybox AS a\nRUN ln -s /../../etc/group /l\nFROM busybox\nCOPY --from=a /l /x\n"),
    Case("outside/link-loop", "FROM busybox\nCOPY a /x\n", {"a": "-> b", "b": "-> a"}),
    Case("outside/dots", "FROM busybox\nCOPY d/../../../etc/passwd /x\n", {"d/f": "1"}),

    *(Case(f"registry/{name}", f"FROM busybox AS a\nFROM {{web}}/{name}:x\nENV A=1\n") for name in
      ("good", "fails-401", "fails-403", "fails-404", "fails-418", "fails-500", "fails-json", "fails-cut")),
    Case("registry/copy-from", "FROM busybox\nCOPY --from={web}/good /hello /x\n"),
    Case("registry/copy-from-missing", "FROM busybox\nCOPY --from={web}/fails-404 /hello /x\n"),
    Case("registry/mount-from", "FROM busybox\nRUN --mount=from={web}/good,target=/m cp /m/hello /x\n"),
    Case("registry/nobody-there", "FROM 127.0.0.1:1/nothing\n"),
    Case("registry/wrong-digest", "FROM {web}/good@sha256:" + "1" * 64 + "\n"),
    Case("registry/tag-and-digest", "FROM {web}/good:x@sha256:" + web.Registry().digest + "\nENV A=1\n"),
    Case("registry/digest", "FROM {web}/good@sha256:" + web.Registry().digest + " AS a\nFROM busybox\nCOPY --from=a /hello /x\n"),
    Case("registry/other-platform", "FROM --platform=linux/arm64 {web}/good:x\nCOPY a /\n", {"a": "1"}),
    Case("registry/two-fail", "FROM {web}/fails-404 AS a\nFROM busybox\nCOPY --from=a / /\n"),
    Case("registry/unneeded-is-not-asked", "FROM {web}/fails-404 AS a\nFROM busybox\nENV A=1\n"),
    Case("registry/pull", "FROM {web}/good\nENV A=1\n", {}, ("--pull",)),
)  # fmt: skip
