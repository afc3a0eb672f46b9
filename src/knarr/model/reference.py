"""Image references: `[domain/]path[:tag][@digest]`, normalised as docker does.

The grammar is that of github.com/distribution/reference: `nginx` means `docker.io/library/nginx`, and a name without
tag and digest means the tag `latest` where one is needed (`tagged()`).
"""

import re
from typing import NamedTuple

from knarr.model.digest import Digest
from knarr.model.errors import Invalid

DEFAULT_DOMAIN = "docker.io"
OFFICIAL = "library"
DEFAULT_TAG = "latest"
MAX_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}\Z")
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_BARE_ID = re.compile(r"[0-9a-f]{64}\Z")


class Reference(NamedTuple):
    """A parsed reference. `domain` and `path` are never empty; `tag` and `digest` may be None."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, *, tag: str | None = None) -> "Reference":
        """Reads what a user typed; `tag`, a tag or a digest, is added as `/images/create?fromImage=&tag=` does.

        Raises Invalid with docker's words: "invalid reference format", "repository name must be lowercase".
        """
        if tag:
            text = f"{text}@{tag}" if ":" in tag else f"{text}:{tag}"
        bare = _split(text)[1].partition(":")[0]
        if bare != bare.lower() and not _BARE_ID.match(text):
            raise Invalid(f"invalid reference format: repository name ({bare}) must be lowercase")
        name, at, digest_text = text.partition("@")
        digest = _digest(digest_text) if at else None
        slash = name.rfind("/")
        colon = name.rfind(":")
        found_tag = None
        if colon > slash:
            name, found_tag = name[:colon], name[colon + 1 :]
            if not _TAG.match(found_tag):
                raise Invalid("invalid reference format")
        if _BARE_ID.match(name):
            raise Invalid(f"invalid repository name ({name}), cannot specify 64-byte hexadecimal strings")
        domain, path = _split(name)
        if not _PATH.match(path):
            raise Invalid("invalid reference format")
        if not _DOMAIN.match(domain):
            raise Invalid("invalid reference format")
        if len(path) > MAX_NAME:
            raise Invalid(f"repository name must not be more than {MAX_NAME} characters")
        return cls(domain, path, found_tag, digest)

    def tagged(self) -> "Reference":
        """Itself, with `latest` where it has neither tag nor digest."""
        return self if self.tag or self.digest else self._replace(tag=DEFAULT_TAG)

    @property
    def name(self) -> str:
        """The full repository name: `docker.io/library/nginx`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as docker shows it: `nginx`, `user/app`, `localhost:5000/app`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        head, slash, rest = self.path.partition("/")
        return rest if slash and head == OFFICIAL and "/" not in rest else self.path

    @property
    def familiar(self) -> str:
        """The whole reference as docker shows it."""
        return self.familiar_name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()


def _digest(text: str) -> Digest:
    if not _DIGEST.match(text):
        raise Invalid("invalid reference format")
    algorithm, _, value = text.partition(":")
    if algorithm not in _LENGTHS:
        raise Invalid("unsupported digest algorithm")
    if len(value) != _LENGTHS[algorithm]:
        raise Invalid("invalid checksum digest length")
    try:
        return Digest.parse(text)
    except Invalid:
        raise Invalid("invalid checksum digest format") from None


def _split(name: str) -> tuple[str, str]:
    """The domain and the path; the first component is a domain if it looks like a host (splitDockerDomain)."""
    head, slash, rest = name.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost" or head.lower() != head):
        domain, path = head, rest
    else:
        domain, path = DEFAULT_DOMAIN, name
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"{OFFICIAL}/{path}"
    return domain, path
