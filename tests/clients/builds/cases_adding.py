"""ADD, and the flags that COPY and ADD share: archives, the web, git, and each flag's good and bad values."""

import gzip
import hashlib
import tarfile
from collections.abc import Mapping

from tests.clients.builds.archives import EVERYTHING, archive, entry
from tests.clients.builds.case import Case, File

_FIRST = "sha256:" + "0" * 64
_FILE = "sha256:451f3e8714562111c7fc96b639f49f404507d4436dcd0ec3d539defcc2577d86"
TREE: Mapping[str, str | File] = {
    "a.txt": "a",
    "b.txt": "b",
    "c.md": "c",
    "d/e/one.txt": "1",
    "d/e/two.md": "2",
    "d/f/three.txt": "3",
    "d/four.txt": "4",
}


def _add(
    name: str,
    *lines: str,
    files: Mapping[str, str | File] | None = None,
    args: tuple[str, ...] = (),
) -> Case:
    return Case(f"add/{name}", "\n".join(("FROM busybox", *lines)) + "\n", {**TREE, **(files or {})}, args)


def _tar(compression: str) -> dict[str, str | File]:
    return {"t.tar": File(archive(EVERYTHING, compression))}


def _cut(kind: str) -> bytes:
    """An archive without its last third; what is in it cannot be compressed."""
    noise = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(200))
    data = archive({"a": b"1", "noise": noise}, kind)
    return data[: len(data) * 2 // 3]


_NULL = entry("c", tarfile.CHRTYPE, mode=0o600)
_NULL.devmajor, _NULL.devminor = 1, 3
# Links to a directory that the archive and the image have, and files that lead through them.
_LINKS: Mapping[str, bytes | tarfile.TarInfo] = {
    "etc/": entry("etc/", tarfile.DIRTYPE, mode=0o755),
    "out": entry("out", tarfile.SYMTYPE, mode=0o777, link="/etc"),
    "out/made": b"1",
    "in": entry("in", tarfile.SYMTYPE, mode=0o777, link="./etc"),
    "in/f": b"2",
}


CASES = (
    *(_add(f"tar-{kind or 'plain'}", "ADD t.tar /x/", files=_tar(kind)) for kind in ("", "gz", "bz2", "xz", "zst")),
    _add("tar-is-copied-as-it-is", "COPY t.tar /x/", files=_tar("")),
    _add("tar-unpack-false", "ADD --unpack=false t.tar /x/", files=_tar("")),
    _add("tar-unpack-true", "ADD --unpack=true t.tar /x/", files=_tar("")),
    _add("tar-chown", "ADD --chown=5:6 t.tar /x/", files=_tar("")),
    _add("tar-to-a-new-name", "ADD t.tar /x/y", files=_tar("gz")),
    _add("tar-over-a-directory", "RUN mkdir -p /x/t/sub && touch /x/t/old", "ADD t.tar /x", files=_tar("")),
    _add("tar-over-a-file", "RUN touch /x", "ADD t.tar /x", files=_tar("")),
    _add("tar-and-files", "ADD t.tar a.txt /x/", files=_tar("")),
    _add("tar-by-wildcard", "ADD *.tar /x/", files=_tar("")),
    _add("tar-in-a-directory", "ADD s /x/", files={"s/t.tar": File(archive({"f": b"1"}, ""))}),
    _add("tar-that-is-none", "ADD t.tar /x/", files={"t.tar": "no tar"}),
    _add("tar-empty", "ADD t.tar /x/", files={"t.tar": File(archive({}, ""))}),
    _add("tar-of-whiteouts", "RUN touch /x && mkdir /d && touch /d/y /d/z", "ADD t.tar /", files={"t.tar": File(archive({"k": b"1", ".wh.x": b"2", "d/.wh..wh..opq": b"3", "d/.wh.y": b""}, ""))}),
    _add("whiteouts-of-a-context", "RUN touch /x && mkdir /d && touch /d/y", "COPY w /", files={"w/.wh.x": "1", "w/d/.wh..wh..opq": "", "w/d/.wh.y": ""}),
    _add("tar-links-out", "ADD t.tar /x/", "RUN ls -R /etc/made /x > /y 2>&1 || true", files={"t.tar": File(archive(_LINKS, ""))}),
    _add("tar-through-a-link-of-the-image", "RUN mkdir /x /y && ln -s /y /x/l", "ADD t.tar /x/", files={"t.tar": File(archive({"l/f": b"1"}, ""))}),
    _add("tar-over-a-link-of-the-image", "RUN mkdir /x /y && ln -s /y /x/l && ln -s /y /x/m", "ADD t.tar /x/", files={"t.tar": File(archive({"l/": entry("l/", tarfile.DIRTYPE, mode=0o755), "m": b"1"}, ""))}),
    _add("tar-link-to-itself", "ADD t.tar /x/", files={"t.tar": File(archive({"etc": entry("etc", tarfile.SYMTYPE, link="/etc"), "etc/f": b"1"}, ""))}),
    _add("tar-link-to-nowhere", "ADD t.tar /x/", files={"t.tar": File(archive({"new": entry("new", tarfile.SYMTYPE, mode=0o777, link="/nowhere/yet"), "new/f": b"1"}, ""))}),
    _add("tar-hard-link-out", "ADD t.tar /x/", files={"t.tar": File(archive({"h": entry("h", tarfile.LNKTYPE, link="/etc/passwd")}, ""))}),
    _add("tar-hard-link-to-nothing", "ADD t.tar /x/", files={"t.tar": File(archive({"h": entry("h", tarfile.LNKTYPE, link="none")}, ""))}),
    _add("tar-names-above", "ADD t.tar /x/", files={"t.tar": File(archive({"../../up": b"1", "a/../b": b"2"}, ""))}),
    _add("tar-device", "ADD t.tar /x/", files={"t.tar": File(archive({"c": _NULL}, ""))}),
    *(_add(f"tar-cut-{kind or 'plain'}", "ADD t.tar /x/", files={"t.tar": File(_cut(kind))}) for kind in ("", "gz", "bz2", "xz", "zst")),
    _add("tar-broken-header", "ADD t.tar /x/", files={"t.tar": File(archive({"a": b"1", "b": b"2"}, "")[:1024] + b"x" * 1024)}),
    _add("tar-broken-inside-gz", "ADD t.tar /x/", files={"t.tar": File(gzip.compress(archive({"a": b"1"}, "")[:1024] + b"x" * 1024, mtime=0))}),
    _add("gz-that-is-no-tar", "ADD f.gz /x/", files={"f.gz": File(gzip.compress(b"no tar\n", mtime=0))}),
    _add("tar-absolute-names", "ADD t.tar /x/", files={"t.tar": File(archive({"/abs/f": b"1"}, ""))}),

    _add("web", "ADD http://{web}/file.txt /x"),
    _add("web-to-directory", "ADD http://{web}/file.txt /x/"),
    _add("web-named", "ADD http://{web}/named /x/"),
    _add("web-redirect", "ADD http://{web}/moved /x"),
    _add("web-flags", "ADD --chown=3:4 --chmod=0751 http://{web}/file.txt /x/y/z"),
    _add("web-tar-stays", "ADD http://{web}/tree.tar.gz /x/"),
    _add("web-tar-unpacked", "ADD --unpack=true http://{web}/tree.tar.gz /x/"),
    _add("web-and-file", "ADD http://{web}/file.txt a.txt /x/"),
    _add("web-variable", "ARG W={web}", "ADD http://$W/file.txt /x"),
    _add("web-checksum", f"ADD --checksum={_FILE} http://{{web}}/file.txt /x"),
    _add("web-link", "ADD --link http://{web}/file.txt /x/"),
    _add("web-wrong-checksum", f"ADD --checksum={_FIRST} http://{{web}}/file.txt /x"),
    _add("web-bad-checksum", "ADD --checksum=md5:1 http://{web}/file.txt /x"),
    _add("web-checksum-of-two", f"ADD --checksum={_FIRST} http://{{web}}/file.txt http://{{web}}/named /x/"),
    _add("web-404", "ADD http://{web}/none /x"),
    _add("web-500", "ADD http://{web}/fails-500 /x"),
    _add("web-cut", "ADD http://{web}/fails-cut /x"),
    _add("web-nobody-there", "ADD http://127.0.0.1:1/x /x"),
    _add("web-without-name", "ADD http://{web}/ /x/"),
    _add("web-copy", "COPY http://{web}/file.txt /x"),
    _add("checksum-of-a-file", f"ADD --checksum={_FIRST} a.txt /x"),
    _add("checksum-on-copy", f"COPY --checksum={_FIRST} a.txt /x"),
    _add("from-on-add", "ADD --from=busybox /etc/passwd /x"),

    _add("git", "ADD http://{web}/repo.git /x"),
    _add("git-branch", "ADD http://{web}/repo.git#other /x/"),
    _add("git-tag", "ADD http://{web}/repo.git#v1 /x"),
    _add("git-directory", "ADD http://{web}/repo.git#main:sub /x"),
    _add("git-query", "ADD http://{web}/repo.git?tag=v1&subdir=sub /x"),
    _add("git-query-unknown", "ADD http://{web}/repo.git?colour=red /x"),
    _add("git-exclude", "ADD --exclude=*.txt http://{web}/repo.git#v1 /x"),
    _add("git-with-file-and-web", "ADD http://{web}/repo.git#v1:sub a.txt http://{web}/file.txt /x/"),
    _add("git-copied", "COPY http://{web}/repo.git /x"),
    _add("web-exclude", "ADD --exclude=*.txt http://{web}/file.txt /x/"),
    _add("web-unpack-of-no-archive", "ADD --unpack=true http://{web}/file.txt /x/"),
    _add("unpack-bad", "ADD --unpack=maybe a.txt /x/"),
    _add("unpack-on-copy", "COPY --unpack=true a.txt /x/"),
    _add("git-flags", "ADD --chown=3:4 --chmod=0755 http://{web}/repo.git#v1:sub /x"),
    _add("git-keeps-its-directory", "ADD --keep-git-dir=true http://{web}/repo.git#v1 /y", "RUN ls -A /y > /x; cat /y/.git/HEAD >> /x; rm -r /y/.git"),
    _add("git-keep-false", "ADD --keep-git-dir=false http://{web}/repo.git#v1 /x"),
    _add("git-no-such-branch", "ADD http://{web}/repo.git#none /x"),
    _add("git-no-such-directory", "ADD http://{web}/repo.git#main:none /x"),
    _add("git-no-such-repository", "ADD http://{web}/none.git /x"),
    _add("git-keep-bad", "ADD --keep-git-dir=maybe http://{web}/repo.git /x"),
    _add("keep-git-dir-on-copy", "COPY --keep-git-dir=true a.txt /x"),

    _add("exclude", "COPY --exclude=*.md . /x/"),
    _add("exclude-many", "COPY --exclude=*.md --exclude=d/e . /x/"),
    _add("exclude-deep", "COPY --exclude=**/*.txt d /x/"),
    _add("exclude-and-take-back", "COPY --exclude=*.txt --exclude=!a.txt . /x/"),
    _add("exclude-variable", "ARG E=*.md", "COPY --exclude=$E . /x/"),
    _add("exclude-bad", "COPY --exclude=[a . /x/"),
    _add("exclude-bad-of-a-stage", "FROM busybox AS b", "COPY --exclude=[a --from=0 /etc /x/"),
    _add("exclude-mark-alone", "COPY --exclude=! . /x/"),
    _add("exclude-nothing", "COPY --exclude= . /x/"),
    _add("exclude-on-add", "ADD --exclude=d . /x/"),
    _add("wildcards-of-many-levels", "COPY **/*.txt /x/"),
    _add("link-and-chmod", "COPY --link --chmod=0701 a.txt /x/y"),
    _add("link-false", "COPY --link=false a.txt /x"),
    _add("link-bad", "COPY --link=maybe a.txt /x"),
    _add("chmod-sticky", "COPY --chmod=7755 a.txt d /x/"),
    _add("chmod-symbolic-many", "COPY --chmod=u=rw,g+x,o-r a.txt d /x/"),
    _add("chmod-capital-x", "COPY --chmod=go=u-w,a+X d /x/"),
    _add("chmod-copied-class", "COPY --chmod=g=u,o=g a.txt /x", files={"a.txt": File(b"a", 0o640)}),
    _add("chmod-variable", "ARG M=0711", "COPY --chmod=$M a.txt /x"),
    _add("chmod-too-big", "COPY --chmod=77777 a.txt /x"),
    _add("chmod-bad-symbolic", "COPY --chmod=u~x a.txt /x"),
    _add("chmod-nothing", "COPY --chmod= a.txt /x"),
    _add("chown-group-by-name", "COPY --chown=3:audio a.txt /x"),
    _add("chown-names", "COPY --chown=daemon:audio a.txt /x", "COPY --chown=nobody b.txt /y"),
    _add("chown-variable", "ARG U=3", "ENV G=4", "COPY --chown=$U:$G a.txt /x"),
    _add("chown-nothing", "COPY --chown= a.txt /x"),
    _add("chown-too-big", "COPY --chown=99999999999 a.txt /x"),
    _add("chown-unknown-group", "COPY --chown=0:nogroup2 a.txt /x"),
    _add("chown-three", "COPY --chown=1:2:3 a.txt /x"),
    _add("chown-halves", "COPY --chown=5: a.txt /x", "COPY --chown=:5 a.txt /y", "COPY --chown=: a.txt /z"),
    _add("chown-number-and-unknown-group", "COPY --chown=5:nogroup2 a.txt /x"),
    _add("chown-unknown-user-and-group", "COPY --chown=nobody2:audio a.txt /x"),
    _add("chown-name-that-is-a-number", "RUN echo 77:x:78:79::/:/bin/sh >> /etc/passwd; echo 77:x:80: >> /etc/group", "COPY --chown=77:77 a.txt /x"),
    _add("chown-without-files", "RUN rm /etc/passwd /etc/group", "COPY --chown=daemon:audio a.txt /x"),
    _add("chown-odd-lines", "RUN printf '# c\\n\\n:x:3\\na:x:b:c\\nd:x:5\\n e:x:6:7\\n' > /etc/passwd", "COPY --chown=a a.txt /x", "COPY --chown=d a.txt /y", "COPY --chown=e a.txt /z"),
    _add("chown-name-on-scratch", "FROM scratch", "COPY --chown=daemon a.txt /x"),

    _add("kept-mode-and-time", "COPY a.txt s /x/", files={"a.txt": File(b"a", 0o4751, 883800000), "s/f": File(b"f", 0o600, 1), "s/": File(mode=0o1777)}),
    _add("kept-capability-of-a-stage", "ADD t.tar /", "FROM busybox AS b", "COPY --from=0 /t/capable /x", files=_tar("")),
    _add("hard-links-of-a-context", "COPY s /x/", files={"s/a": "1", "s/b": File(same="s/a"), "s/d/c": File(same="s/a")}),
    _add("hard-links-with-flags", "COPY --chown=3:4 --chmod=0640 s /x/", files={"s/a": "1", "s/b": File(same="s/a")}),
    _add("hard-links-whose-first-is-left-out", "COPY s /x/", files={"s/a": "1", "s/b": File(same="s/a"), "s/c": File(same="s/a"), ".dockerignore": "s/a\n"}),
    _add("hard-links-of-two-sources", "COPY s/b s/a /x/", files={"s/a": "1", "s/b": File(same="s/a")}),
    _add("hard-links-in-a-mount", "RUN --mount=target=/m stat -c %h /m/s/a /m/s/b > /x", files={"s/a": "1", "s/b": File(same="s/a")}),
    _add("hard-links-of-which-one-is-excluded", "COPY --exclude=s/a . /x/", files={"s/a": "1", "s/b": File(same="s/a"), "s/c": File(same="s/a")}),
    _add("hard-link-to-what-is-left-out", "COPY s/b /x/", "COPY s/d /y/", files={"s/a": "1", "s/b": File(same="s/a"), "s/d/c": File(same="s/a")}),
    _add("pipe-in-the-context", "COPY s /x/", files={"s/p": File(fifo=True), "s/f": "1"}),
    _add("pipe-itself", "COPY p /x", files={"p": File(fifo=True)}),
    _add("names", "COPY . /x/", files={"-dash": "1", "sp ace": "2", "naïve": "3", "quo'te\"": "4", "back\\slash": "5", "tab\tx": "6", "[ab]": "7"}),
    _add("name-with-brackets", "COPY [[]ab] /x/", files={"[ab]": "7"}),
    _add("destination-above-root", "COPY a.txt /../../x"),
    _add("destination-dot", "WORKDIR /w", "COPY a.txt .", "COPY b.txt ./"),
    _add("destination-is-a-link-out", "RUN ln -s /etc /x && ln -s ../../../../tmp /y", "COPY a.txt /x/", "COPY a.txt /y/"),
    _add("source-above-context", "COPY ../a.txt /x"),
    _add("source-absolute", "COPY /d/e/one.txt /x"),
    _add("source-slash", "COPY / /x/"),
    _add("many-to-a-file", "ADD a.txt b.txt /x"),
    _add("heredoc-and-file", "COPY <<one a.txt /x/", "here", "one"),
    _add("heredoc-flags", "COPY --chown=3:4 --chmod=0601 <<one /x/y/", "here", "one"),
    _add("heredoc-dash-and-quotes", 'COPY <<-"one" /x', "\there $A", "one"),
    _add("heredoc-empty", "COPY <<one /x", "one"),
    _add("heredoc-on-add", "ARG A=1", "ADD <<one <<two /x/", "$A", "one", "${A:-2}$$", "two"),
    _add("heredoc-without-destination", "COPY <<one", "here", "one"),
    _add("big-file", "COPY big /x", files={"big": File(bytes(range(256)) * 20_000)}),
    _add("nothing", "ADD"),
    _add("one-word", "ADD a.txt"),
    _add("unknown-flag", "ADD --chmode=1 a.txt /x"),
)  # fmt: skip
