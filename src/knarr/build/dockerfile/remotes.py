"""Remote sources of ADD and of build contexts: git repositories and HTTP addresses, and the source operations for them.

What counts as git is BuildKit's rule: `git://`, `ssh://`, `user@host:path`, and `http(s)://….git`. A fragment `#ref:subdir` or a
query (`?branch=…&subdir=…`) says what of it.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from knarr.build.dockerfile.errors import DockerfileError
from knarr.build.dockerfile.golike import base, join, parse_bool, quote
from knarr.build.operations import Source

_SCHEME = re.compile(r"[a-zA-Z0-9]+://")
_SCP = re.compile(r"([a-zA-Z0-9\-_]+)@([a-zA-Z0-9\-.]+):(.*?)(?:\?(.*?))?(?:#(.*))?\Z")
_GIT_SCHEMES = ("http", "https", "ssh", "git")
_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_BAD_HOST = re.compile(r"[\x00-\x20\x7f\"<>\\^`{|}]")
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::[0-9]*)?\Z")
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+\Z")
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


class Address(NamedTuple):
    """A parsed URL; `plain` is it without query and fragment."""

    scheme: str
    host: str
    path: str
    query: str
    fragment: str
    plain: str


class GitReference(NamedTuple):
    """What of which repository. `like_local` marks `github.com/…`, which ADD takes for a path."""

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    like_local: bool = False
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    mtime: str = ""
    by_commit: bool = False


def parse_url(text: str) -> Address | None:
    """As Go's net/url reads an absolute address; None for a malformed one."""
    before, _, fragment = text.partition("#")
    before, _, query = before.partition("?")
    scheme, mark, rest = before.partition("://")
    if not mark or not re.match(r"[a-zA-Z][a-zA-Z0-9+.\-]*\Z", scheme) or re.search(r"[\x00-\x1f\x7f]", text):
        return None
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    bad = _BAD_HOST.search(host) or not _PORT.match(host) or _BAD_ESCAPE.search(host + path + fragment)
    if bad:
        return None
    scheme = scheme.lower()
    return Address(scheme, host, _unescaped(slash + path), query, _unescaped(fragment), f"{scheme}://{rest}")


def _unescaped(text: str) -> str:
    if "%" not in text:
        return text
    data = _ESCAPE.sub(
        lambda found: chr(int(found[1], 16)), text.encode("utf-8", "surrogateescape").decode("latin-1")
    )
    return data.encode("latin-1").decode("utf-8", "surrogateescape")


def parse_git(text: str) -> GitReference | None:
    """None when the text names no git repository; DockerfileError when it does and its query is malformed."""
    if text.startswith(("./", "../")):
        return None
    like_local = text.startswith("github.com/")
    address = parse_url(f"https://{text}") if like_local else _address(text)
    if address is None:
        return None
    if not like_local and address.scheme in ("http", "https") and not address.path.endswith(".git"):
        return None
    remote = address.plain.partition("://")[2] if like_local else address.plain
    reference = GitReference(remote, like_local=like_local)
    if address.fragment:
        ref, _, subdir = address.fragment.partition(":")
        reference = reference._replace(ref=ref, subdir=join("/", subdir).removeprefix("/"))
    return _with_query(reference, address.query)


def _address(text: str) -> Address | None:
    if found := _SCHEME.match(text):
        return parse_url(text) if found[0][:-3].lower() in _GIT_SCHEMES else None
    if (scp := _SCP.match(text)) is None:
        return None
    return Address("ssh", scp[2], scp[3], scp[4] or "", scp[5] or "", f"{scp[1]}@{scp[2]}:{scp[3]}")


