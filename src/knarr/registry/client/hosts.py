"""Where a reference's registry is: mirrors, the registry itself, HTTPS or plain HTTP, the proxy in between; pure."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"
_PORTS = {"http": 80, "https": 443}


class Endpoint(NamedTuple):
    """One place to ask: a URL without its last slash; `mirror` where it is not the registry itself. Without `verify` any
    certificate will do."""

    url: str
    mirror: bool = False
    verify: bool = True

    @property
    def host(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2].partition("/")[0]


def endpoints(
    domain: str, mirrors: Mapping[str, Sequence[str]], insecure: Sequence[str], *, pull: bool
) -> list[Endpoint]:
    """In the order to try them; mirrors only to pull. An insecure registry is tried by HTTPS first, as docker does."""
    found = [_mirror(url, insecure) for url in mirrors.get(domain, ())] if pull else []
    host = _HUB_HOST if domain == HUB else domain
    plain = is_insecure(domain, insecure)
    found.append(Endpoint(f"https://{host}", verify=not plain))
    if plain:
        found.append(Endpoint(f"http://{host}", verify=False))
    return found


def _mirror(url: str, insecure: Sequence[str]) -> Endpoint:
    url = url.rstrip("/") if "://" in url else f"https://{url.rstrip('/')}"
    found = Endpoint(url, True)
    return found._replace(verify=not is_insecure(found.host, insecure))


def is_insecure(domain: str, insecure: Sequence[str]) -> bool:
    """Whether plain HTTP may be spoken: a listed host or network, or the loopback (docker's own rule)."""
    host = hostname(domain)
    if host == "localhost" or domain in insecure or host in insecure:
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or any(_inside(host, word) for word in insecure if "/" in word)


def _inside(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def hostname(domain: str) -> str:
    """A domain without its port, an IPv6 address without its brackets."""
    if domain.startswith("["):
        return domain[1:].partition("]")[0]
    return domain.partition(":")[0] if domain.count(":") == 1 else domain


def same_origin(first: str, second: str) -> bool:
    """Whether what is secret to one URL may be told to the other: same scheme, host and port (RFC 6454)."""
    try:
        return _origin(first) == _origin(second)
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme, 0)


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The proxy that the environment names, by Go's rules: never for the loopback; NO_PROXY has hosts, domains, networks."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    name = f"{parts.scheme}_proxy"
    proxy = environment.get(name) or environment.get(name.upper())
    if not proxy or is_insecure(host, ()) or _excepted(host, parts.port, environment):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _excepted(host: str, port: int | None, environment: Mapping[str, str]) -> bool:
    for word in (environment.get("no_proxy") or environment.get("NO_PROXY") or "").lower().split(","):
        word = word.strip()
        name = hostname(word)
        if word != name and not word.startswith("[") and word.rpartition(":")[2] != str(port or ""):
            continue
        bare = name.removeprefix("*").removeprefix(".")
        if word == "*" or (bare and (host == bare or host.endswith(f".{bare}"))) or _inside(host, word):
            return True
    return False
