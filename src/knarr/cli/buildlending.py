"""What `knarr build` lends the builder: directories, standard input, secrets, credentials, agents, and places for results."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from knarr.build.client import lending
from knarr.build.client.calls import Ask, Kind
from knarr.build.client.sending import Directories
from knarr.build.places import UPLOADED
from knarr.cli import buildwish, config
from knarr.cli.common import Failed
from knarr.cli.flags import Options
from knarr.grpc.services import Service

if TYPE_CHECKING:
    from knarr.build.client.receiving import Sink

_ARCHIVES = ((257, b"ustar"), (0, b"\x1f\x8b"), (0, b"\x28\xb5\x2f\xfd"), (0, b"BZh"), (0, b"\xfd7zXZ"))
_PIECE = 64 << 10
_LAYOUT = "oci-layout://"
_ELSEWHERE = ("docker-image://", "target:", "input:")
_HUB = ("docker.io", "registry-1.docker.io", "index.docker.io")


class Contexts(NamedTuple):
    """Where the files of a build are: what the frontend is told of it, directories by name, uploads by path."""

    attrs: dict[str, str]
    roots: dict[str, str | Mapping[str, bytes]]
    uploads: dict[str, Iterator[bytes]]
    stores: dict[str, str]


@contextlib.contextmanager
def prepared(options: Options, host: str, question: str = "") -> Iterator[tuple[Ask, list[Service]]]:
    """What is asked, and what answers the builder meanwhile. Raises Failed."""
    given = {word.partition("=")[0] for word in options.build_arg}
    attrs = buildwish.attributes(options, config.proxies(host, given))
    contexts = _contexts(options)
    attrs.update(contexts.attrs)
    stores = dict(contexts.stores)
    cache_from = [
        _read_from(Kind(*each), stores) for each in buildwish.caches(options.cache_from, "cache-from")
    ]
    cache_to = [Kind(*each) for each in buildwish.caches(options.cache_to, "cache-to")]
    stores |= {
        f"local:{each.attrs['dest']}": each.attrs["dest"] for each in cache_to if each.attrs.get("dest")
    }
    outputs = [] if question else buildwish.outputs(options)
    if question:
        attrs |= {"requestid": f"frontend.{question}", "frontend.caps": "moby.buildkit.frontend.subrequests"}
    ask = Ask(
        attrs=attrs,
        exporters=[Kind(each.type, each.attrs) for each in outputs],
        cache_from=[each for each in cache_from if each is not None],
        cache_to=cache_to,
        entitlements=buildwish.entitlements(options),
        shared_key=_shared_key(contexts.roots),
    )
    services = [
        lending.health(),
        Directories(contexts.roots).service(),
        lending.credentials(_credentials),
        lending.secrets(_Secrets(buildwish.secrets(options.secret))),
    ]
    if stores:
        from knarr.build.client.stores import Stores

        services.append(Stores(stores).service())
    if contexts.uploads:
        services.append(lending.uploads(contexts.uploads))
    if sinks := {number: _sink(each) for number, each in enumerate(outputs) if each.dest}:
        from knarr.build.client.receiving import Results

        services.append(Results(sinks).service())
    with contextlib.ExitStack() as stack:
        sockets = {name: _agent(stack, name, paths) for name, paths in buildwish.agents(options.ssh).items()}
        services.append(lending.Agents(sockets).service())
        yield ask, services


def _contexts(options: Options) -> Contexts:
    """Raises Failed."""
    (path,) = options.args
    found = Contexts({"filename": os.path.basename(options.file) or "Dockerfile"}, {}, {}, {})
    if path == "-":
        _standard_input(options, found)
    elif buildwish.is_remote(path):
        found.attrs["context"] = path
        found.attrs["filename"] = options.file or "Dockerfile"
        if options.file == "-":
            _dockerfile(found, sys.stdin.buffer.read())
    else:
        if not os.path.isdir(path):
            raise Failed(f'unable to prepare context: path "{path}" not found')
        found.roots["context"] = path
        if options.file == "-":
            _dockerfile(found, sys.stdin.buffer.read())
        else:
            found.roots["dockerfile"] = os.path.dirname(options.file) or "." if options.file else path
    for word in options.build_context:
        _named(word, found)
    return found


def _dockerfile(found: Contexts, text: bytes) -> None:
    """One that is nowhere on disk."""
    found.roots["dockerfile"] = {"Dockerfile": text}
    found.attrs["filename"] = "Dockerfile"
    if "context" in found.attrs:
        found.attrs["dockerfilekey"] = "dockerfile"


def _standard_input(options: Options, found: Contexts) -> None:
    head = sys.stdin.buffer.read(512)
    if any(head[at:].startswith(sign) for at, sign in _ARCHIVES):
        found.attrs.update(context=f"{UPLOADED}context", filename=options.file or "Dockerfile")
        found.uploads["context"] = chain([head], iter(lambda: sys.stdin.buffer.read(_PIECE), b""))
        return
    if options.file not in ("", "-"):
        raise Failed("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
    _dockerfile(found, head + sys.stdin.buffer.read())
    found.roots["context"] = {}


def _named(word: str, found: Contexts) -> None:
    name, equals, value = word.partition("=")
    if not equals or not name:
        raise Failed(f"invalid context value: {word}, expected key=value")
    name = name.lower()
    if value.startswith(_LAYOUT):
        _layout(name, value.removeprefix(_LAYOUT), found)
        return
    if value.startswith(_ELSEWHERE) or buildwish.is_remote(value):
        found.attrs[f"context:{name}"] = value
        return
    if not os.path.isdir(value):
        raise Failed(f"failed to get build context {name}: stat {value}: no such file or directory")
    found.attrs[f"context:{name}"] = f"local:{name}"
    found.roots[name] = value


def _layout(name: str, text: str, found: Contexts) -> None:
    """An image in a directory, by PATH, PATH:TAG or PATH@DIGEST."""
    from knarr.build.client.stores import found as layout_digest

    path, _, digest = text.partition("@")
    tag = ""
    if not digest and not os.path.isdir(path):
        path, _, tag = path.rpartition(":")
    digest = digest or layout_digest(path, tag)
    if not digest:
        raise Failed(
            f"failed to get build context {name}: no image {tag or 'latest'} in the OCI layout {path!r}"
        )
    store = os.urandom(12).hex()
    found.stores[f"oci:{store}"] = path
    found.attrs[f"context:{name}"] = f"{_LAYOUT}{store}@{digest}"


def _read_from(each: Kind, stores: dict[str, str]) -> Kind | None:
    """A cache of this machine's directories with the digest that its index has; one that is not there is warned of."""
    if each.type != "local" or not each.attrs.get("src"):
        return each
    from knarr.build.client.stores import found as layout_digest

    path = each.attrs["src"]
    digest = each.attrs.get("digest") or layout_digest(path, each.attrs.get("tag", ""))
    if not digest:
        print(f"WARNING: local cache import at {path} not found", file=sys.stderr)
        return None
    stores[f"local:{path}"] = path
    return Kind(each.type, {**each.attrs, "digest": digest})