def _query(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in text.split("&") if text else ():
        if not part or ";" in part or _BAD_ESCAPE.search(part):
            continue
        name, _, value = part.replace("+", " ").partition("=")
        found.setdefault(_unescaped(name), []).append(_unescaped(value))
    return found


def _with_query(reference: GitReference, text: str) -> GitReference:
    chosen: dict[str, str] = {}
    for name, values in _query(text).items():
        if len(values) > 1:
            raise DockerfileError(f"query {quote(name)} has multiple values")
        value = values[0]
        if name in _FLAGS:
            reference = _FLAGS[name](reference, _query_flag(name, value))
            continue
        if not value:
            raise DockerfileError(f"query {quote(name)} has no value")
        if name in ("ref", "subdir"):
            reference = _agreed(reference, name, value)
        elif name in ("checksum", "commit"):
            reference = reference._replace(checksum=value)
        elif name in ("tag", "branch"):
            chosen[name] = value
        elif name != "mtime":
            raise DockerfileError(f"unexpected query {quote(name)}")
        elif value not in ("checkout", "commit"):
            raise DockerfileError(f'invalid mtime value: {quote(value)} (must be "checkout" or "commit")')
        else:
            reference = reference._replace(mtime=value)
    return _with_names(reference, chosen)


def _with_names(reference: GitReference, chosen: dict[str, str]) -> GitReference:
    for name, prefix in (("tag", "refs/tags/"), ("branch", "refs/heads/")):
        if (value := chosen.get(name)) is not None:
            if name == "branch" and "tag" in chosen:
                raise DockerfileError("branch conflicts with tag")
            reference = _agreed(reference, "ref", value if value.startswith(prefix) else prefix + value)
    return reference


def _agreed(reference: GitReference, name: str, value: str) -> GitReference:
    old: str = getattr(reference, name)
    if old and old != value:
        raise DockerfileError(f"{name} conflicts: {quote(old)} vs {quote(value)}")
    return reference._replace(ref=value) if name == "ref" else reference._replace(subdir=value)


def _query_flag(name: str, value: str) -> bool:
    flag = parse_bool(value) if value else True
    if flag is None:
        raise DockerfileError(f"invalid {name} value: {quote(value)}")
    return flag


_FLAGS: dict[str, Callable[[GitReference, bool], GitReference]] = {
    "keep-git-dir": lambda reference, flag: reference._replace(keep_git_dir=flag),
    "submodules": lambda reference, flag: reference._replace(submodules=flag),
    "fetch-by-commit": lambda reference, flag: reference._replace(by_commit=flag),
}


def is_git(text: str) -> bool:
    """Whether a source is a repository, malformed query or not."""
    try:
        return parse_git(text) is not None
    except DockerfileError:
        return False


def is_http(text: str) -> bool:
    """Whether a source is an address of a file."""
    return text.startswith(("http://", "https://")) and not is_git(text)


def git_source(reference: GitReference, checksum: str = "", keep_git_dir: bool = False) -> Source:
    """The operation that checks a repository out."""
    address = _address(reference.remote) or _address(f"https://{reference.remote}")
    url, identifier = reference.remote, reference.remote
    if address is not None:
        url = address.plain
        identifier = address.host + join("/", address.path)
        if reference.ref or reference.subdir:
            identifier += f"#{reference.ref}" + (f":{reference.subdir}" if reference.subdir else "")
    attributes = {
        "git.authheadersecret": "GIT_AUTH_HEADER",
        "git.authtokensecret": "GIT_AUTH_TOKEN",
        "git.fullurl": url,
        "git.checksum": checksum or reference.checksum,
        "git.keepgitdir": "true" if keep_git_dir else "",
        "git.skipsubmodules": "true" if reference.submodules is False else "",
        "git.mtime": reference.mtime,
        "git.fetchbycommit": "true" if reference.by_commit else "",
        "git.mountsshsock": "default" if address is not None and address.scheme == "ssh" else "",
    }
    return Source(f"git://{identifier}", tuple(sorted((k, v) for k, v in attributes.items() if v)))


def http_source(url: str, filename: str, checksum: str = "") -> Source:
    """The operation that fetches a file."""
    attributes = {"http.checksum": checksum, "http.filename": filename}
    return Source(url, tuple((name, value) for name, value in attributes.items() if value))


def http_filename(url: str) -> str:
    """The name that a fetched file gets."""
    address = parse_url(url)
    name = base(address.path) if address is not None else "/"
    return "__unnamed__" if name in (".", "/") else name


def check_digest(text: str) -> str:
    """A digest, unchanged; raises DockerfileError in go-digest's words."""
    algorithm, colon, encoded = text.partition(":")
    if not colon or not _DIGEST.match(text):
        raise DockerfileError("invalid checksum digest format")
    if algorithm not in _LENGTHS:
        raise DockerfileError("unsupported digest algorithm")
    if len(encoded) != _LENGTHS[algorithm]:
        raise DockerfileError("invalid checksum digest length")
    if not re.match(r"[a-f0-9]+\Z", encoded):
        raise DockerfileError("invalid checksum digest format")
    return text
