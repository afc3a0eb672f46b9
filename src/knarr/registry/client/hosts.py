"""Where a reference's registry is: mirrors, the registry itself, HTTPS or plain HTTP; pure."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import NamedTuple

HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"


class Endpoint(NamedTuple):
    """One place to ask: a URL without its last slash; `mirror` where it is not the registry itself."""

    url: str
    mirror: bool = False

    @property
    def host(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2].partition("/")[0]


def endpoints(
    domain: str, mirrors: Mapping[str, Sequence[str]], insecure: Sequence[str], *, pull: bool
) -> list[Endpoint]:
    """In the order to try them; mirrors only to pull. An insecure registry is tried by HTTPS first, as docker does."""
    found = [Endpoint(url.rstrip("/"), True) for url in mirrors.get(domain, ())] if pull else []
    host = _HUB_HOST if domain == HUB else domain
    found.append(Endpoint(f"https://{host}"))
    if is_insecure(domain, insecure):
        found.append(Endpoint(f"http://{host}"))
    return found


def is_insecure(domain: str, insecure: Sequence[str]) -> bool:
    """Whether plain HTTP may be spoken: a listed host or network, or the loopback (docker's own rule)."""
    host = domain
    if domain.startswith("["):
        host = domain[1:].partition("]")[0]
    elif domain.count(":") == 1:
        host = domain.partition(":")[0]
    if host == "localhost" or domain in insecure or host in insecure:
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    networks = [ip_network(word, strict=False) for word in insecure if "/" in word]
    return any(address in network for network in networks)