def keep_caches(told: Mapping[str, str], wished: Sequence[Kind]) -> None:
    """Names what was written to directories, as the builder told."""
    for each in wished:
        if each.type == "local" and "cache.manifest" in told:
            import json

            from knarr.build.client.stores import put as name_in_layout

            name_in_layout(each.attrs["dest"], json.loads(told["cache.manifest"]), each.attrs.get("tag", ""))


def _shared_key(roots: Mapping[str, str | Mapping[str, bytes]]) -> str:
    """The same for the same directory of the same person's machine, so that only what changed is sent again."""
    path = roots.get("context")
    if not isinstance(path, str):
        return ""
    import hashlib
    import socket

    machine = ""
    with contextlib.suppress(OSError), open("/etc/machine-id", encoding="ascii") as file:
        machine = file.read()
    words = (os.path.realpath(path), socket.gethostname(), machine, str(os.getuid()))
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _credentials(host: str) -> tuple[str, str]:
    found = config.credentials(config.INDEX if host in _HUB else host)
    if "identitytoken" in found:
        return "", found["identitytoken"]
    return found.get("username", ""), found.get("password", "")


class _Secrets:
    """Values of secrets, read when they are asked for; their files must be there before. Raises Failed."""

    def __init__(self, wished: Mapping[str, buildwish.Secret]):
        self._wished = wished
        for each in wished.values():
            if each.file and not os.path.exists(each.file):
                raise Failed(f"failed to stat {each.file}: stat {each.file}: no such file or directory")

    def __call__(self, name: str) -> bytes | None:
        wish = self._wished.get(name)
        if wish is None:
            return None
        if wish.file:
            with open(wish.file, "rb") as file:
                return file.read()
        return os.environb.get(wish.variable.encode())


def _sink(each: buildwish.Output) -> "Sink":
    if each.type == "local":
        return each.dest
    if each.dest == "-":
        if sys.stdout.isatty():
            raise Failed("dest file is required for an archive: standard output is a terminal")
        return lambda: open(os.dup(1), "wb")

    def opened() -> BinaryIO:
        return open(each.dest, "wb")

    return opened


def _agent(stack: contextlib.ExitStack, name: str, paths: Sequence[str]) -> str:
    """The socket of an agent: the person's, the one that is named, or a new one that has the keys. Raises Failed."""
    if not paths:
        own = os.environ.get("SSH_AUTH_SOCK", "")
        if not own:
            raise Failed(f"invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set ({name})")
        return own
    import signal
    import stat
    import subprocess
    import tempfile

    try:
        if len(paths) == 1 and stat.S_ISSOCK(os.stat(paths[0]).st_mode):
            return paths[0]
    except OSError as error:
        raise Failed(f"could not parse ssh: [{name}]: {error}") from None
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="knarr-agent-"))
    path = f"{directory}/agent"
    try:
        # It answers when this returns, in a process of its own.
        told = subprocess.run(
            ["ssh-agent", "-s", "-a", path], capture_output=True, text=True, check=True
        ).stdout
        stack.callback(os.kill, int(told.partition("SSH_AGENT_PID=")[2].partition(";")[0]), signal.SIGTERM)
        env = {**os.environ, "SSH_AUTH_SOCK": path}
        done = subprocess.run(["ssh-add", "-q", *paths], env=env, capture_output=True, check=False)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise Failed(f"keys for --ssh need openssh-client: {error}") from None
    if done.returncode:
        raise Failed(f"could not parse ssh: [{name}]: {done.stderr.decode(errors='replace').strip()}")
    return path
